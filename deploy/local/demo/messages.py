"""Messages of the demo as JSON: their ids are numbered, and the tenant is added when they are sent."""

from itertools import count
from typing import Any

from deploy.local.demo.scenario import CURRENCY, Json

SOON = "@soon"
"""Stands for a moment shortly after the message is sent."""

GRANT = "@grant:"
"""Stands, with the id of a message, for the grant that the message made."""

_numbers = count(1)


def owner(name: str) -> Json:
    """An owner from `user/u1`."""
    kind, _, id_ = name.partition("/")
    return {"type": kind, "id": id_}


def message(day: str, **fields: Any) -> Json:
    """A message of noon on a day, with the next number for its id."""
    return {"event_id": f"e{next(_numbers)}", "occurred_at": f"{day}T12:00:00Z", **fields}


def invoice(day: str, invoice_id: str, holder: str, lines: list[Json], total: str, **more: Any) -> Json:
    """An invoice that is finalized automatically, if nothing else is said."""
    own = {
        "invoice_id": invoice_id,
        "number": f"INV-{invoice_id[1:].zfill(4)}",
        "owner": owner(holder),
        "currency": CURRENCY,
        "finalization": "automatic",
        "lines": lines,
        "total": total,
    }
    return message(day, **own | more)


def booking_line(booking_id: str, amount: str, tax: str = "0.00", **more: Any) -> Json:
    """The line of a booking on an invoice."""
    return {
        "line_id": f"l-{booking_id}",
        "kind": "booking",
        "booking_id": booking_id,
        "amount": amount,
        "tax": tax,
    } | more


def payment(day: str, payment_id: str, holder: str, amount: str, *invoice_ids: str) -> Json:
    """A payment by card."""
    return message(
        day,
        payment_id=payment_id,
        owner=owner(holder),
        amount=amount,
        currency=CURRENCY,
        method="card",
        invoice_ids=list(invoice_ids),
    )


def cancelled(day: str, booking_id: str, holder: str) -> Json:
    """A booking that its customer cancels in the app."""
    return message(day, booking_id=booking_id, owner=owner(holder), changed_by="customer", channel="app")


def hours(day: str, start: int, end: int) -> Json:
    """Some hours of a day."""
    return {"start": f"{day}T{start:02}:00:00Z", "end": f"{day}T{end:02}:00:00Z"}


def command(day: str, **fields: Any) -> Json:
    """A command of admin a1."""
    return message(day, actor={"type": "admin", "id": "a1"}, **fields)


def grant_of(cause: Json) -> str:
    """The grant that a message makes, whose id is known once it is published."""
    return f"{GRANT}{cause['event_id']}"
