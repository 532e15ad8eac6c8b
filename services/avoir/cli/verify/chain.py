"""Proves the ledger's entries: their order, balances and hashes, and that they end at what the accounts hold."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg

from avoir.cli.base.differences import Difference, Progress
from avoir.core.model.events import AccountKey
from avoir.core.model.ledger import GENESIS, Entry, entry_hash
from avoir.core.model.money import format_decimal
from avoir.postgres import queries
from avoir.postgres.connect import Connection

PREFETCH = 2_000
REPORT_EVERY = 1_000


class _Chain:
    """Follows one account's entries and turns every inconsistency into a difference.

    The account itself may be missing.
    """

    def __init__(self, account: asyncpg.Record | None, key: AccountKey) -> None:
        self._account = account
        self._key = key
        self._where = f"account {key.owner_type}/{key.owner_id} {key.currency}"
        self._place = (0, 0)
        self._recorded_at: datetime | None = None
        self._held = {"available": 0, "reserved": 0}
        self._head = GENESIS

    def follow(self, entry: Entry) -> list[Difference]:
        """Check the next entry; returns the differences."""
        place, side = (entry.seq, entry.n), entry.ledger_account
        held = self._held[side] + entry.amount
        differences = []
        if place <= self._place:
            differences.append(
                self._differs(entry, "number", f"above {_number(self._place)}", _number(place))
            )
        if entry.balance != held:
            differences.append(
                self._differs(entry, f"balance of {side}", self._money(held), self._money(entry.balance))
            )
        if self._recorded_at is not None and entry.recorded_at < self._recorded_at:
            differences.append(
                self._differs(
                    entry, "recorded_at", f"no earlier than {self._recorded_at}", str(entry.recorded_at)
                )
            )
        expected = entry_hash(self._head, entry)
        if entry.hash != expected:
            differences.append(self._differs(entry, "hash", expected.hex(), entry.hash.hex()))
        self._place, self._recorded_at, self._head = place, entry.recorded_at, entry.hash
        self._held[side] = entry.balance
        return differences

    def end(self) -> list[Difference]:
        """Check the account after its last entry; returns the differences."""
        account = self._account
        if account is None:
            held = ", ".join(f"{self._money(amount)} {side}" for side, amount in self._held.items())
            return [self._differs(None, "account", held, "missing")]
        differences = [
            self._differs(None, side, self._money(held), self._money(account[side]))
            for side, held in self._held.items()
            if account[side] != held
        ]
        if account["head"] != self._head:
            differences.append(self._differs(None, "head", self._head.hex(), account["head"].hex()))
        if account["seq"] < self._place[0]:
            differences.append(self._differs(None, "seq", f"at least {self._place[0]}", str(account["seq"])))
        if self._recorded_at is not None and account["recorded_at"] < self._recorded_at:
            differences.append(
                self._differs(
                    None, "recorded_at", f"no earlier than {self._recorded_at}", str(account["recorded_at"])
                )
            )
        return differences

    def _differs(self, entry: Entry | None, what: str, expected: str, found: str) -> Difference:
        where = f"{self._where}, entry {entry.seq}.{entry.n}" if entry else self._where
        return Difference(self._key.tenant_id, where, what, expected, found)

    def _money(self, micros: int) -> str:
        return format_decimal(micros, self._key.currency)


def _number(place: tuple[int, int]) -> str:
    return f"{place[0]}.{place[1]}"


class _Entries:
    """The stream of a tenant's entries with the next one at hand, in the order of its accounts."""

    def __init__(self, connection: Connection, tenant_id: str, progress: Progress) -> None:
        self._tenant_id = tenant_id
        self._stream = aiter(
            connection.cursor(*queries.verify_entries(tenant_id=tenant_id), prefetch=PREFETCH)
        )
        self._progress = progress
        self._read = 0
        self.row: asyncpg.Record | None = None

    async def advance(self) -> None:
        """Fetch the next entry, if there is one."""
        if self.row is not None:
            self._read += 1
            if self._read % REPORT_EVERY == 0:
                self._progress("entries", REPORT_EVERY)
        self.row = await anext(self._stream, None)

    def end(self) -> None:
        """Report the rows read since the last report."""
        self._progress("entries", self._read % REPORT_EVERY)

    def key_of(self, row: asyncpg.Record) -> AccountKey:
        """The account of a row."""
        return AccountKey(self._tenant_id, row["owner_type"], row["owner_id"], row["currency"])


async def verify_chains(
    connection: Connection, tenant_id: str, progress: Progress
) -> AsyncIterator[Difference]:
    """Differences in the entries of every account of a tenant, including accounts that only entries know."""
    entries = _Entries(connection, tenant_id, progress)
    await entries.advance()
    async for account in connection.cursor(*queries.verify_accounts(tenant_id=tenant_id), prefetch=PREFETCH):
        async for difference in _without_account(entries):
            yield difference
        async for difference in _of_account(entries, account, entries.key_of(account)):
            yield difference
    async for difference in _without_account(entries):
        yield difference
    entries.end()


async def _without_account(entries: _Entries) -> AsyncIterator[Difference]:
    # Only the database knows the order of both streams, so its rows say whether an account exists.
    while entries.row is not None and not entries.row["has_account"]:
        async for difference in _of_account(entries, None, entries.key_of(entries.row)):
            yield difference


async def _of_account(
    entries: _Entries, account: asyncpg.Record | None, key: AccountKey
) -> AsyncIterator[Difference]:
    chain = _Chain(account, key)
    while entries.row is not None and entries.key_of(entries.row) == key:
        for difference in chain.follow(_entry(key, entries.row)):
            yield difference
        await entries.advance()
    for difference in chain.end():
        yield difference


def _entry(key: AccountKey, row: asyncpg.Record) -> Entry:
    values: list[Any] = list(row.values())
    return Entry(key, *values[4:-1])
