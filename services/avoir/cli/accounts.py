"""`avoir balance` and `avoir statement`: what owners have, and how it came about."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from avoir.cli.access import DSN, connected, load_settings
from avoir.cli.ending import Exit, not_found
from avoir.cli.options import AsJson, Moment, OwnerArgument, Tenant
from avoir.cli.output import (
    add_rows,
    amount,
    console,
    hint,
    print_json,
    rfc3339,
    say,
    short_time,
    signed,
    table,
)
from avoir.core.facts import Owner
from avoir.read.balance import AccountBalance, Balances, read_balances
from avoir.read.statement import AccountStatement, Held, Movement, Span, Statement, read_statement


async def balance(
    owner: OwnerArgument | None = None,
    *,
    tenant: Tenant,
    limit: Annotated[int, Parameter(help="Most accounts to show when no owner is named.")] = 1000,
    json: AsJson = False,
) -> int:
    """Show what an owner has in each currency, or what all owners of a tenant have.

    Available credit can be used now; expired credit never counts, whether it was swept already or not.

    Example: `avoir balance user/u1 --tenant t1`
    """
    async with connected(load_settings(DSN)) as connection:
        balances = await read_balances(connection, tenant, owner, limit)
    if json:
        print_json(balances_json(balances))
    elif balances.accounts:
        console().print(balances_table(balances))
        say(f"As of {short_time(balances.as_of)} UTC.")
    if not balances.accounts:
        not_found(f"No account of {_name(owner)} in tenant {tenant}.")
    if balances.more:
        hint(f"Only the first {limit} accounts are shown: name an owner, or raise --limit.")
    return Exit.OK


def _name(owner: Owner | None) -> str:
    return f"{owner.type}/{owner.id}" if owner else "anybody"


def balances_json(balances: Balances) -> dict[str, Any]:
    """The documented shape of `avoir balance --json`."""
    return {
        "tenant_id": balances.tenant_id,
        "as_of": rfc3339(balances.as_of),
        "epoch": balances.epoch,
        "accounts": [_account_json(account) for account in balances.accounts],
        "more": balances.more,
    }


def _account_json(account: AccountBalance) -> dict[str, Any]:
    currency, expiry = account.account.currency, account.next_expiry
    return {
        "owner": {"type": account.account.owner_type, "id": account.account.owner_id},
        "currency": currency,
        "available": amount(account.available, currency),
        "reserved": amount(account.reserved, currency),
        "expired_unswept": amount(account.expired_unswept, currency),
        "next_expiry": {"at": rfc3339(expiry.at), "amount": amount(expiry.amount, currency)}
        if expiry
        else None,
        "seq": account.seq,
        "head": account.head.hex(),
        "recorded_at": rfc3339(account.recorded_at),
    }


def balances_table(balances: Balances) -> Table:
    """The accounts as a table."""
    made = table("Owner", "Currency", "Available", "Reserved", "Next expiry", right=("Available", "Reserved"))
    return add_rows(made, (_account_row(account) for account in balances.accounts))


def _account_row(account: AccountBalance) -> tuple[str, ...]:
    currency, expiry = account.account.currency, account.next_expiry
    return (
        _name(account.account.owner),
        currency,
        amount(account.available, currency),
        amount(account.reserved, currency),
        f"{amount(expiry.amount, currency)} on {short_time(expiry.at)}" if expiry else "",
    )


async def statement(
    owner: OwnerArgument,
    *,
    tenant: Tenant,
    currency: Annotated[str | None, Parameter(help="Only the account in this currency.")] = None,
    from_: Annotated[
        Moment | None, Parameter(name="--from", help="Movements recorded from this moment on.")
    ] = None,
    to: Annotated[Moment | None, Parameter(help="Movements recorded before this moment.")] = None,
    as_of: Annotated[
        Moment | None, Parameter(help="The statement as it stood at this moment: what was recorded by then.")
    ] = None,
    limit: Annotated[
        int, Parameter(help="Most movements of an account; older ones go into the opening balance.")
    ] = 1000,
    json: AsJson = False,
) -> int:
    """Show every movement of an owner's credit with its cause, its document and the balance after it.

    The sum is checked: each balance must follow from the one before it, and the last be that of the account. Where
    it does not, the exit code is 1. Moments are dates or RFC 3339 times; a date is its first instant in UTC.

    Example: `avoir statement user/u1 --tenant t1 --from 2025-06-01 --to 2025-07-01`
    """
    span = Span(from_, to, as_of, limit)
    async with connected(load_settings(DSN)) as connection:
        told = await read_statement(connection, tenant, owner, currency, span)
    if json:
        print_json(statement_json(told))
    if not told.accounts:
        not_found(f"No account of {_name(owner)} in tenant {tenant}{f' in {currency}' if currency else ''}.")
    if not json:
        for account in told.accounts:
            print_account(told, account)
    return Exit.OK if all(account.adds_up for account in told.accounts) else Exit.FOUND


def statement_json(told: Statement) -> dict[str, Any]:
    """The documented shape of `avoir statement --json`."""
    return {
        "tenant_id": told.tenant_id,
        "owner": {"type": told.owner.type, "id": told.owner.id},
        "as_of": rfc3339(told.as_of),
        "accounts": [_account_statement_json(account) for account in told.accounts],
    }


def _account_statement_json(account: AccountStatement) -> dict[str, Any]:
    currency = account.account.currency
    return {
        "currency": currency,
        "opening": _held_json(account.opening, currency),
        "movements": [_movement_json(movement, currency) for movement in account.movements],
        "closing": _held_json(account.closing, currency),
        "expired_unswept": _held_json(account.expired_unswept, currency),
        "earlier_movements": account.earlier,
        "adds_up": account.adds_up,
    }


def _held_json(held: Held, currency: str) -> dict[str, str]:
    return {"available": amount(held.available, currency), "reserved": amount(held.reserved, currency)}


def _movement_json(movement: Movement, currency: str) -> dict[str, Any]:
    document = movement.document
    return {
        "seq": movement.seq,
        "n": movement.n,
        "occurred_at": rfc3339(movement.occurred_at),
        "recorded_at": rfc3339(movement.recorded_at),
        "event": movement.event,
        "reason": movement.reason,
        "ledger_account": movement.ledger_account,
        "counter_account": movement.counter_account,
        "amount": amount(movement.amount, currency),
        "balance": _held_json(movement.after, currency),
        "grant_id": str(movement.grant_id),
        "source": movement.source,
        "document": {"kind": document.kind, "id": document.id} if document else None,
        "application_id": str(movement.application_id) if movement.application_id else None,
        "caused_by": {"topic": movement.cause_topic, "event_id": movement.cause_event_id}
        if movement.cause_topic
        else None,
    }


def print_account(told: Statement, account: AccountStatement) -> None:
    """One account's statement as a table, with its opening and closing balance."""
    currency = account.account.currency
    made = statement_table(
        account, title=f"{_name(told.owner)} in {currency}, as of {short_time(told.as_of)} UTC"
    )
    console().print(made)
    if expired := sum(account.expired_unswept):
        say(f"Of this, {amount(expired, currency)} {currency} has expired and cannot be used.")
    if account.earlier:
        say(
            "Older movements are in the opening balance: raise --limit, or choose a span with --from and --to."
        )
    say("The movements add up." if account.adds_up else "THE MOVEMENTS DO NOT ADD UP: run `avoir verify`.")


