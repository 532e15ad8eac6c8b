"""`avoir dead-letters`: list, show, replay and skip messages that could not be handled."""

from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

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
from avoir.cli.base.options import COUNT, OFFSET, PARTITION, AsJson, as_uuid
from avoir.cli.base.output import add_rows, console, hint, print_json, rfc3339, say, short_time, table
from avoir.cli.dead_letters.query import (
    DeadLetter,
    DeadLetterBytes,
    DeadLetterFilter,
    read_dead_letter,
    read_dead_letters,
)
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.record import TopicPartition
from avoir.settings import Settings
from avoir.wire.nearest import did_you_mean
from avoir.wire.topics import SUBSCRIBED

dead_letters = App(
    name="dead-letters",
    help="Messages that could not be handled: list, show, replay or skip them.",
)

Outcome = Literal["rejected", "conflict", "parked", "skipped", "summarised"]


@dead_letters.command(name="list")
async def list_(
    *,
    tenant: Annotated[str | None, Parameter(help='Only this tenant; "" for messages without one.')] = None,
    outcome: Annotated[Outcome | None, Parameter(help="Only this outcome.")] = None,
    topic: Annotated[str | None, Parameter(help="Only this topic (default name).")] = None,
    all_: Annotated[
        bool, Parameter(name="--all", negative=(), help="Include dead letters that were already replayed.")
    ] = False,
    limit: Annotated[int, Parameter(validator=COUNT, help="Maximum number shown, newest first.")] = 100,
    json: AsJson = False,
) -> int:
    """List the messages that could not be handled, the newest first.

    Example: `avoir dead-letters list --outcome parked`
    """
    async with connected(load_settings(DSN)) as connection:
        listed = await read_dead_letters(connection, DeadLetterFilter(tenant, outcome, topic, all_, limit))
    if json:
        print_json({"dead_letters": [dead_letter_json(dead_letter) for dead_letter in listed]})
    elif listed:
        made = table("Id", "Recorded (UTC)", "What", whole=("Id", "Recorded (UTC)"))
        console().print(add_rows(made, (_row(dead_letter) for dead_letter in listed)))
    else:
        say(f"No dead letters.{did_you_mean(topic, SUBSCRIBED) if topic else ''}")
    return Exit.OK


def _row(dead_letter: DeadLetter) -> tuple[str, ...]:
    whose = f" of tenant {dead_letter.tenant_id}" if dead_letter.tenant_id else ""
    again = f", replayed {short_time(dead_letter.replayed_at)}" if dead_letter.replayed_at else ""
    many = "" if dead_letter.messages == 1 else f"{dead_letter.messages} messages, "
    what = f"{dead_letter.outcome}{again}: {many}{dead_letter.place}{whose}: {dead_letter.reason}"
    return str(dead_letter.dead_letter_id), short_time(dead_letter.recorded_at), what


def dead_letter_json(dead_letter: DeadLetter) -> dict[str, Any]:
    """The documented shape of a dead letter in JSON."""
    return {
        "dead_letter_id": str(dead_letter.dead_letter_id),
        "tenant_id": dead_letter.tenant_id,
        "outcome": dead_letter.outcome,
        "reason": dead_letter.reason,
        "event_id": dead_letter.event_id,
        "topic": dead_letter.topic,
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "recorded_at": rfc3339(dead_letter.recorded_at),
        "replayed_at": rfc3339(dead_letter.replayed_at),
        "first_offset": dead_letter.first_offset,
        "messages": dead_letter.messages,
        "value_length": dead_letter.value_length,
        "sha256": None if dead_letter.sha256 is None else dead_letter.sha256.hex(),
    }


