"""What stands in the way of the output: topics out with other partitions than are used, readers ahead of the ledger."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from avoir.cli.base.lag import partition_counts
from avoir.kafka.client import Client
from avoir.kafka.heads import last_heads, unknown_to_the_ledger
from avoir.kafka.topics import TopicNames
from avoir.postgres.connect import Connection
from avoir.wire.topics import EVENTS


class TopicOut(NamedTuple):
    """How many partitions a topic out has, and how many are used: None before the service has seen it."""

    topic: str
    partitions: int
    used: int | None


@dataclass(frozen=True, slots=True)
class Output:
    """The topics out, and in words what `credit-balance` has and the ledger has not."""

    topics: tuple[TopicOut, ...] = ()
    ahead: tuple[str, ...] = ()

    def faults(self) -> Iterator[str]:
        """A sentence for each thing that is wrong."""
        for topic, partitions, used in self.topics:
            if used is not None and partitions != used:
                what = (
                    "what was added stays empty"
                    if partitions > used
                    else "it gets no event until it has so many"
                )
                yield f"{topic} has {partitions} partitions, and {used} are used: {what}."
        for each in self.behind():
            yield f"{each[0].upper()}{each[1:]}."

    def behind(self) -> tuple[str, ...]:
        """Why nothing is published, for each account whose readers are ahead of the ledger."""
        return tuple(
            f"nothing is published until `avoir epoch raise`, since readers are ahead of the ledger: {each}"
            for each in self.ahead
        )


async def read_output(
    connection: Connection, client: Client, names: TopicNames, used: Mapping[str, int], ce_source: str
) -> Output:
    """The output's side; `used` is how many partitions of each topic are used, by actual names."""
    counts = await partition_counts(client, names, EVENTS)
    heads = await last_heads(client, names, ce_source)
    topics = (TopicOut(each, counts.get(each, 0), used.get(names.actual(each))) for each in EVENTS)
    return Output(tuple(topics), tuple(await unknown_to_the_ledger(connection, heads)))
