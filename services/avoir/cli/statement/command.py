"""`avoir statement`: every movement of an owner's credit, the balance, and what expires when."""

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
from avoir.cli.statement.documents import STATEMENT_AMOUNTS, STATEMENT_COLUMNS, statement_json, statement_rows
from avoir.cli.statement.movements import Document, Held, Movement
from avoir.cli.statement.query import AccountStatement, Expiring, MovementFilter, Statement, read_statement

PATIENCE_S = 300.0
ROWS_IN_TABLE = 1_000
AMOUNTS = ("Amount", "Available", "Reserved")


async def statement(
    owner: OwnerArgument,
    *,
    tenant: Tenant,
    currency: Annotated[str | None, Parameter(help="Only the account in this currency.")] = None,
    from_: Annotated[
        Moment | None, Parameter(name="--from", help="Movements recorded at or after this moment.")
    ] = None,
    until: Annotated[
        Moment | None, Parameter(name=["--until", "--to"], help="Movements recorded before this moment.")
    ] = None,
    as_of: Annotated[
        Moment | None, Parameter(help="The statement as of this moment: everything recorded by then.")
    ] = None,
    limit: Annotated[
        int | None,
        Parameter(
            validator=COUNT,
            help="Maximum movements per account; older ones go into the opening balance. "
            "Default: 1000 in a table, all in --json and --csv.",
        ),
    ] = None,
    json: AsJson = False,
    csv: AsCsv = False,
) -> int:
    """Show every movement of an owner's credit with its cause, document and the balance after it.

    Available credit can be used now; reserved credit is held for an invoice to come. A movement between the two is
    neither gain nor loss. Credit that will expire is listed below.

    The sum is checked: opening balance plus movements must equal the closing balance and what the account holds. If
    not, the account is listed and the exit code is 1. Moments are dates or RFC 3339 times; a date is its first instant
    in UTC. What was recorded by a moment never changes, so neither does a past month.

    Example: `avoir statement user/u1 --tenant t1 --from 2025-06-01 --until 2025-07-01`
    """
    refuse_two_formats(json, csv)
    if from_ and until and from_ >= until:
        refuse("--from must be before --until.")
    selection = MovementFilter(from_, until, as_of, limit or (None if json or csv else ROWS_IN_TABLE))
    async with connected(load_settings(DSN), patience_s=PATIENCE_S) as connection:
        try:
            result = await read_statement(connection, tenant, owner, currency, selection)
        except NotYetError as error:
            refuse(f"--as-of {error}. Leave it out for the current statement.")
    _print(result, selection, json=json, csv=csv)
    if not result.accounts:
        not_found(
            f"{owner_name(owner)} has no account in tenant {tenant}{f' in {currency}' if currency else ''}."
        )
    for difference in (each for account in result.accounts for each in account.differences):
        hint(f"{difference}: run `avoir verify`.")
    return Exit.OK if all(account.adds_up for account in result.accounts) else Exit.FOUND


def _print(result: Statement, selection: MovementFilter, *, json: bool, csv: bool) -> None:
    if json:
        print_json(statement_json(result))
    elif csv:
        print_csv(STATEMENT_COLUMNS, STATEMENT_AMOUNTS, statement_rows(result))
    else:
        for place, account in enumerate(result.accounts):
            if place:
                say("")
            print_account(result, selection, account)


def print_account(result: Statement, selection: MovementFilter, account: AccountStatement) -> None:
    """Print one account's statement: movements, balance, expiring credit."""
    currency = account.account.currency
    say(f"{heading(result, selection, currency)}")
    show(statement_table(account))
    left = account.unexpired
    say(
        f"Available: {amount(left.available, currency)} {currency}, reserved: {amount(left.reserved, currency)}."
    )
    if account.expiring:
        say("Expiring, soonest first:")
        show(expiring_table(account))
    if account.earlier:
        say(
            "Older movements are included in the opening balance: raise --limit, "
            "or choose a period with --from and --until."
        )
    say("The movements add up." if account.adds_up else "THE MOVEMENTS DO NOT ADD UP.")


def heading(result: Statement, selection: MovementFilter, currency: str) -> str:
    """Heading: the owner and the period."""
    bounds = (("from", selection.start), ("until", selection.end), ("as of", result.as_of))
    when = ", ".join(f"{word} {short_time(at)}" for word, at in bounds if at)
    return f"Statement of {owner_name(result.owner)}, tenant {result.tenant_id}, in {currency}\n{when} (UTC)"


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
    """Event and reason; for a movement between available and reserved, also the amount."""
    happened, reason = _event_words(movement), movement.reason.replace("_", " ")
    result = happened if movement.amount else f"{happened} {amount(max(movement.change), currency)}"
    in_document = movement.document == Document("reference", movement.reason)
    return result if reason == happened or in_document else f"{result}\n{reason}"


def _event_words(movement: Movement) -> str:
    """Name of an event for people: taking back differs from voiding, and releasing from reinstating."""
    if movement.counter_account == "taken_back":
        return "taken back"
    if movement.event == "reinstated" and not movement.amount:
        return "released"
    return movement.event.replace("_", " ")


def document_words(document: Document | None) -> str:
    """Name of a document for people: its number, and the booking or plan that it bills."""
    match document:
        case None:
            return ""
        case Document("booking" | "plan" as kind, id_, number):
            return f"{kind} {id_}, invoice {number}" if number else f"{kind} {id_}"
        case Document(kind, id_, number):
            return f"{kind.replace('_', ' ')} {number or id_}"


def expiring_table(account: AccountStatement) -> Table:
    """Remaining amounts of grants that expire, soonest first."""
    made = table("Expires", "Credit", "Grant", *AMOUNTS[1:], right=AMOUNTS[1:], whole=("Expires", "Grant"))
    return add_rows(made, (_expiring_row(each, account.account.currency) for each in account.expiring))


def _expiring_row(expiring: Expiring, currency: str) -> tuple[str, ...]:
    return (
        short_time(expiring.expires_at),
        credit_words(expiring.source, expiring.reason),
        str(expiring.grant_id),
        *(amount(each, currency) for each in expiring.left),
    )