@dead_letters.command
async def show(
    dead_letter_id: Annotated[str, Parameter(help="The id, as `avoir dead-letters list` shows it.")],
    *,
    json: AsJson = False,
) -> int:
    """Show one message that could not be handled: where it came from, why it failed, and what was in it.

    Example: `avoir dead-letters show 0b0e2a62-4f0f-5a35-9f47-0b8ae52a9d8a`
    """
    wanted = _id(dead_letter_id)
    async with connected(load_settings(DSN)) as connection:
        shown = await _find(connection, wanted)
    if json:
        print_json(bytes_json(shown))
        return Exit.OK
    details = table("", "")
    add_rows(
        details,
        (
            (name, "" if value is None else str(value))
            for name, value in dead_letter_json(shown.dead_letter).items()
        ),
    )
    add_rows(details, (("key", _text(shown.key)), ("kafka_timestamp", rfc3339(shown.kafka_timestamp) or "")))
    add_rows(details, ((f"header {name}", _text(value)) for name, value in shown.headers))
    console().print(details, markup=False)
    say(_text(shown.value))
    if shown.dead_letter.sha256 is not None:
        hint(_not_kept(shown.dead_letter))
    return Exit.OK


def _id(text: str) -> UUID:
    dead_letter_id = as_uuid(text)
    if dead_letter_id is None:
        refuse(f"{text!r} is not the id of a dead letter: `avoir dead-letters list` shows the ids.")
    return dead_letter_id


async def _find(connection: Connection, dead_letter_id: UUID) -> DeadLetterBytes:
    dead_letter = await read_dead_letter(connection, dead_letter_id)
    if dead_letter is None:
        not_found(f"There is no dead letter {dead_letter_id}.")
    return dead_letter


def _not_kept(dead_letter: DeadLetter) -> str:
    """Location in Kafka of bytes of which a dead letter has only a hash."""
    if dead_letter.outcome == "summarised":
        what = f"{dead_letter.messages} messages are only counted"
    elif dead_letter.messages > 1:
        what = f"{dead_letter.messages} messages are cut to the first bytes of {dead_letter.value_length} (compressed)"
    else:
        what = f"its value is cut to the first bytes of {dead_letter.value_length}"
    return (
        f"{dead_letter.dead_letter_id} is not complete: {what}. "
        f"Kafka has the rest at {dead_letter.place}, for as long as the topic keeps it."
    )


def _text(data: bytes | None) -> str:
    return "(null)" if data is None else data.decode(errors="backslashreplace")


def bytes_json(dead_letter_bytes: DeadLetterBytes) -> dict[str, Any]:
    """The documented shape of `avoir dead-letters show --json`: bytes as text where UTF-8, and always as hex."""
    return {
        **dead_letter_json(dead_letter_bytes.dead_letter),
        "kafka_timestamp": rfc3339(dead_letter_bytes.kafka_timestamp),
        "key": _bytes_json(dead_letter_bytes.key),
        "value": _bytes_json(dead_letter_bytes.value),
        "headers": [{"name": name, "value": _bytes_json(value)} for name, value in dead_letter_bytes.headers],
    }


def _bytes_json(data: bytes | None) -> dict[str, str | None] | None:
    if data is None:
        return None
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    return {"text": text, "hex": data.hex()}


