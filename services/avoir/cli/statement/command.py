"""`avoir statement`: every movement of an owner's credit, what is left, and what expires when."""

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import (
    COUNT,
    AsCsv,
    AsJson,
    Moment,
    OwnerArgument,
    Tenant,
    owner_name,
    refuse_two_formats,
)
from avoir.cli.base.output import (
    add_rows,
    amount,
    hint,
    print_csv,
    print_json,
    say,
    short_time,
    show,
    signed,
    table,
)
from avoir.cli.base.snapshot import NotYetError
from avoir.cli.base.words import credit_words
from avoir.cli.statement.documents import STATEMENT_COLUMNS, statement_json, statement_rows
from avoir.cli.statement.movements import Document, Held, Movement
from avoir.cli.statement.query import AccountStatement, Expiring, Span, Statement, read_statement

PATIENCE_S = 300.0
ROWS_IN_TABLE = 1_000
AMOUNTS = ("Amount", "Available", "Reserved")


async def statement(
    owner: OwnerArgument,
    *,
    tenant: Tenant,
    currency: Annotated[str | None, Parameter(help="Only the account in this currency.")] = None,
    from_: Annotated[
        Moment | None, Parameter(name="--from", help="Movements recorded from this moment on.")
    ] = None,
    until: Annotated[
        Moment | None, Parameter(name=["--until", "--to"], help="Movements recorded before this moment.")
    ] = None,
    as_of: Annotated[
        Moment | None, Parameter(help="The statement as it stood at this moment: what was recorded by then.")
    ] = None,
    limit: Annotated[
        int | None,
        Parameter(
            validator=COUNT,
            help="Most movements of an account; older ones go into the opening balance. "
            "Else 1000 in a table, and all in --json and --csv.",
        ),
    ] = None,
    json: AsJson = False,
    csv: AsCsv = False,
) -> int:
    """Show every movement of an owner's credit with its cause, its document and the balance after it.

    Available credit can be used now, reserved credit is set aside for an invoice to come; what moves between the two
    is no gain and no loss. Below stands what expires when.

    The sum is checked: opening balance and movements must come to the closing balance and to what the account holds.
    Where they do not, the account is named and the exit code is 1. Moments are dates or RFC 3339 times; a date is its
    first instant in UTC. What was recorded by a moment never changes, so neither does a month that is over.

    Example: `avoir statement user/u1 --tenant t1 --from 2025-06-01 --until 2025-07-01`
    """
    refuse_two_formats(json, csv)
    if from_ and until and from_ >= until:
        refuse("--from must be before --until: a span begins with the one and ends before the other.")
    span = Span(from_, until, as_of, limit or (None if json or csv else ROWS_IN_TABLE))
    async with connected(load_settings(DSN), patience_s=PATIENCE_S) as connection:
        try:
            told = await read_statement(connection, tenant, owner, currency, span)
        except NotYetError as error:
            refuse(f"--as-of {error}. Leave it out for how things stand now.")
    _print(told, span, json=json, csv=csv)
    if not told.accounts:
        not_found(
            f"No account of {owner_name(owner)} in tenant {tenant}{f' in {currency}' if currency else ''}."
        )
    for difference in (each for account in told.accounts for each in account.differences):
        hint(f"{difference}: run `avoir verify`.")
    return Exit.OK if all(account.adds_up for account in told.accounts) else Exit.FOUND


def _print(told: Statement, span: Span, *, json: bool, csv: bool) -> None:
    if json:
        print_json(statement_json(told))
    elif csv:
        print_csv(STATEMENT_COLUMNS, statement_rows(told))
    else:
        for place, account in enumerate(told.accounts):
            if place:
                say("")
            print_account(told, span, account)


