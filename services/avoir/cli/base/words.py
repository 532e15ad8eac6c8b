"""Plain words for the codes of decisions and movements: one table each, for people who help customers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast, get_args

from avoir.core.model.decision import OUTCOMES, Outcome
from avoir.core.model.reasons import REASONS, Done, Meaning, Reason

UNHANDLED = frozenset({"rejected", "parked"})
"""The outcomes of messages whose contents did not count."""

UNREADABLE = "could not be read, so nothing was changed."
"""What became of a message that could not be read."""

REFUSED = "It was refused."
"""The outcome of a command that is declined."""

RECORDED: Mapping[tuple[str, str], str] = {
    (
        "invoice-voided",
        "invoice_voided",
    ): "Nothing is due on it any more; credit used on it, credit given for it and "
    "payments for it were undone, as far as there were any.",
    ("invoice-finalized", "invoice_voided"): "It had been voided before it came, so nothing is due on it.",
    (
        "payment-reversed",
        "payment_reversed",
    ): "What the payment had paid is undone as far as it was reversed.",
    (
        "reinstate-credit",
        "recorded",
    ): "The credit came back, and the invoice is due again as before.",
}
"""What was done where a message was recorded, by topic and reason, where the reason alone does not say."""

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
    "set-credit-policy": "credit settings were set",
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
    "applied": "{amount} of {of} was used on {invoice}",
    "reinstated": "{amount} of {of} came back from {invoice}",
    "expired": "{amount} of {of} expired, unused",
    "taken_back": "{amount} of {of} was taken back",
    "voided": "{amount} of {of} was voided",
    "drawn": "{amount} of {of} was drawn for usage",
    "refunded": "{amount} of {of} was paid out in money",
    "reserved": "{amount} of {of} was set aside for {invoice}",
    "released": "{amount} of {of}, set aside for {invoice}, became available again",
}
"""What happened to a credit, by the event of its entry; what is taken back is voided to that counter account."""

NEXT_INVOICE = "the next invoice"

GIVEN_FOR: Mapping[str, str] = {
    "booking_cancelled": "for a cancelled booking",
    "booking_shortened": "for a shortened booking",
    "plan_cancelled": "for a cancelled plan",
    "overpayment": "for what was paid above what was due",
    "prepaid": "bought on an invoice",
    "negative_invoice": "for an invoice below zero",
    "referral": "for a referral",
    "goodwill": "as goodwill",
    "adjustment": "to put something right",
    "promotion": "as a promotion",
    "purchase": "bought",
    "other": "by hand",
}
"""What a credit was given for, by its reason."""

APPLIED_BY: Mapping[str, str] = {
    "auto": "by itself",
    "command": "by hand",
    "reservation": "as it had been set aside for it",
    "line_item": "as a line of the invoice",
}
"""How credit came to be used on an invoice."""

SCOPES: Mapping[str, str] = {"tenant": "all customers", "owner": "{id}", "invoice": "invoice {id}"}
"""Whom a setting is for; `{id}` is the owner or the invoice."""

POLICY_NAMES: Mapping[str, str] = {
    "auto_apply": "whether credit is used on new invoices by itself",
    "credit_as": "what new credit becomes",
    "unpaid_change": "credit for what is not paid yet",
    "expires_after_days": "when credit expires",
    "proration": "how a running period is shared",
    "time_zone": "which days are meant",
    "refill_threshold": "when a refill is asked for",
    "refill_amount": "how much a refill asks for",
}
"""What a policy key is about."""

POLICY_VALUES: Mapping[tuple[str, object], str] = {
    ("auto_apply", True): "available credit is used on new invoices by itself",
    ("auto_apply", False): "no credit is used on new invoices by itself",
    ("credit_as", "balance"): "new credit goes to the balance",
    ("credit_as", "line_item"): "new credit is set aside as a line of the next invoice",
    ("unpaid_change", "wait"): "credit for what is not paid yet comes with the payment",
    ("unpaid_change", "never"): "what was not paid at the time of the change gives no credit",
    ("expires_after_days", None): "credit does not expire",
    ("proration", "time"): "a running period is shared by elapsed time",
    ("proration", "days"): "a running period is shared by whole days",
    ("refill_threshold", None): "no refill is asked for",
    ("refill_amount", None): "no refill is asked for",
}
"""What a value of a policy key means."""

POLICY_PATTERNS: Mapping[str, str] = {
    "expires_after_days": "credit expires after {value} days",
    "time_zone": "days are those of {value}",
    "refill_threshold": "a refill is asked for when less than {value} is left",
    "refill_amount": "a refill asks for {value}",
}
"""What a value of a policy key means where it can be any."""

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


def _meaning(code: str) -> Meaning | None:
    """What a stored reason means; None where it is somebody's own words, or of another release."""
    return REASONS.get(cast(Reason, code))


def reason_words(code: str) -> str:
    """A reason as a sentence; what is no reason of the list is shown as it is."""
    known = _meaning(code)
    return known.words if known else code.replace("_", " ").capitalize().rstrip(".") + "." if code else ""


def recorded_words(topic: str, reason: str) -> str:
    """What it means that a message was recorded."""
    if reason == "changed":
        return "Credit that had been given for it was taken back, as far as it was left."
    said = RECORDED.get((topic, reason))
    return said or (reason_words(reason) if reason in get_args(Done) else outcome_words("recorded"))


def outcome_words(outcome: str) -> str:
    """An outcome as a sentence."""
    known = OUTCOMES.get(cast(Outcome, outcome))
    return known.words if known else f"The outcome was {outcome}."


def date_words(moment: datetime) -> str:
    """A day as people write it: 2 June 2025."""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def refusal_words(code: str) -> str:
    """Why a command was refused."""
    known = _meaning(code)
    return known.refused.words if known and known.refused else reason_words(code)


def moved_words(code: str) -> str:
    """Why credit moved."""
    known = _meaning(code)
    return known.moved if known and known.moved else reason_words(code)


def policy_words(key: str, value: object) -> str:
    """What a value of a policy key means; amounts come as decimal strings."""
    known = POLICY_VALUES.get((key, value))
    return known or POLICY_PATTERNS.get(key, key + " is {value}").format(value=value)


def scope_words(scope: str, id_: str) -> str:
    """Whom a setting is for."""
    return SCOPES.get(scope, scope).format(id=id_)


def invoice_words(invoice_id: str | None) -> str:
    """An invoice as people name it; none is the owner's next."""
    return NEXT_INVOICE if invoice_id is None else f"invoice {invoice_id}"


def joined(parts: Sequence[str]) -> str:
    """Parts as people list them: a, b and c."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def is_zero(amount: str) -> bool:
    """Whether a decimal string stands for nothing."""
    return not amount.strip("-0.")


def credit_words(source: str, reason: str) -> str:
    """Where credit comes from; for what was granted, also why."""
    words = source.replace("_", " ")
    return words if source == reason else f"{words}: {reason.replace('_', ' ')}"
