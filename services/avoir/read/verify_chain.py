"""Proves the ledger's entries: their order, balances and hashes, and that they end at what the accounts hold."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg

from avoir.core.events import AccountKey
from avoir.core.ledger import GENESIS, Entry, entry_hash
from avoir.core.money import format_decimal
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.read.differences import Difference, Progress

PREFETCH = 2_000
REPORT_EVERY = 1_000


class _Chain:
    """Follows one account's entries; what it cannot follow becomes a difference."""

    def __init__(self, account: asyncpg.Record, key: AccountKey) -> None:
        self._account = account
        self._key = key
        self._where = f"account {key.owner_type}/{key.owner_id} {key.currency}"
        self._place = (0, 0)
        self._recorded_at: datetime | None = None
        self._held = {"available": 0, "reserved": 0}
        self._head = GENESIS

    def follow(self, entry: Entry) -> list[Difference]:
        """What is wrong with the next entry."""
        place, side = (entry.seq, entry.n), entry.ledger_account
        held = self._held[side] + entry.amount
        found = []
        if place <= self._place:
            found.append(self._differs(entry, "number", f"above {_number(self._place)}", _number(place)))
        if entry.balance != held:
            found.append(
                self._differs(entry, f"balance of {side}", self._money(held), self._money(entry.balance))
            )
        if self._recorded_at is not None and entry.recorded_at < self._recorded_at:
            found.append(
                self._differs(
                    entry, "recorded_at", f"no earlier than {self._recorded_at}", str(entry.recorded_at)
                )
            )
        expected = entry_hash(self._head, entry)
        if entry.hash != expected:
            found.append(self._differs(entry, "hash", expected.hex(), entry.hash.hex()))
        self._place, self._recorded_at, self._head = place, entry.recorded_at, entry.hash
        self._held[side] = entry.balance
        return found

    def end(self) -> list[Difference]:
        """What is wrong with the account, now that all its entries were followed."""
        found = [
            self._differs(None, side, self._money(held), self._money(self._account[side]))
            for side, held in self._held.items()
            if self._account[side] != held
        ]
        if self._account["head"] != self._head:
            found.append(self._differs(None, "head", self._head.hex(), self._account["head"].hex()))
        if self._account["seq"] < self._place[0]:
            found.append(self._differs(None, "seq", f"at least {self._place[0]}", str(self._account["seq"])))
        return found

    def _differs(self, entry: Entry | None, what: str, expected: str, found: str) -> Difference:
        where = f"{self._where}, entry {entry.seq}.{entry.n}" if entry else self._where
        return Difference(self._key.tenant_id, where, what, expected, found)

    def _money(self, micros: int) -> str:
        return format_decimal(micros, self._key.currency)


def _number(place: tuple[int, int]) -> str:
    return f"{place[0]}.{place[1]}"


async def verify_chains(
    connection: Connection, tenant_id: str, progress: Progress
) -> AsyncIterator[Difference]:
    """Differences in the entries of every account of a tenant."""
    entries = aiter(connection.cursor(queries.verify_entries, tenant_id, prefetch=PREFETCH))
    row, read = await anext(entries, None), 0
    async for account in connection.cursor(queries.verify_accounts, tenant_id, prefetch=PREFETCH):
        key = AccountKey(tenant_id, account["owner_type"], account["owner_id"], account["currency"])
        chain = _Chain(account, key)
        while row is not None and (row["owner_type"], row["owner_id"], row["currency"]) == key[1:]:
            for difference in chain.follow(_entry(key, row)):
                yield difference
            row, read = await anext(entries, None), read + 1
            if read % REPORT_EVERY == 0:
                progress("entries", REPORT_EVERY)
        for difference in chain.end():
            yield difference
    progress("entries", read % REPORT_EVERY)


def _entry(key: AccountKey, row: asyncpg.Record) -> Entry:
    values: list[Any] = list(row.values())
    return Entry(key, *values[4:])
