"""`avoir explain`: why credit was given or not, in words to read out."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from avoir.cli.access import DSN, connected, load_settings
from avoir.cli.ending import Exit, not_found, refuse
from avoir.cli.options import AsJson, Tenant
from avoir.cli.output import amount, print_json, rfc3339, say, short_time
from avoir.read.explain import explain as read_explanation
from avoir.read.story import Explanation, GrantStory, InvoiceStory, LineStory, PaymentStory, Subject
from avoir.read.telling import Telling, tell


async def explain(
    event_id: Annotated[str | None, Parameter(help="The event id of a message.")] = None,
    *,
    tenant: Tenant,
    booking: Annotated[str | None, Parameter(help="Everything decided about a booking.")] = None,
    plan: Annotated[str | None, Parameter(help="Everything decided about a plan.")] = None,
    invoice: Annotated[str | None, Parameter(help="Everything decided about an invoice.")] = None,
    grant: Annotated[str | None, Parameter(help="Why a credit was given, and what became of it.")] = None,
    payment: Annotated[str | None, Parameter(help="Everything decided about a payment.")] = None,
    json: AsJson = False,
) -> int:
    """Tell why credit was given or not: what was decided then, and what happened since.

    Name exactly one thing. Of a booking, plan or invoice all decisions are told, with its lines, what they cost, what
    they are worth and what was given for them.

    Example: `avoir explain --booking b1 --tenant t1`
    """
    named = {
        "event": event_id,
        "booking": booking,
        "plan": plan,
        "invoice": invoice,
        "grant": grant,
        "payment": payment,
    }
    subject = the_one(named)
    async with connected(load_settings(DSN)) as connection:
        explanation = await read_explanation(connection, tenant, subject)
    telling = tell(explanation)
    if json:
        print_json(explanation_json(explanation, telling))
    if not explanation.found:
        not_found(f"Nothing is known of {subject.kind} {subject.id} in tenant {tenant}.")
    if not json:
        print_telling(explanation, telling)
    return Exit.OK


def the_one(named: Mapping[str, str | None]) -> Subject:
    """The one thing that was named; anything else is a wrong call."""
    given = [Subject(kind, id_) for kind, id_ in named.items() if id_ is not None]
    if len(given) != 1:
        refuse("Name exactly one: an event id, --booking, --plan, --invoice, --grant or --payment.")
    return given[0]


def print_telling(explanation: Explanation, telling: Telling) -> None:
    """The words in three parts; parts without words are left out."""
    subject = explanation.subject
    say(f"{subject.kind.capitalize()} {subject.id}, as of {short_time(explanation.as_of)} UTC")
    for title, sentences in (
        ("What was decided", telling.decided),
        ("What happened since", telling.since),
        ("How it stands", telling.now),
    ):
        if sentences:
            say(f"\n{title}")
        for sentence in sentences:
            say(f"- {sentence}")


def explanation_json(explanation: Explanation, telling: Telling) -> dict[str, Any]:
    """The documented shape of `avoir explain --json`."""
    return {
        "tenant_id": explanation.tenant_id,
        "subject": explanation.subject._asdict(),
        "as_of": rfc3339(explanation.as_of),
        "words": {"decided": telling.decided, "since": telling.since, "now": telling.now},
        "decisions": [_plain(each) for each in explanation.decisions],
        "later_decisions": [_plain(each) for each in explanation.later],
        "invoices": [
            _with_amounts(each, "total", "due", "settled", "applied") for each in explanation.invoices
        ],
        "lines": [
            _with_amounts(each, "billed", "cost", "target", "given", "shortfall")
            for each in explanation.lines
        ],
        "changes": [
            {**_plain(each), "fee": amount(each.fee, each.currency) if each.currency else None}
            for each in explanation.changes
        ],
        "grants": [_grant_json(each) for each in explanation.grants],
        "payments": [_payment_json(each) for each in explanation.payments],
        "applications": [
            {**_plain(each), "amount": amount(each.amount, each.currency)}
            for each in explanation.applications
        ],
    }


def _with_amounts(each: InvoiceStory | LineStory | GrantStory | PaymentStory, *names: str) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(each)
    for name in names:
        plain[name] = None if plain[name] is None else amount(plain[name], each.currency)
    return plain


def _grant_json(grant: GrantStory) -> dict[str, Any]:
    names = ("amount", "available", "reserved", "spent", "lost", "taken")
    steps = [{**_plain(step), "amount": amount(step.amount, grant.currency)} for step in grant.steps]
    given_for = (
        dict(zip(("kind", "id", "line_id"), grant.given_for, strict=True)) if grant.given_for else None
    )
    return {**_with_amounts(grant, *names), "given_for": given_for, "steps": steps}


def _payment_json(payment: PaymentStory) -> dict[str, Any]:
    settlements = [
        {"invoice_id": invoice_id, "amount": amount(part, payment.currency)}
        for invoice_id, part in payment.settlements
    ]
    return {**_with_amounts(payment, "amount", "reversed", "settled"), "settlements": settlements}


def _plain(value: Any) -> dict[str, Any]:
    return {name: _json_value(part) for name, part in asdict(value).items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "_asdict"):
        return value._asdict()
    return value
