"""Plain words for the codes of decisions and movements: one table each, for people who help customers."""

from collections.abc import Mapping
from datetime import datetime

OUTCOMES: Mapping[str, str] = {
    "issued": "Credit was given.",
    "applied": "Credit was used.",
    "recorded": "It was recorded; there was no credit to give or to use.",
    "waiting": "No credit was given yet.",
    "declined": "No credit was given.",
    "rejected": "The message could not be read, so nothing was changed.",
    "duplicate": "The same message had been handled before, so nothing was changed.",
    "conflict": "It contradicted an earlier message with the same key, so nothing was changed.",
    "parked": "Avoir failed on this message and set it aside; it can be replayed after a fix.",
    "skipped": "An operator passed by the message, because no program could read it.",
}

REASONS: Mapping[str, str] = {
    "not_billed": "It had not been billed on any finalized invoice by then.",
    "billed_after_change": "It was billed only after the change, on an invoice that could take it into account.",
    "invoice_voided": "The invoice that billed it had been voided.",
    "currency_mismatch": "The amounts were in another currency than the invoice or payment they were for.",
    "already_credited": "The credit for it had been given before.",
    "superseded": "A later change to the same booking or plan counts instead.",
    "not_requested": "It was changed by an admin who did not ask for credit.",
    "free": "It had cost nothing.",
    "unpaid": "The invoice that billed it had not been paid in full.",
    "nothing_unused": "Nothing of what had been paid for was left unused.",
    "insufficient_credit": "There was less credit available than was asked for.",
    "unknown_invoice": "The invoice is not known for this customer.",
    "unknown_grant": "The credit is not known for this customer.",
    "unknown_application": "The use of credit that it names is not known, or was undone before.",
    "unknown_payment": "The payment is not known yet.",
    "invoice_settled": "Nothing was left to pay on the invoice.",
    "credit_expired": "The credit had expired.",
    "not_effective": "Its time has not come yet.",
    "referral": "It was granted for a referral.",
    "goodwill": "It was granted as goodwill.",
    "adjustment": "It was granted to put something right.",
    "promotion": "It was granted as a promotion.",
    "purchase": "It was bought.",
    "other": "It was granted by hand.",
    "command": "It was used by hand on the invoice that was chosen.",
    "line_item": "The invoice had it as a line.",
    "reservation": "It had been set aside for the invoice.",
    "moved": "It was moved to another invoice.",
    "not_needed": "The invoice did not need it.",
    "booking_cancelled": "A booking that had been paid for was cancelled.",
    "booking_shortened": "A booking that had been paid for was shortened.",
    "plan_cancelled": "A plan was cancelled, and what had been paid for ahead was left unused.",
    "overpayment": "More was paid than was due.",
    "prepaid": "Credit was bought on an invoice that is paid.",
    "negative_invoice": "The total of the invoice was negative.",
    "granted": "It was granted by hand.",
    "auto": "Available credit is used on a new invoice by itself.",
    "payment_reversed": "The payment was reversed.",
    "changed": "The booking or plan was changed again.",
    "payment_settled_invoice": "The payment was needed for an invoice after all.",
    "credit_line": "The invoice used more of the credit than was left of it.",
    "expired": "Its time was over.",
}

RECORDED: Mapping[tuple[str, str], str] = {
    (
        "invoice-voided",
        "invoice_voided",
    ): "Nothing is due on it any more; the credit used on it went back, the credit "
    "it had given was taken back, and what had been paid for it is credit now.",
    ("invoice-finalized", "invoice_voided"): "It had been voided before it came, so nothing is due on it.",
    (
        "payment-reversed",
        "payment_reversed",
    ): "What the payment had paid is undone as far as it was reversed.",
    ("apply-credit", "reserved"): "The invoice is not finalized yet, so the credit was set aside for it.",
    (
        "reinstate-credit",
        "recorded",
    ): "The credit is available again, and the invoice is due again as before.",
    ("reinstate-credit", "released"): "The credit that was set aside is available again.",
    ("credit-application-rejected", "released"): "The credit that was set aside is available again.",
    ("void-credit", "voided"): "What was left of the credit was taken back.",
    ("refund-credit", "refunded"): "The credit was paid out in money.",
    ("draw-credit", "drawn"): "The credit was drawn for usage.",
    ("set-credit-policy", "policy_set"): "The settings count for what happens from then on.",
}
"""What was done where a message was recorded, by topic and reason; for changes see `changed`."""

HAPPENED: Mapping[str, str] = {
    "invoice-finalized": "invoice {id} was finalized",
    "invoice-voided": "invoice {id} was voided",
    "booking-cancelled": "booking {id} was cancelled",
    "booking-shortened": "booking {id} was shortened",
    "plan-cancelled": "plan {id} was cancelled",
    "payment-recorded": "payment {id} was recorded",
    "payment-reversed": "payment {id} was reversed",
    "credit-application-rejected": "the invoicing service could not use the credit of application {id}",
    "grant-credit": "credit was to be granted to {id}",
    "apply-credit": "credit was to be used on invoice {id}",
    "reinstate-credit": "the use of credit {id} was to be undone",
    "void-credit": "credit {id} was to be voided",
    "refund-credit": "credit of {id} was paid out",
    "draw-credit": "credit of {id} was to be drawn",
    "set-credit-policy": "the credit settings of the {id} were set",
}
"""What a message tells, by its topic; `{id}` is the decision's subject."""

CAUSES: Mapping[str, str] = {
    "invoice-finalized": ", once the invoice had come in",
    "invoice-voided": ", when an invoice was voided",
    "payment-recorded": ", once the payment had come in",
    "payment-reversed": ", when a payment was reversed",
    "credit-application-rejected": ", when the invoicing service could not use credit",
}
"""What set credit in motion, where it was not the change itself."""

MOVED: Mapping[str, str] = {
    "issued": "credit of {amount} was given",
    "applied": "{amount} of it was used on invoice {invoice}",
    "reinstated": "{amount} came back from invoice {invoice}",
    "expired": "{amount} of it expired, unused",
    "taken_back": "{amount} of it was taken back",
    "voided": "{amount} of it was voided",
    "drawn": "{amount} of it was drawn for usage",
    "refunded": "{amount} of it was paid out in money",
    "reserved": "{amount} of it was set aside for an invoice to come",
}
"""What happened to a credit, by the event of its entry; what is taken back is voided to that counter account."""

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def reason_words(code: str) -> str:
    """A reason as a sentence; what the table does not know is shown as it is."""
    return REASONS.get(code, code.replace("_", " ").capitalize().rstrip(".") + "." if code else "")


def recorded_words(topic: str, reason: str) -> str:
    """What it means that a message was recorded."""
    if reason == "changed":
        return "Credit that had been given for it was taken back, as far as it was left."
    return RECORDED.get((topic, reason), OUTCOMES["recorded"])


def date_words(moment: datetime) -> str:
    """A day as people write it: 2 June 2025."""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"