@dead_letters.command
async def replay(
    *dead_letter_ids: Annotated[str, Parameter(help="The ids, as `avoir dead-letters list` shows them.")],
    again: Annotated[
        bool, Parameter(negative=(), help="Also replay those that were replayed before.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Publish messages to their topics again, with their original bytes and headers; they are handled as new.

    Replay after a fix: otherwise the same bytes are rejected again for the same reason.

    Example: `avoir dead-letters replay 0b0e2a62-4f0f-5a35-9f47-0b8ae52a9d8a`
    """
    from avoir.cli.base.producer import producing

    if not dead_letter_ids:
        refuse("Give at least one id: `avoir dead-letters list` shows them.")
    wanted, settings = [_id(text) for text in dead_letter_ids], load_settings(DSN, BROKERS)
    names, client = names_of(settings), kafka_client(settings)
    replayed: list[str] = []
    async with connected(settings, "avoir_service") as connection:
        selected = [await _find(connection, each) for each in wanted]
        for each in selected:
            if each.dead_letter.outcome == "skipped":
                not_found(
                    f"{each.dead_letter.dead_letter_id} was skipped unread: there are no bytes to replay."
                )
            if each.dead_letter.sha256 is not None:
                not_found(f"{_not_kept(each.dead_letter)} It can't be replayed from here.")
            if each.key is None and each.value is None:
                not_found(
                    f"{each.dead_letter.dead_letter_id} has neither key nor value: there is nothing to replay."
                )
        async with kafka_failures(settings), producing(client) as producer:
            for each in selected:
                # Committed only once the broker has the message. If the commit fails, a second replay is a duplicate
                # that changes nothing; the other order could mark a message that was never sent.
                async with connection.transaction():
                    dead_letter = each.dead_letter
                    before = await connection.fetchval(
                        *queries.lock_dead_letter(
                            tenant_id=dead_letter.tenant_id, dead_letter_id=dead_letter.dead_letter_id
                        )
                    )
                    if before is not None and not again:
                        hint(
                            f"{dead_letter.dead_letter_id} was already replayed on {short_time(before)}: skipped. "
                            f"Use --again to replay it again."
                        )
                        continue
                    await connection.execute(
                        *queries.mark_replayed(
                            tenant_id=dead_letter.tenant_id, dead_letter_id=dead_letter.dead_letter_id
                        )
                    )
                    await producer.send(names.actual(dead_letter.topic), each.key, each.value, each.headers)
                    await producer.flush()
                    replayed.append(str(dead_letter.dead_letter_id))
    if json:
        print_json({"replayed": replayed})
    else:
        say(f"{len(replayed)} message(s) replayed.")
    return Exit.OK if len(replayed) == len(selected) else Exit.FOUND


@dead_letters.command
async def skip(
    topic: Annotated[str, Parameter(help="The topic (default name).")],
    partition: Annotated[int, Parameter(validator=PARTITION, help="The partition.")],
    offset: Annotated[
        int,
        Parameter(validator=OFFSET, help="The offset of the record; it must be the next one to handle."),
    ],
    *,
    reason: Annotated[str, Parameter(help="The reason for skipping it; kept on record.")],
    json: AsJson = False,
) -> int:
    """Skip one record that no client can read, such as one with a header name that is not UTF-8.

    Only the record at the service's position can be skipped, and only if it exists and can't be read, so that nothing
    else is lost. The service continues by itself.

    Example: `avoir dead-letters skip booking-cancelled 3 4711 --reason "header name is no UTF-8"`
    """
    settings = load_settings(DSN, BROKERS)
    name, dead_letter_id = names_of(settings).default(topic), uuid4()
    async with connected(settings, "avoir_service") as connection, connection.transaction():
        if (
            await connection.fetchval(
                *queries.skip_record(
                    group_id=settings.kafka_group_id, topic=name, partition=partition, offset=offset
                )
            )
            is None
        ):
            not_found(await _position_words(connection, settings.kafka_group_id, name, partition))
        # Checked after the move, whose row lock keeps the service from handling the record; a refusal rolls back.
        await _refuse_readable(settings, name, partition, offset)
        await connection.execute(
            *queries.record_skip(
                dead_letter_id=dead_letter_id, reason=reason, topic=name, partition=partition, offset=offset
            )
        )
    if json:
        print_json(
            {
                "dead_letter_id": str(dead_letter_id),
                "topic": name,
                "partition": partition,
                "next_offset": offset + 1,
            }
        )
    else:
        say(f"Skipped {name}/{partition}@{offset}; on record as {dead_letter_id}.")
    return Exit.OK


async def _refuse_readable(settings: Settings, topic: str, partition: int, offset: int) -> None:
    from aiokafka import TopicPartition as KafkaPartition

    from avoir.kafka.reader import is_readable

    place = f"{topic}/{partition}@{offset}"
    async with kafka_failures(settings):
        on_broker = KafkaPartition(names_of(settings).actual(topic), partition)
        can_be_read = await is_readable(kafka_client(settings), on_broker, offset)
    if can_be_read is None:
        not_found(f"There is no record at {place}: nothing to skip.")
    if can_be_read:
        not_found(f"The record at {place} can be read: the service handles it, so it was not skipped.")


async def _position_words(connection: Connection, group_id: str, topic: str, partition: int) -> str:
    rows = await connection.fetch(
        *queries.read_positions(group_id=group_id, partitions=[TopicPartition(topic, partition)])
    )
    if not rows:
        return f"Group {group_id} has no position in {topic}/{partition}.{did_you_mean(topic, SUBSCRIBED)}"
    place = f"{topic}/{partition}@{rows[0]['next_offset']}"
    return f"Group {group_id} is at {place}: only that record can be skipped."
