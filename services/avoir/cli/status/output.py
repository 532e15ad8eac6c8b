"""Problems of the output: output topics with a changed number of partitions, readers ahead of the ledger."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from avoir.cli.base.lag import partition_counts
from avoir.kafka.client import Client
from avoir.kafka.heads import last_heads, unknown_to_the_ledger
from avoir.kafka.topics import TopicNames
from avoir.postgres.connect import Connection
from avoir.wire.topics import EVENTS


class OutputTopic(NamedTuple):
    """Number of partitions of an output topic, and of those used; None before the service has seen it."""

    topic: str
    partitions: int
    used: int | None


@dataclass(frozen=True, slots=True)
class Output:
    """The output topics, and a description of what `credit-balance` has and the ledger lacks."""

    topics: tuple[OutputTopic, ...] = ()
    ahead: tuple[str, ...] = ()

    def faults(self) -> Iterator[str]:
        """A sentence for each problem."""
        for topic, partitions, used in self.topics:
            if used is not None and partitions != used:
                what = (
                    "the added partitions stay empty"
                    if partitions > used
                    else "no event is published there until it has that many"
                )
                yield f"{topic} has {partitions} partitions, and {used} are used: {what}."
        for each in self.behind():
            yield f"{each[0].upper()}{each[1:]}."

    def behind(self) -> tuple[str, ...]:
        """Reasons why nothing is published: one per account whose readers are ahead of the ledger."""
        return tuple(
            f"nothing is published until `avoir epoch raise`, because readers are ahead of the ledger: {each}"
            for each in self.ahead
        )


async def read_output(
    connection: Connection, client: Client, names: TopicNames, used: Mapping[str, int], ce_source: str
) -> Output:
    """Read the output topics; `used` is the number of partitions in use of each topic, by actual names."""
    counts = await partition_counts(client, names, EVENTS)
    heads = await last_heads(client, names, ce_source)
    topics = (OutputTopic(each, counts.get(each, 0), used.get(names.actual(each))) for each in EVENTS)
    return Output(tuple(topics), tuple(await unknown_to_the_ledger(connection, heads)))
