"""Reasons that Avoir gives, each with its meaning in words for people and its remedy.

Reasons of decisions, events and ledger entries are one list, since a decision that gave or used credit has the reason
of its first event. A reason that a command or the invoicing service gives in its own words is free text, not in here.

Remedies are stored with decisions and published in `credit-declined`, so their texts never change. The other texts are
only shown.
"""

from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct

NothingGiven = Literal[
    "not_billed",
    "invoice_voided",
    "billed_after_change",
    "currency_mismatch",
    "already_credited",
    "superseded",
    "not_requested",
    "free",
    "unpaid",
    "nothing_unused",
]
"""Reasons why a change of a booking or plan gave nothing, in the order in which they are checked."""

Refusal = Literal[
    "insufficient_credit",
    "credit_expired",
    "unknown_grant",
    "unknown_invoice",
    "currency_mismatch",
    "invoice_settled",
    "invoice_voided",
    "unknown_application",
]
"""Reasons for refusing a command."""

Waiting = Literal["unknown_invoice", "unknown_payment", "not_effective"]
"""Reasons why a message other than a change waits."""

Done = Literal["reserved", "released", "voided", "refunded", "drawn", "policy_set"]
"""Results of a command that neither gives credit nor uses it on an invoice."""

Recorded = Literal["recorded", "changed", "invoice_voided", "payment_reversed", Done]
"""Results of a message that neither gave credit nor used it on an invoice."""

Unhandled = Literal["malformed", "duplicate", "conflict", "parked"]
"""Reasons why a message changed nothing."""

Source = Literal[
    "booking_cancelled",
    "booking_shortened",
    "plan_cancelled",
    "overpayment",
    "prepaid",
    "negative_invoice",
    "granted",
]
"""Sources of credit."""

GrantReason = Literal["referral", "goodwill", "adjustment", "promotion", "purchase", "other"]
"""Reasons for granting credit by command."""

AppliedBy = Literal["auto", "command", "line_item", "reservation"]
"""Ways in which credit comes to be used on an invoice."""

Lowered = Literal["invoice_voided", "payment_reversed", "changed"]
"""Reasons why less is due than before."""

MAY_CHANGE: Collection[NothingGiven] = ("not_billed", "billed_after_change", "unpaid")
"""Reasons for which a change is declined and may still give credit: a fact of before it may arrive later."""

TakenBack = Literal[Lowered, "payment_settled_invoice"]
"""Reasons for taking credit back, other than a command's."""

Released = Literal["invoice_voided", "moved", "not_needed"]
"""Reasons why used or reserved credit becomes available again, other than those of a command or rejection."""

ShortfallReason = Literal[Lowered, "credit_line"]
"""Reasons for a shortfall."""

Reason = Literal[
    NothingGiven,
    Refusal,
    Waiting,
    Recorded,
    Unhandled,
    Source,
    GrantReason,
    AppliedBy,
    TakenBack,
    Released,
    ShortfallReason,
    "expired",
]


class Meaning(Struct, frozen=True):
    """Meaning of a reason as a sentence, and the remedy of a decision with that reason (None: nothing to remedy).

    `declined` is the remedy of a final decision if `remedy` is that of a waiting one. `refused` is the meaning for a
    command, and `moved` the words for credit that moved, if they differ. `note` adds details for docs/reasons.md, in
    Markdown.
    """

    words: str
    remedy: str | None = None
    declined: str | None = None
    refused: "Meaning | None" = None
    moved: str | None = None
    note: str = ""


UNUSED_AND_PAID = (
    "A change that leaves some of it unused, and payment of the rest of the invoice; "
    "payment alone gives no credit."
)
"""Remedy for `unpaid` if the change, paid or not, leaves nothing unused."""

