"""Plain words for the codes of decisions and movements, one table each, for customer support."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast, get_args

from avoir.core.model.decision import OUTCOMES, Outcome
from avoir.core.model.reasons import REASONS, Done, Meaning, Reason

UNHANDLED = frozenset({"rejected", "parked"})
"""Outcomes of messages that changed nothing."""

UNREADABLE = "could not be read, so nothing was changed."
"""Text for a message that could not be read."""

REFUSED = "It was refused."
"""The outcome of a command that is declined."""

RECORDED: Mapping[tuple[str, str], str] = {
    (
        "invoice-voided",
        "invoice_voided",
    ): "Nothing is due on it any more. Credit used on it, credit given for it and "
    "payments for it were undone, if there were any.",
    (
        "invoice-finalized",
        "invoice_voided",
    ): "It had been voided before it was received, so nothing is due on it.",
    (
        "payment-reversed",
        "payment_reversed",
    ): "The invoices that the payment had settled are due again, up to the reversed amount.",
    (
        "reinstate-credit",
        "recorded",
    ): "The credit is available again, and the amount is due again on the invoice.",
}
"""Results of recorded messages, by topic and reason, if the reason alone does not say enough."""

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
"""Content of a message, by topic; `{id}` is the decision's subject."""

CAUSES: Mapping[str, str] = {
    "invoice-finalized": ", once the invoice had come in",
    "invoice-voided": ", when an invoice was voided",
    "payment-recorded": ", once the payment had come in",
    "payment-reversed": ", when a payment was reversed",
    "credit-application-rejected": ", when the invoicing service could not use credit",
}
"""Cause of a movement, if it was not the change itself."""

MOVED: Mapping[str, str] = {
    "issued": "credit of {amount} was given",
    "applied": "{amount} of {of} was used on {invoice}",
    "reinstated": "{amount} of {of} came back from {invoice}",
    "expired": "{amount} of {of} expired, unused",
    "taken_back": "{amount} of {of} was taken back",
    "voided": "{amount} of {of} was voided",
    "drawn": "{amount} of {of} was drawn for usage",
    "refunded": "{amount} of {of} was paid out in money",
    "reserved": "{amount} of {of} was reserved for {invoice}",
    "released": "{amount} of {of}, reserved for {invoice}, became available again",
}
"""Words for movements, by the entry's event; what is taken back is voided to that counter account."""

NEXT_INVOICE = "the next invoice"

GIVEN_FOR: Mapping[str, str] = {
    "booking_cancelled": "for a cancelled booking",
    "booking_shortened": "for a shortened booking",
    "plan_cancelled": "for a cancelled plan",
    "overpayment": "for an overpayment",
    "prepaid": "bought on an invoice",
    "negative_invoice": "for an invoice with a negative total",
    "referral": "for a referral",
    "goodwill": "as goodwill",
    "adjustment": "as an adjustment",
    "promotion": "as a promotion",
    "purchase": "bought",
    "other": "by hand",
}
"""Purpose of credit, by its reason."""

APPLIED_BY: Mapping[str, str] = {
    "auto": "automatically",
    "command": "by hand",
    "reservation": "from a reservation",
    "line_item": "as a line of the invoice",
}
"""Ways in which credit was used on an invoice."""

SCOPES: Mapping[str, str] = {"tenant": "all customers", "owner": "{id}", "invoice": "invoice {id}"}
"""Scope of a setting; `{id}` is the owner or the invoice."""

POLICY_NAMES: Mapping[str, str] = {
    "auto_apply": "whether new invoices use credit automatically",
    "credit_as": "how new credit is kept",
    "unpaid_change": "credit for unpaid changes",
    "expires_after_days": "when credit expires",
    "proration": "how a running period is prorated",
    "time_zone": "the time zone of days",
    "refill_threshold": "when a refill is requested",
    "refill_amount": "the amount of a refill",
}
"""Meaning of a policy key."""

POLICY_VALUES: Mapping[tuple[str, object], str] = {
    ("auto_apply", True): "new invoices use available credit automatically",
    ("auto_apply", False): "new invoices use no credit automatically",
    ("credit_as", "balance"): "new credit goes to the balance",
    ("credit_as", "line_item"): "new credit is reserved as a line on the next invoice",
    ("unpaid_change", "wait"): "credit for something unpaid comes with the payment",
    ("unpaid_change", "never"): "a change to something unpaid gives no credit",
    ("expires_after_days", None): "credit does not expire",
    ("proration", "time"): "a running period is prorated by elapsed time",
    ("proration", "days"): "a running period is prorated by whole days",
    ("refill_threshold", None): "no refill is requested",
    ("refill_amount", None): "no refill is requested",
}
"""Meaning of a policy key's value."""

POLICY_PATTERNS: Mapping[str, str] = {
    "expires_after_days": "credit expires after {value} days",
    "time_zone": "days are those of {value}",
    "refill_threshold": "a refill is requested when less than {value} is left",
    "refill_amount": "a refill is for {value}",
}
"""Meaning of a policy key's value, for keys that take any value."""

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
    """Return the meaning of a stored reason; None if it is a person's own text, or from another release."""
    return REASONS.get(cast(Reason, code))


def reason_words(code: str) -> str:
    """Return a reason as a sentence; an unlisted one is returned as it is."""
    known = _meaning(code)
    return known.words if known else code.replace("_", " ").capitalize().rstrip(".") + "." if code else ""


def recorded_words(topic: str, reason: str) -> str:
    """Return the meaning of `recorded`."""
    if reason == "changed":
        return "What was left of the credit given for it was taken back."
    text = RECORDED.get((topic, reason))
    return text or (reason_words(reason) if reason in get_args(Done) else outcome_words("recorded"))


def outcome_words(outcome: str) -> str:
    """Return an outcome as a sentence."""
    known = OUTCOMES.get(cast(Outcome, outcome))
    return known.words if known else f"The outcome was {outcome}."


def date_words(moment: datetime) -> str:
    """Return a day as people write it: 2 June 2025."""
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def refusal_words(code: str) -> str:
    """Return why a command was refused."""
    known = _meaning(code)
    return known.refused.words if known and known.refused else reason_words(code)


def moved_words(code: str) -> str:
    """Return why credit moved."""
    known = _meaning(code)
    return known.moved if known and known.moved else reason_words(code)


def policy_words(key: str, value: object) -> str:
    """Return the meaning of a policy key's value; amounts are decimal strings."""
    known = POLICY_VALUES.get((key, value))
    return known or POLICY_PATTERNS.get(key, key + " is {value}").format(value=value)


def scope_words(scope: str, id_: str) -> str:
    """Return the scope of a setting."""
    return SCOPES.get(scope, scope).format(id=id_)


def invoice_words(invoice_id: str | None) -> str:
    """Return an invoice's name for people; None is the owner's next."""
    return NEXT_INVOICE if invoice_id is None else f"invoice {invoice_id}"


def joined(parts: Sequence[str]) -> str:
    """Join parts as people list them: a, b and c."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def is_zero(amount: str) -> bool:
    """Check whether a decimal string is zero."""
    return not amount.strip("-0.")


def credit_words(source: str, reason: str) -> str:
    """Return where credit comes from, and for granted credit also why."""
    words = source.replace("_", " ")
    return words if source == reason else f"{words}: {reason.replace('_', ' ')}"
