"""`avoir explain`: why credit was given or not, in words to read out."""

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Annotated

from cyclopts import Parameter

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import COUNT, AsJson, OwnerArgument, Tenant
from avoir.cli.base.output import console, hint, print_json, say, short_time
from avoir.cli.explain.document import explanation_json
from avoir.cli.explain.line_command import line_worth_json
from avoir.cli.explain.line_query import read_line_worth
from avoir.cli.explain.prose.explanation import Telling, tell
from avoir.cli.explain.prose.line import tell_line
from avoir.cli.explain.query import explain as read_explanation
from avoir.cli.explain.scope import LIMIT
from avoir.cli.explain.view import Explanation, Subject


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
    lines = (each.line for each in explanation.lines if each.target is not None)
    example = next((line for line in lines if line.kind != "credit"), None)
    if example is not None and subject.kind in ("booking", "plan", "invoice"):
        line = f"avoir explain --invoice {example.invoice.invoice_id} --line {example.line_id}"
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
