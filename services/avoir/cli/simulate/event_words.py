"""An event in one line for people: its effect on an account."""

from avoir.core.model.events import (
    AccountKey,
    CreditApplied,
    CreditDeclined,
    CreditDrawn,
    CreditExpired,
    CreditIssued,
    CreditNoteIssued,
    CreditRefillRequested,
    CreditRefunded,
    CreditReinstated,
    CreditReserved,
    CreditShortfall,
    CreditVoided,
    Event,
)
from avoir.core.model.money import format_decimal


def event_words(event: Event) -> str | None:
    """Effect of an event and the balance after it; None for a decline, which its decision explains."""
    account, available = event.account, event.available
    words = None if account is None or available is None else _words(event, account)
    if words is None or account is None or available is None:
        return None
    return f"{words}; {account.owner_type}/{account.owner_id} then has {_money(available, account)}"


def _words(event: Event, account: AccountKey) -> str | None:
    body = event.body
    match body:
        case CreditDeclined():
            return None
        case CreditRefillRequested():
            return f"requested a refill of {_money(body.amount, account)}"
        case CreditNoteIssued():
            return f"credit note {body.credit_note} for {_money(body.amount, account)}"
        case CreditShortfall() if body.amount < 0:
            return f"{_money(-body.amount, account)} of the shortfall was made up for"
        case _:
            return f"{_money(body.amount, account)} {_verb(event)}"


def _verb(event: Event) -> str:
    body = event.body
    match body:
        case CreditIssued():
            return f"given: {body.reason.replace('_', ' ')}"
        case CreditApplied():
            return f"used on invoice {body.invoice_id}"
        case CreditReserved():
            return f"reserved for {_place(body.invoice_id)}"
        case CreditReinstated(undone="reservation"):
            return f"no longer reserved for {_place(body.invoice_id)}"
        case CreditReinstated():
            return f"back from {_place(body.invoice_id)}"
        case CreditVoided():
            return f"taken back: {body.reason.replace('_', ' ')}"
        case CreditExpired():
            return "expired"
        case CreditRefunded():
            return "paid out in money"
        case CreditDrawn():
            return f"drawn for {body.reference}"
        case CreditShortfall():
            return f"could not be taken back: {body.reason.replace('_', ' ')}"
        case _:
            raise TypeError(f"{type(body).__name__} moves no credit")


def _place(invoice_id: str | None) -> str:
    return "the next invoice" if invoice_id is None else f"invoice {invoice_id}"


def _money(micros: int, account: AccountKey) -> str:
    return f"{format_decimal(micros, account.currency)} {account.currency}"
