"""`avoir balance`: the balances of owners."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from avoir.cli.balance.query import AccountBalance, Balances, read_balances
from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, not_found
from avoir.cli.base.options import COUNT, AsJson, OwnerArgument, Tenant, owner_name
from avoir.cli.base.output import add_rows, amount, hint, print_json, rfc3339, say, short_time, show, table
from avoir.cli.base.words import invoice_words


async def balance(
    owner: OwnerArgument | None = None,
    *,
    tenant: Tenant,
    limit: Annotated[
        int, Parameter(validator=COUNT, help="Maximum number of accounts if no owner is given.")
    ] = 1000,
    json: AsJson = False,
) -> int:
    """Show an owner's balance in each currency, or the balances of all owners of a tenant.

    Available credit can be used now; expired credit never counts, swept or not. Pending credit is in no balance yet.
    For a single owner, the output says when pending credit comes and which invoices credit is reserved for.

    Example: `avoir balance user/u1 --tenant t1`
    """
    async with connected(load_settings(DSN)) as connection:
        balances = await read_balances(connection, tenant, owner, limit)
    if json:
        print_json(balances_json(balances))
    elif balances.accounts:
        show(balances_table(balances))
        for account in balances.accounts if owner else ():
            for note in account_notes(account):
                say(note)
        say(f"As of {short_time(balances.as_of)} UTC.")
    if not balances.accounts:
        not_found(f"{owner_name(owner) if owner else 'No owner'} has no account in tenant {tenant}.")
    if balances.more:
        hint(f"Only the first {limit} accounts are shown: give an owner, or raise --limit.")
    return Exit.OK


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
        "coming": [
            {"at": rfc3339(each.at), "amount": amount(each.amount, currency)} for each in account.pending
        ],
        "set_aside": [
            {"invoice_id": each.invoice_id, "amount": amount(each.amount, currency)}
            for each in account.reservations
        ],
        "refill_asked": account.refill_asked,
        "seq": account.seq,
        "head": account.head.hex(),
        "recorded_at": rfc3339(account.recorded_at),
    }


def balances_table(balances: Balances) -> Table:
    """The accounts as a table."""
    columns = ("Owner", "Currency", "Available", "Reserved", "Pending", "Next expiry")
    made = table(*columns, right=columns[2:5])
    return add_rows(made, (_account_row(account) for account in balances.accounts))


def _account_row(account: AccountBalance) -> tuple[str, ...]:
    currency, expiry = account.account.currency, account.next_expiry
    return (
        owner_name(account.account.owner),
        currency,
        amount(account.available, currency),
        amount(account.reserved, currency),
        amount(sum(each.amount for each in account.pending), currency) if account.pending else "",
        f"{amount(expiry.amount, currency)} on {short_time(expiry.at)}" if expiry else "",
    )


def account_notes(account: AccountBalance) -> list[str]:
    """Notes below the table: reservations, pending credit, an open refill request."""
    currency = account.account.currency
    reservations = [
        f"{amount(each.amount, currency)} is reserved for {invoice_words(each.invoice_id)}"
        for each in account.reservations
    ]
    pending = [
        f"{amount(each.amount, currency)} becomes available on {short_time(each.at)}"
        for each in account.pending
    ]
    asked = ["a refill was requested and has not arrived yet"] if account.refill_asked else []
    notes = [*reservations, *pending, *asked]
    return [f"{owner_name(account.account.owner)} {currency}: {'; '.join(notes)}."] if notes else []
