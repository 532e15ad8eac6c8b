"""The handler without a broker: each message a batch, for tests of what can be read afterwards."""

import json
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from avoir.batch.batch import Rules
from avoir.batch.handle import Handler
from avoir.postgres import queries
from avoir.postgres.connect import Database, KeptConnection
from avoir.record import BatchReport, Record, TopicPartition

GROUP = "avoir"


class DirectHandler:
    """A handler with the offsets of the topics that were used."""

    def __init__(self, dsn: str, rules: Rules | None = None) -> None:
        from pydantic import SecretStr

        self._kept = KeptConnection(Database(SecretStr(dsn)))
        self._handler = Handler(self._kept, rules or Rules(group_id=GROUP))
        self._offsets: dict[TopicPartition, int] = {}
        self._events = count(1)

    async def handle(self, topic: str, *, tenant_id: str = "t1", **value: Any) -> BatchReport:
        """Handle one message; `event_id` is made up where none is given."""
        message = {"event_id": f"e{next(self._events)}", "tenant_id": tenant_id, **value}
        return await self.handle_bytes(topic, json.dumps(message).encode())

    async def handle_bytes(self, topic: str, value: bytes | None) -> BatchReport:
        """Handle one record with these bytes."""
        place = TopicPartition(topic, 0)
        if place not in self._offsets:
            async with self._kept.use() as connection:
                await connection.execute(
                    *queries.add_positions(group_id=GROUP, partitions=[place], next_offsets=[0])
                )
        offset = self._offsets.get(place, 0)
        report = await self._handler.handle([Record(topic, 0, offset, 0, None, value)], {place: offset})
        self._offsets[place] = offset + 1
        return report

    async def handle_all(self, steps: Iterable[Mapping[str, Any]], tenant_id: str) -> None:
        """The steps of a case, in their order."""
        for step in steps:
            await self.handle(step["topic"], tenant_id=tenant_id, **step["value"])

    async def close(self) -> None:
        """Let go of the connection."""
        await self._kept.close()


def invoice(invoice_id: str, amount: str, at: str, *, paid: str = "0", **line: Any) -> dict[str, Any]:
    """An invoice of user u1 in EUR with one line of this amount."""
    return {
        "occurred_at": at,
        "invoice_id": invoice_id,
        "number": f"N-{invoice_id}",
        "owner": {"type": "user", "id": "u1"},
        "currency": "EUR",
        "finalization": "automatic",
        "lines": [{"line_id": "l1", "kind": "other", "amount": amount, **line}],
        "total": amount,
        "amount_paid": paid,
    }


def cancellation(booking_id: str, at: str, **more: Any) -> dict[str, Any]:
    """A booking cancelled by its customer u1."""
    return {
        "occurred_at": at,
        "booking_id": booking_id,
        "owner": {"type": "user", "id": "u1"},
        "changed_by": "customer",
        **more,
    }
