"""`avoir send`: publishes messages from a file, for experiments, tests and history."""

import asyncio
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Annotated, BinaryIO

from cyclopts import Parameter

from avoir.cli.base.access import BROKERS, kafka_client, kafka_failures, load_settings, names_of
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import add_rows, console, hint, print_json, table
from avoir.settings import Settings
from avoir.wire.nearest import did_you_mean

if TYPE_CHECKING:
    from avoir.kafka.topics import TopicNames

MAX_PROBLEMS = 20
BATCH = 500
MAX_AHEAD_MS = 1_000


TopicArgument = Annotated[
    str,
    Parameter(help="The topic (default name); - if every line names its own.", allow_leading_hyphen=True),
]
FileArgument = Annotated[
    str,
    Parameter(help="Messages, one JSON object per line; - for standard input.", allow_leading_hyphen=True),
]


async def send(
    topic: TopicArgument,
    file: FileArgument,
    *,
    raw: Annotated[
        bool,
        Parameter(negative=(), help="Send the lines without checking them, even invalid ones."),
    ] = False,
    json: AsJson = False,
) -> int:
    """Publish messages, one JSON object per line, and wait until the broker has all of them.

    Every line is checked first; if any is invalid, nothing is sent. Each line gets a millisecond of its own, so that a
    backlog counts in the order of the file, whatever the topics. With - as the topic, each line is
    {"topic": "booking-cancelled", "value": {...}}. The key is the id of what a message is about.

    Example: `avoir send booking-cancelled cancellations.jsonl`
    """
    from avoir.cli.base.messages import INCOMING, open_messages

    settings = load_settings(BROKERS)
    names = names_of(settings)
    default = None if topic == "-" else names.default(topic)
    if default is not None and default not in INCOMING:
        suggestion = did_you_mean(default, INCOMING)
        refuse(f"Avoir does not read {topic}.{suggestion} It reads {', '.join(INCOMING)}.")
    with open_messages(file) as opened:
        topics = _check(opened, default, raw=raw)
        async with kafka_failures(settings):
            sent = await _publish(opened, default, settings, names, topics, raw=raw)
    if json:
        print_json({"sent": sent.total(), "by_topic": dict(sent)})
    else:
        made = table("Topic", "Messages sent", right=("Messages sent",))
        console().print(add_rows(made, ((name, str(count)) for name, count in sent.items())))
    return Exit.OK


def _check(opened: BinaryIO, default: str | None, *, raw: bool) -> set[str]:
    from avoir.cli.base.messages import Outgoing, lines_of

    topics, problems = set(), 0
    for each in lines_of(opened, default, raw=raw):
        if isinstance(each, Outgoing):
            topics.add(each.topic)
            continue
        problems += 1
        if problems <= MAX_PROBLEMS:
            hint(f"line {each.line}: {each.problem}")
    if problems:
        not_found(f"{problems} line(s) are invalid, so nothing was sent. --raw sends them anyway.")
    return topics


async def _publish(
    opened: BinaryIO,
    default: str | None,
    settings: Settings,
    names: "TopicNames",
    topics: set[str],
    *,
    raw: bool,
) -> Counter[str]:
    from avoir.cli.base.messages import Problem, lines_of
    from avoir.cli.base.producer import producing
    from avoir.kafka.topics import missing_topics

    client, sent, stamp = kafka_client(settings), Counter[str](), 0
    if missing := await missing_topics(client, (names.actual(topic) for topic in topics)):
        not_found(f"The broker has no topic {', '.join(missing)}: run `avoir topics create`.")
    async with producing(client) as producer:
        messages = (each for each in lines_of(opened, default, raw=raw) if not isinstance(each, Problem))
        while batch := list(islice(messages, BATCH)):
            for each in batch:
                stamp = await _next_millisecond(stamp)
                await producer.send(names.actual(each.topic), each.key, each.value, timestamp_ms=stamp)
            await producer.flush()
            sent.update(each.topic for each in batch)
    return sent


async def _next_millisecond(last: int) -> int:
    """The time by this machine's clock, in milliseconds, and later than the last: waits for it if it must.

    Lines of a file then count in their order, whatever their topics. Where the clock is set back, by the clock alone.
    """
    now = time.time_ns() // 1_000_000
    if last - now > MAX_AHEAD_MS:
        return now
    while now <= last:
        await asyncio.sleep(0.0005)
        now = time.time_ns() // 1_000_000
    return now
