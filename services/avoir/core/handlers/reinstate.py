"""Applications and reservations undone: by command, or since the invoicing service could not use one.

applied --reinstate-credit, credit-application-rejected, invoice voided--> reinstated
"""

from collections.abc import Mapping

from msgspec.structs import replace

from avoir.core.effects import undo
from avoir.core.effects.reservations import by_application, held, release
from avoir.core.effects.settle import expire_overdue, settle
from avoir.core.handlers.invoices import invoice_facts
from avoir.core.handlers.outcome import Conclusion, Handler, conclude, refuse
from avoir.core.model.commands import ReinstateCredit
from avoir.core.model.facts import ApplicationRejected
from avoir.core.model.message import Message
from avoir.core.model.money import format_decimal
from avoir.core.model.rows import Application, ApplicationKey, Reservation
from avoir.core.state.draft import Draft


def reject(draft: Draft, message: Message, fact: ApplicationRejected) -> Conclusion:
    """Undo an application that could not be used; one that is already undone stays undone."""
    key = ApplicationKey.parse(message.tenant_id, fact.application_id)
    application = draft.state.applications.get(key)
    if application is not None:
        return _undo(draft, message, application, fact.reason)
    holding = _holding(draft, key)
    if holding:
        return _release(draft, message, holding, fact.reason)
    return conclude(message, "declined", "unknown_application", {"application_id": fact.application_id})


def reinstate(draft: Draft, message: Message, command: ReinstateCredit) -> Conclusion:
    """Undo an application, otherwise release a reservation, as far as it still exists."""
    key = ApplicationKey.parse(message.tenant_id, command.application_id)
    application = draft.state.applications.get(key)
    if application is not None and not application.reinstated:
        return _undo(draft, message, application, command.reason)
    holding = _holding(draft, key)
    if holding:
        return _release(draft, message, holding, command.reason)
    rows = draft.state.reservations_of_application.get(key)
    account = draft.state.reservations[rows[0]].account if rows else None
    account = account if application is None else application.account
    asked = {"application_id": command.application_id}
    facts = {**asked, "undone_already": account is not None}
    return refuse(draft, message, "unknown_application", facts, asked=asked, account=account)


def _holding(draft: Draft, key: ApplicationKey) -> list[Reservation]:
    rows = draft.state.reservations_of_application.get(key)
    if rows:
        expire_overdue(draft, draft.state.reservations[rows[0]].account)
    return held(draft, rows)


def _release(draft: Draft, message: Message, rows: list[Reservation], reason: str) -> Conclusion:
    account = rows[0].account
    facts = {
        "application_id": str(rows[0].key.application_id),
        "currency": account.currency,
        "amount": format_decimal(sum(row.amount for row in rows), account.currency),
        "invoice_id": rows[0].invoice_id,
    }
    for some in by_application(rows):
        release(draft, some, reason)
    settle(draft, [account], "payment_reversed")
    return conclude(message, "recorded", "released", facts)


def _undo(draft: Draft, message: Message, application: Application, reason: str) -> Conclusion:
    invoice = draft.state.invoices[application.invoice]
    # Barred, or settling would use available credit on the invoice again at once.
    draft.put(replace(invoice, barred=True))
    if not application.reinstated:
        undo.reinstate(draft, application, reason)
        settle(draft, [application.account], "payment_reversed")
    return conclude(message, "recorded", "recorded", invoice_facts(draft.state.invoices[application.invoice]))


HANDLERS: Mapping[type, Handler] = {ApplicationRejected: reject, ReinstateCredit: reinstate}