REASONS: Mapping[Reason, Meaning] = {
    "not_billed": Meaning(
        "It had not been billed on any finalized invoice by then.",
        "A finalized invoice that bills it, finalized no later than this change.",
    ),
    "invoice_voided": Meaning(
        "The invoice that billed it had been voided.",
        "Nothing: the invoice that billed it is void, and a void invoice gives no credit.",
        refused=Meaning(
            "The invoice is void.",
            "Nothing: the invoice is void, and nothing is due on it.",
            note="This applies even if only its void is known.",
        ),
        moved="The invoice was voided.",
        note="If several invoices billed it, all of them had been voided.",
    ),
    "billed_after_change": Meaning(
        "It was billed only after the change, so the invoice could already take the change into account.",
        "An invoice that bills it, finalized no later than this change and told later, once paid.",
    ),
    "currency_mismatch": Meaning(
        "The amounts were in a different currency than the invoice or payment.",
        "The same change with its amounts in the currency of the invoice.",
        refused=Meaning(
            "The invoice or the credit is in a different currency.",
            "The same command in the currency of the invoice or of the credit.",
        ),
        note="A reversal of a payment is `declined` for the same reason.",
    ),
    "already_credited": Meaning(
        "The credit for it had already been given.",
        "Nothing: the credit for this has been given already.",
        note="Either the same change came before under another event id, or its whole worth had been given.",
    ),
    "superseded": Meaning(
        "A later change to the same booking or plan counts instead.",
        "Nothing for this change: a later change counts.",
        note="None of the credit that is due comes from this change.",
    ),
    "not_requested": Meaning(
        "It was changed by an admin who did not ask for credit.",
        "The same change by the customer, or by an admin with create_credit set to true.",
    ),
    "free": Meaning("It had cost nothing.", "Nothing: it cost nothing, so there is nothing to give back."),
    "unpaid": Meaning(
        "The invoice that billed it had not been paid in full.",
        "Payment of the rest of the invoice.",
        declined="A payment that had come in by the time of the change and is told later, while the invoice is still "
        "due; what was paid after the change gives no credit (unpaid_change: never).",
        note="With `waiting`, the credit comes with the payment. With `declined`, the policy `unpaid_change: never` "
        "required the invoice to be settled by the time of the change. If the change leaves nothing unused, the remedy "
        "says that payment alone gives no credit.",
    ),
    "nothing_unused": Meaning(
        "No part of what had been paid for was left unused.",
        "A change that leaves some of what was paid for unused.",
        note="For example, all of it was kept as a fee, or it was the running period of a plan.",
    ),
    "insufficient_credit": Meaning(
        "There was less credit available than was asked for.",
        "An amount of at most what is available, or more credit.",
        note="If the command named a grant, nothing may be left of it. The facts say how much there is.",
    ),
    "credit_expired": Meaning(
        "The credit had expired.",
        "Nothing: what was left of the credit has expired; new credit can be granted.",
        note="Either by the command's time or by now.",
    ),
    "unknown_grant": Meaning(
        "The credit is not known for this customer.",
        "The id of a grant of this owner and tenant.",
        note="There is no such grant in this tenant, or it belongs to another owner.",
    ),
    "unknown_invoice": Meaning(
        "The invoice is not known for this customer.",
        "The invoice's finalization.",
        refused=Meaning("The invoice belongs to another owner.", "An invoice of this owner."),
        note="A void came before its invoice.",
    ),
    "invoice_settled": Meaning(
        "Nothing was left to pay on the invoice.", "Nothing: nothing is due on the invoice any more."
    ),
    "unknown_application": Meaning(
        "The use of credit that it names is not known, or was already undone.",
        "The id of an application or reservation of this tenant that was not undone since.",
        refused=Meaning(
            "There is no such use of credit, or it was already undone.",
            "The id of an application or reservation of this tenant that was not undone since.",
            note="If it was undone, the facts say so (`undone_already`). `credit-application-rejected` is `declined` "
            "for the same reason if Avoir never published the application in this tenant.",
        ),
    ),
    "unknown_payment": Meaning(
        "The payment is not known yet.", "The payment itself.", note="A reversal came before its payment."
    ),
    "not_effective": Meaning(
        "It has not taken effect yet.",
        "Its effective date: the credit is given then.",
        note="A grant by command with a future `effective_at`.",
    ),
    "recorded": Meaning("The fact was recorded."),
    "changed": Meaning(
        "The booking or plan was changed again.",
        note="Credit was taken back, because the line is worth less than after the previous change.",
    ),
    "payment_reversed": Meaning(
        "The payment was reversed.",
        note="This applies too if the invoicing service could not use an application, or a command undid one: undoing "
        "a payment by credit is undoing a payment.",
    ),
    "reserved": Meaning("The invoice is not finalized yet, so the credit was reserved for it."),
    "released": Meaning("The reserved credit was released."),
    "voided": Meaning("What was left of the credit was taken back."),
    "refunded": Meaning("The credit was paid out in money."),
    "drawn": Meaning("The credit was drawn for usage."),
    "policy_set": Meaning("The settings apply to everything that happens from then on."),
    "malformed": Meaning(
        "The message could not be read, or its contents are not acceptable.",
        "The message corrected and sent again.",
        note="`problem` in the facts and the dead letter's reason name the field and the problem.",
    ),
    "duplicate": Meaning("It had already been handled."),
    "conflict": Meaning(
        "The key was used before with different contents.",
        "A new id for different contents; the first message with this id stands.",
    ),
    "parked": Meaning(
        "Avoir failed on it.",
        "A mended release of Avoir, and the message replayed.",
        note="`problem` in the facts and the dead letter say how; `avoir dead-letters replay` replays it.",
    ),
    "booking_cancelled": Meaning("A booking that had been paid for was cancelled."),
    "booking_shortened": Meaning("A booking that had been paid for was shortened."),
    "plan_cancelled": Meaning("A plan was cancelled, and what had been paid for ahead was left unused."),
    "overpayment": Meaning("More was paid than was due."),
    "prepaid": Meaning("Credit was bought on an invoice that has been paid."),
    "negative_invoice": Meaning("The total of the invoice was negative."),
    "granted": Meaning(
        "It was granted by hand.", note="A source only: such credit has one of the reasons below."
    ),
    "referral": Meaning("It was granted for a referral."),
    "goodwill": Meaning("It was granted as goodwill."),
    "adjustment": Meaning("It was granted as an adjustment."),
    "promotion": Meaning("It was granted as a promotion."),
    "purchase": Meaning("It was bought."),
    "other": Meaning("It was granted by hand."),
    "auto": Meaning("Available credit is used automatically on new invoices."),
    "command": Meaning("It was used by hand on a chosen invoice."),
    "line_item": Meaning("The invoice had it as a line."),
    "reservation": Meaning("It had been reserved for the invoice."),
    "payment_settled_invoice": Meaning("The payment was needed for an invoice."),
    "moved": Meaning("It was moved to another invoice.", note="`apply-credit` moved it."),
    "not_needed": Meaning(
        "The invoice did not need it.", note="The invoice is settled without it, or belongs to another owner."
    ),
    "credit_line": Meaning("The invoice used more credit than the grant held."),
    "expired": Meaning("It expired."),
}
