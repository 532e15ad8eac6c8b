"""`avoir explain`: why credit was given or not, in words to read to a customer."""

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
from avoir.cli.explain.prose.explanation import Prose, prose_of
from avoir.cli.explain.prose.line import line_prose
from avoir.cli.explain.query import explain as read_explanation
from avoir.cli.explain.scope import LIMIT
from avoir.cli.explain.view import Explanation, Subject


async def explain(
    event_id: Annotated[str | None, Parameter(help="Event id of a fact or a command.")] = None,
    *,
    tenant: Tenant,
    booking: Annotated[str | None, Parameter(help="All decisions on a booking.")] = None,
    plan: Annotated[str | None, Parameter(help="All decisions on a plan.")] = None,
    invoice: Annotated[str | None, Parameter(help="All decisions on an invoice.")] = None,
    line: Annotated[
        str | None,
        Parameter(help="With --invoice: how much one of its lines is worth and why, to the cent."),
    ] = None,
    grant: Annotated[str | None, Parameter(help="The origin of a grant, and where its credit went.")] = None,
    application: Annotated[
        str | None, Parameter(help="The grants behind an application or reservation.")
    ] = None,
    payment: Annotated[str | None, Parameter(help="All decisions on a payment.")] = None,
    owner: OwnerArgument | None = None,
    limit: Annotated[int, Parameter(validator=COUNT, help="Maximum number of an owner's decisions.")] = 20,
    json: AsJson = False,
) -> int:
    """Explain why credit was given or not: what was decided then, and what has happened since.

    Give exactly one subject. For a booking, plan or invoice it shows all decisions, and each line's cost, worth and
    credit; for one line, each change with its worth on its own.

    Example: `avoir explain --booking b1 --tenant t1`
    """
    subject = one_subject(
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
    prose = prose_of(explanation)
    if json:
        print_json(explanation_json(explanation, prose))
    if not explanation.is_known:
        not_found(f"Nothing is known about {subject.kind} {subject.id} in tenant {tenant}.")
    if not json:
        print_prose(explanation, prose)
    return Exit.OK


async def _explain_line(tenant: str, subject: Subject, line_id: str, *, json: bool) -> int:
    if subject.kind != "invoice":
        refuse("--line needs --invoice, and no other subject.")
    async with connected(load_settings(DSN)) as connection:
        worth = await read_line_worth(connection, tenant, subject.id, line_id)
    if worth is None:
        not_found(f"Invoice {subject.id} in tenant {tenant} is not known, or has no line {line_id}.")
    words = line_prose(worth)
    if json:
        print_json(line_worth_json(worth, words))
        return Exit.OK
    say(f"Line {line_id} of invoice {subject.id}, as of {short_time(worth.as_of)} UTC")
    _print_part("How its credit came about", words)
    return Exit.OK


def one_subject(given: Mapping[str, str | None]) -> Subject:
    """The only subject given; ends with exit code 2 if there is none or more than one."""
    subjects = [Subject(kind, id_) for kind, id_ in given.items() if id_ is not None]
    if len(subjects) != 1:
        options = ", ".join(f"--{kind}" for kind in [*given][1:-1])
        refuse(f"Give exactly one: an event id, {options} or --{[*given][-1]}.")
    return subjects[0]


def print_prose(explanation: Explanation, prose: Prose) -> None:
    """Text in three parts; empty parts are left out."""
    subject = explanation.subject
    say(f"{subject.kind.capitalize()} {subject.id}, as of {short_time(explanation.as_of)} UTC")
    _print_part("What was decided", prose.decided)
    _print_part("What happened since", prose.since)
    _print_part("Current state", prose.now)
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
