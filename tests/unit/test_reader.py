"""Records read one at a time: fairly over the partitions, and past none that cannot be read."""

from typing import Any

from aiokafka import ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CorruptRecordException

from avoir.kafka.reader import Reader

FIRST, SECOND, THIRD = (KafkaPartition("facts", number) for number in range(3))


class Backlog:
    """A consumer with records in hand; None is one that cannot be read."""

    def __init__(self, records: dict[KafkaPartition, list[str | None]]) -> None:
        self._records = records
        self._paused: set[KafkaPartition] = set()

    def assignment(self) -> set[KafkaPartition]:
        return set(self._records)

    def paused(self) -> set[KafkaPartition]:
        return set(self._paused)

    def pause(self, partition: KafkaPartition) -> None:
        self._paused.add(partition)

    async def position(self, _: KafkaPartition) -> int:
        return 7

    async def getmany(
        self, partition: KafkaPartition, **_: Any
    ) -> dict[KafkaPartition, list[ConsumerRecord]]:
        if not self._records[partition]:
            return {}
        record = self._records[partition].pop(0)
        if record is None:
            raise CorruptRecordException
        value = record.encode()
        return {partition: [ConsumerRecord(*partition, 0, 0, 0, None, value, None, -1, len(value), ())]}


async def read_closely(backlog: Backlog, most: int) -> tuple[Reader, Any]:
    reader = Reader(most)
    reader.look_closely()
    found = await reader.read(backlog)
    return reader, {place: [each.value.decode() for each in records] for place, records in found.items()}


async def test_no_backlog_starves_the_others() -> None:
    backlog = Backlog({FIRST: [*"abcdefgh"], SECOND: [*"ij"], THIRD: [*"klmnop"]})
    _, found = await read_closely(backlog, 8)
    assert found[SECOND] == [*"ij"]
    assert len(found[FIRST]) - len(found[THIRD]) in (0, 1)


async def test_all_is_read_that_there_is() -> None:
    _, found = await read_closely(Backlog({FIRST: [*"ab"], SECOND: [], THIRD: [*"klm"]}), 100)
    assert found == {FIRST: [*"ab"], THIRD: [*"klm"]}


async def test_a_record_that_cannot_be_read_stops_its_partition_only() -> None:
    backlog = Backlog({FIRST: ["a", None, "b"], SECOND: [*"ij"]})
    reader, found = await read_closely(backlog, 100)
    assert found == {FIRST: ["a"], SECOND: [*"ij"]}
    assert backlog.paused() == reader.unreadable.keys() == {FIRST}
    assert reader.unreadable[FIRST].startswith("facts 0 7: CorruptRecordException")


async def test_no_more_bytes_are_read_at_a_time_than_a_batch_may_have() -> None:
    _, found = await read_closely(Backlog({FIRST: ["x" * 900_000] * 100, SECOND: ["y"]}), 1_000)
    assert [len(found[FIRST]), len(found[SECOND])] == [2, 1]


async def test_facts_have_a_turn_in_every_batch_however_old_the_others_are() -> None:
    """A partition with a flood of records from 1970 leaves a few places to the others; commands keep their time."""
    flood, fact, command = (
        KafkaPartition(topic, 0) for topic in ("invoice-finalized", "booking-cancelled", "draw-credit")
    )
    reader = Reader(20, lambda topic: topic != "draw-credit")

    def record(place: KafkaPartition, timestamp_ms: int) -> ConsumerRecord:
        return ConsumerRecord(*place, 0, timestamp_ms, 0, None, b"x", None, -1, 1, ())

    reader._hold(
        {flood: [record(flood, 0)] * 100, fact: [record(fact, 9)] * 2, command: [record(command, 9)] * 2}
    )
    backlog = Backlog({flood: [], fact: [], command: []})
    first, second = await reader.read(backlog), await reader.read(backlog)
    assert {place: len(records) for place, records in first.items()} == {flood: 18, fact: 2}
    assert {place: len(records) for place, records in second.items()} == {flood: 20}