def print_account(told: Statement, span: Span, account: AccountStatement) -> None:
    """One account's statement: its movements, what is left, and what expires when."""
    currency = account.account.currency
    say(f"{heading(told, span, currency)}")
    show(statement_table(account))
    left = account.unexpired
    say(
        f"Available: {amount(left.available, currency)} {currency}, reserved: {amount(left.reserved, currency)}."
    )
    if account.expiring:
        say("Of this expires, soonest first:")
        show(expiring_table(account))
    if account.earlier:
        say(
            "Older movements are in the opening balance: raise --limit, or choose a span with --from and --until."
        )
    say("The movements add up." if account.adds_up else "THE MOVEMENTS DO NOT ADD UP.")


def heading(told: Statement, span: Span, currency: str) -> str:
    """Whose statement it is, and of which time."""
    bounds = (("from", span.start), ("until", span.end), ("as of", told.as_of))
    when = ", ".join(f"{word} {short_time(at)}" for word, at in bounds if at)
    return f"Statement of {owner_name(told.owner)}, tenant {told.tenant_id}, in {currency}\n{when} (UTC)"


def statement_table(account: AccountStatement) -> Table:
    """The movements between the opening and the closing balance."""
    currency = account.account.currency
    made = table("Recorded", "Movement", "Document, cause", *AMOUNTS, right=AMOUNTS, whole=("Recorded",))

    def balances(name: str, held: Held) -> None:
        made.add_row("", name, "", "", *(amount(each, currency) for each in held))

    balances("Opening balance", account.opening)
    if any(account.opening_expired):
        balances("of which expired", account.opening_expired)
    add_rows(made, (movement_row(each, currency) for each in account.movements))
    balances("Closing balance", account.closing)
    if any(account.expired_unswept):
        balances("of which expired", account.expired_unswept)
        balances("Not expired", account.unexpired)
    return made


def movement_row(movement: Movement, currency: str) -> tuple[str, ...]:
    """A movement in two lines of a table, with the balances after it."""
    day, _, time = short_time(movement.recorded_at).partition(" ")
    document = document_words(movement.document)
    cause = f"{movement.cause_topic} {movement.cause_event_id}".strip() or "time"
    return (
        f"{day}\n{time}",
        movement_words(movement, currency),
        f"{document}\n{cause}" if document else cause,
        signed(movement.amount, currency),
        *(amount(each, currency) for each in movement.after),
    )


def movement_words(movement: Movement, currency: str) -> str:
    """What happened and why; of what only moves between available and reserved, also how much."""
    happened, reason = _event_words(movement), movement.reason.replace("_", " ")
    told = happened if movement.amount else f"{happened} {amount(max(movement.change), currency)}"
    in_document = movement.document == Document("reference", movement.reason)
    return told if reason == happened or in_document else f"{told}\n{reason}"


def _event_words(movement: Movement) -> str:
    """What people call an event: to take back is not to void, and to release is not to reinstate."""
    if movement.counter_account == "taken_back":
        return "taken back"
    if movement.event == "reinstated" and not movement.amount:
        return "released"
    return movement.event.replace("_", " ")


def document_words(document: Document | None) -> str:
    """A document as people name it: by its number, and with the booking or plan that it bills."""
    match document:
        case None:
            return ""
        case Document("booking" | "plan" as kind, id_, number):
            return f"{kind} {id_}, invoice {number}" if number else f"{kind} {id_}"
        case Document(kind, id_, number):
            return f"{kind.replace('_', ' ')} {number or id_}"


def expiring_table(account: AccountStatement) -> Table:
    """What is left in the grants that expire, soonest first."""
    made = table("Expires", "Credit", "Grant", *AMOUNTS[1:], right=AMOUNTS[1:], whole=("Expires", "Grant"))
    return add_rows(made, (_expiring_row(each, account.account.currency) for each in account.expiring))


def _expiring_row(expiring: Expiring, currency: str) -> tuple[str, ...]:
    return (
        short_time(expiring.expires_at),
        credit_words(expiring.source, expiring.reason),
        str(expiring.grant_id),
        *(amount(each, currency) for each in expiring.left),
    )
