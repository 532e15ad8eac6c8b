"""`avoir explain`: why credit was given or not, in words to read out."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from textwrap import fill
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import COUNT, AsJson, OwnerArgument, Tenant
from avoir.cli.base.output import amount, console, hint, print_json, rfc3339, say, short_time
from avoir.cli.explain.line_command import line_worth_json
from avoir.cli.explain.line_query import read_line_worth
from avoir.cli.explain.prose.explanation import Telling, tell
from avoir.cli.explain.prose.line import tell_line
from avoir.cli.explain.query import explain as read_explanation
from avoir.cli.explain.scope import LIMIT
from avoir.cli.explain.view import (
    ApplicationStory,
    Explanation,
    GrantStory,
    InvoiceStory,
    LineStory,
    PaymentStory,
    ReservationStory,
    Subject,
)
from avoir.core.model.policy import stated

HasCurrency = InvoiceStory | LineStory | GrantStory | PaymentStory | ApplicationStory | ReservationStory


async def explain(
    event_id: Annotated[str | None, Parameter(help="The event id of a message, a fact or a command.")] = None,
    *,
    tenant: Tenant,
    booking: Annotated[str | None, Parameter(help="Everything decided about a booking.")] = None,
    plan: Annotated[str | None, Parameter(help="Everything decided about a plan.")] = None,
    invoice: Annotated[str | None, Parameter(help="Everything decided about an invoice.")] = None,
    line: Annotated[
        str | None,
        Parameter(help="With --invoice: how the worth of one of its lines came about, to the cent."),
    ] = None,
    grant: Annotated[str | None, Parameter(help="Why a credit was given, and what became of it.")] = None,
    application: Annotated[
        str | None, Parameter(help="What credit was used on an invoice, or set aside for one.")
    ] = None,
    payment: Annotated[str | None, Parameter(help="Everything decided about a payment.")] = None,
    owner: OwnerArgument | None = None,
    limit: Annotated[int, Parameter(validator=COUNT, help="Most decisions of an owner to tell.")] = 20,
    json: AsJson = False,
) -> int:
    """Tell why credit was given or not: what was decided then, and what happened since.

    Name exactly one thing. Of a booking, plan or invoice all decisions are told, with its lines, what they cost, what
    they are worth and what was given for them; of one line each change with what it alone is worth.

    Example: `avoir explain --booking b1 --tenant t1`
    """
    subject = the_one(
        {
            "event": event_id,
            "booking": booking,
            "plan": plan,
            "invoice": invoice,
            "grant": grant,
            "application": application,
            "payment": payment,
            "owner": None if owner is None else f"{owner.type}/{owner.id}",
        }
    )
    if line is not None:
        return await _explain_line(tenant, subject, line, json=json)
    most = limit if subject.kind == "owner" else LIMIT
    async with connected(load_settings(DSN)) as connection:
        explanation = await read_explanation(connection, tenant, subject, most)
    telling = tell(explanation)
    if json:
        print_json(explanation_json(explanation, telling))
    if not explanation.found:
        not_found(f"Nothing is known of {subject.kind} {subject.id} in tenant {tenant}.")
    if not json:
        print_telling(explanation, telling)
    return Exit.OK


async def _explain_line(tenant: str, subject: Subject, line_id: str, *, json: bool) -> int:
    if subject.kind != "invoice":
        refuse("--line names a line of an invoice: give --invoice too, and nothing else.")
    async with connected(load_settings(DSN)) as connection:
        worth = await read_line_worth(connection, tenant, subject.id, line_id)
    if worth is None:
        not_found(f"Invoice {subject.id} in tenant {tenant} is not known, or has no line {line_id}.")
    words = tell_line(worth)
    if json:
        print_json(line_worth_json(worth, words))
        return Exit.OK
    say(f"Line {line_id} of invoice {subject.id}, as of {short_time(worth.as_of)} UTC")
    _print_part("How its credit came about", words)
    return Exit.OK


def the_one(named: Mapping[str, str | None]) -> Subject:
    """The one thing that was named; anything else is a wrong call."""
    given = [Subject(kind, id_) for kind, id_ in named.items() if id_ is not None]
    if len(given) != 1:
        options = ", ".join(f"--{kind}" for kind in [*named][1:-1])
        refuse(f"Name exactly one: an event id, {options} or --{[*named][-1]}.")
    return given[0]


def print_telling(explanation: Explanation, telling: Telling) -> None:
    """The words in three parts; parts without words are left out."""
    subject = explanation.subject
    say(f"{subject.kind.capitalize()} {subject.id}, as of {short_time(explanation.as_of)} UTC")
    _print_part("What was decided", telling.decided)
    _print_part("What happened since", telling.since)
    _print_part("How it stands", telling.now)
    with_worth = (line for line in explanation.lines if line.target is not None and line.kind != "credit")
    example = next(with_worth, None)
    if example is not None and subject.kind in ("booking", "plan", "invoice"):
        line = f"avoir explain --invoice {example.invoice_id} --line {example.line_id}"
        hint(f"\nTo the cent: {line} --tenant {explanation.tenant_id}")


def _print_part(title: str, sentences: Iterable[str]) -> None:
    width = console().width
    for n, sentence in enumerate(sentences):
        if n == 0:
            say(f"\n{title}")
        say(
            fill(
                sentence,
                width,
                initial_indent="- ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )


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
        "applications": [_application_json(each) for each in explanation.applications],
        "reservations": [_with_amounts(each, "amount") for each in explanation.reservations],
        "policies": [{**_plain(each), "keys": stated(each.keys)} for each in explanation.policies],
    }


def _with_amounts(each: HasCurrency, *names: str) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(each)
    for name in names:
        plain[name] = None if plain[name] is None else amount(plain[name], each.currency)
    return plain


def _grant_json(grant: GrantStory) -> dict[str, Any]:
    names = ("amount", "pending", "available", "reserved", "spent", "lost", "taken")
    return {
        **_with_amounts(grant, *names),
        "given_for": dict(zip(("kind", "id", "line_id"), grant.given_for, strict=True))
        if grant.given_for
        else None,
        "uses": [{**use._asdict(), "amount": amount(use.amount, grant.currency)} for use in grant.uses],
        "held": [_with_amounts(each, "amount") for each in grant.held],
        "steps": [{**_plain(step), "amount": amount(step.amount, grant.currency)} for step in grant.steps],
    }


def _application_json(use: ApplicationStory) -> dict[str, Any]:
    slices = [
        {"grant_id": str(grant_id), "amount": amount(part, use.currency)} for grant_id, part in use.slices
    ]
    return {**_with_amounts(use, "amount"), "slices": slices}


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
