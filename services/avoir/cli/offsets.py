"""`avoir offsets list | set`: the service's position in each partition, and moving it if records are lost."""

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from cyclopts import App, Parameter

from avoir.cli.base.access import (
    BROKERS,
    DSN,
    connected,
    kafka_client,
    kafka_failures,
    load_settings,
    names_of,
)
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import PARTITION, AsJson
from avoir.cli.base.output import add_rows, console, print_json, say, table
from avoir.kafka.position import Span, StoredPosition, positions_of
from avoir.postgres import queries
from avoir.record import TopicPartition
from avoir.wire.nearest import did_you_mean
from avoir.wire.topics import SUBSCRIBED

if TYPE_CHECKING:
    from avoir.cli.base.lag import BrokerPartition

offsets = App(name="offsets", help="The service's position in each partition of its input topics.")


async def _partitions() -> dict[TopicPartition, "BrokerPartition"]:
    from avoir.cli.base.lag import read_partitions

    settings = load_settings(DSN, BROKERS)
    async with kafka_failures(settings):
        return await read_partitions(kafka_client(settings), names_of(settings), SUBSCRIBED)


async def _positions() -> dict[TopicPartition, StoredPosition]:
    settings = load_settings(DSN)
    async with connected(settings) as connection:
        return positions_of(await connection.fetch(*queries.all_positions(group_id=settings.kafka_group_id)))


@offsets.command(name="list")
async def list_(*, json: AsJson = False) -> int:
    """List the next offset to handle in each partition, and the broker's offsets.

    Exit code 1 if a partition is stopped.

    Example: `avoir offsets list`
    """
    from avoir.cli.base.lag import stops

    partitions, positions = await _partitions(), await _positions()
    stopped = stops(partitions, positions)
    offsets = {
        place: positions[place].next_offset if place in positions else None for place in sorted(partitions)
    }
    if json:
        keys = ("topic", "partition", "next_offset", "begin", "end", "stopped")
        rows = [(*place, at, *partitions[place].span, stopped.get(place)) for place, at in offsets.items()]
        print_json({"offsets": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        shown = table("Topic", "Partition", "Next offset", "Begin", "End", "")
        add_rows(
            shown,
            (
                (
                    place.topic,
                    str(place.partition),
                    "none yet" if at is None else str(at),
                    str(partitions[place].span.begin),
                    str(partitions[place].span.end),
                    "outside" if place in stopped else "",
                )
                for place, at in offsets.items()
            ),
        )
        console().print(shown, markup=False)
        for why in stopped.values():
            say(f"{why}.")
    return Exit.FOUND if stopped else Exit.OK


@offsets.command(name="set")
async def set_(
    topic: Annotated[str, Parameter(help="The topic (default name).")],
    partition: Annotated[int, Parameter(validator=PARTITION, help="The partition.")],
    offset: Annotated[str, Parameter(help="The next offset to handle: a number, `begin` or `end`.")],
    *,
    reason: Annotated[str, Parameter(help="The reason; kept on record.")],
    json: AsJson = False,
) -> int:
    """Move the service to another offset of a partition whose records are lost, and let it continue there.

    `begin` handles everything that the broker still has; messages handled before are recognised as duplicates and
    change nothing. `end` skips everything. The service continues within seconds.

    Example: `avoir offsets set booking-cancelled 0 begin --reason "topic recreated on 2025-06-01"`
    """
    settings = load_settings(DSN, BROKERS)
    place = TopicPartition(names_of(settings).default(topic), partition)
    on_broker = (await _partitions()).get(place)
    if on_broker is None:
        not_found(
            f"The broker has no partition {place.topic}/{partition}.{did_you_mean(place.topic, SUBSCRIBED)}"
        )
    wanted = _wanted(offset, place, on_broker.span)
    group = settings.kafka_group_id
    async with connected(settings, "avoir_service") as connection, connection.transaction():
        # Waits for a running batch, so that `before` is the position it leaves and is on record as such.
        await connection.fetch(*queries.lock_offsets(group_id=group, partitions=[place]))
        before = await connection.fetchval(
            *queries.set_position(
                group_id=group,
                topic=place.topic,
                partition=partition,
                offset=wanted,
                topic_id=on_broker.topic_id,
            )
        )
        if before is None:
            not_found(f"Group {group} has no position in {place.topic}/{partition} yet.")
        why = f"moved from {before} to {wanted}: {reason}"
        await connection.execute(
            *queries.record_skip(
                dead_letter_id=uuid4(), reason=why, topic=place.topic, partition=partition, offset=before
            )
        )
    if json:
        print_json({"topic": place.topic, "partition": partition, "before": before, "next_offset": wanted})
    else:
        say(f"{place.topic}/{partition} {why}")
    return Exit.OK


def _wanted(offset: str, place: TopicPartition, span: Span) -> int:
    begin, end = span
    if offset in ("begin", "end"):
        return begin if offset == "begin" else end
    if not offset.isdecimal() or not begin <= int(offset) <= end:
        refuse(
            f"{place.topic}/{place.partition} has the offsets {begin} to {end}: give one of them, `begin` or `end`."
        )
    return int(offset)