def statement_table(account: AccountStatement, title: str) -> Table:
    """The movements between the opening and the closing balance."""
    currency = account.account.currency
    with_reserved = account.opening.reserved or any(
        each.ledger_account == "reserved" for each in account.movements
    )
    right = ("Amount", "Available", "Reserved")
    columns = ["Recorded (UTC)", "Movement", "Document", "Cause", *right[: 3 if with_reserved else 2]]
    made = table(*columns, right=right, whole=("Recorded (UTC)",), title=title)
    width = len(columns) - 5

    def balances(held: Held) -> list[str]:
        return [amount(each, currency) for each in held][:width]

    made.add_row("", "Opening balance", "", "", "", *balances(account.opening))
    for each in account.movements:
        made.add_row(*_movement_row(each, currency), *balances(each.after))
    made.add_row("", "Closing balance", "", "", "", *balances(account.closing))
    return made


def _movement_row(movement: Movement, currency: str) -> tuple[str, ...]:
    document, place = movement.document, "" if movement.ledger_account == "available" else " (reserved)"
    return (
        short_time(movement.recorded_at)[: len("2025-06-01 12:00")],
        f"{movement.event}{place}: {movement.reason.replace('_', ' ')}",
        f"{document.kind} {document.id}" if document else "",
        f"{movement.cause_topic} {movement.cause_event_id}".strip() or "time",
        signed(movement.amount, currency),
    )
