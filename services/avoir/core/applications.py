"""Applications: what becomes of one that the invoicing service could not use."""

from uuid import UUID

from msgspec.structs import replace

from avoir.core import unwind
from avoir.core.conclusion import Conclusion, conclude
from avoir.core.draft import Draft
from avoir.core.facts import ApplicationRejected, Message
from avoir.core.invoices import invoice_facts
from avoir.core.rows import ApplicationKey
from avoir.core.settle import settle


def reject(draft: Draft, message: Message, fact: ApplicationRejected) -> Conclusion:
    application = draft.state.applications.get(application_key(message.tenant_id, fact.application_id))
    if application is None:
        return conclude(message, "declined", "unknown_application", {"application_id": fact.application_id})
    invoice = draft.state.invoices[application.invoice]
    draft.reason = "payment_reversed"
    draft.put(replace(invoice, barred=True))
    if not application.reinstated:
        unwind.reinstate(draft, application, fact.reason)
        settle(draft, [application.account])
    return conclude(message, "recorded", "recorded", invoice_facts(draft.state.invoices[application.invoice]))


def application_key(tenant_id: str, application_id: str) -> ApplicationKey:
    """The key of an application named by a message; of an id that Avoir cannot have made, one that none has."""
    try:
        return ApplicationKey(tenant_id, UUID(application_id))
    except ValueError:
        return ApplicationKey(tenant_id, UUID(int=0))
