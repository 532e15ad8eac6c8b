"""Topics on the broker: actual names, creation and checks."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from avoir.kafka.client import Client
from avoir.wire.nearest import did_you_mean
from avoir.wire.topics import BALANCE, EVENTS, SUBSCRIBED

_USUAL_REPLICAS = 3
_ALREADY_EXISTS = 36


class TopicNames:
    """Actual name of each topic: renamed, or its default name with the prefix."""

    def __init__(self, prefix: str = "", renamed: Mapping[str, str] | None = None) -> None:
        """Raise ValueError for an unknown topic, or a name that two topics would share."""
        known = (*SUBSCRIBED, *EVENTS)
        if unknown := sorted(set(renamed or {}) - set(known)):
            raise ValueError(
                " ".join(f"{name} is not a topic of Avoir.{did_you_mean(name, known)}" for name in unknown)
            )
        self._actual = {name: (renamed or {}).get(name, prefix + name) for name in known}
        self._default = {actual: name for name, actual in self._actual.items()}
        if len(self._default) != len(self._actual):
            raise ValueError("two topics have the same actual name")

    def actual(self, default: str) -> str:
        """Name of a topic on the broker."""
        return self._actual[default]

    def default(self, actual: str) -> str:
        """Default name of a topic; a topic that is not Avoir's keeps its own."""
        return self._default.get(actual, actual)


class CreatedTopics(NamedTuple):
    """Result of `create_topics`, by actual names; `faults` lists what an operator has to fix."""

    created: list[str]
    existing: list[str]
    faults: list[str]


async def create_topics(
    client: Client, names: TopicNames, partitions: int, replication: int | None
) -> CreatedTopics:
    """Create missing topics; existing ones stay unchanged, whatever their settings.

    Without `replication` they get three replicas, or as many as there are brokers if that is fewer.
    """
    admin = AIOKafkaAdminClient(**client.options())
    try:
        await admin.start()
        if replication is None:
            replication = min(_USUAL_REPLICAS, len((await admin.describe_cluster())["brokers"]))
        return await _create(admin, names, partitions, replication)
    finally:
        await admin.close()


async def _create(
    admin: AIOKafkaAdminClient, names: TopicNames, partitions: int, replication: int
) -> CreatedTopics:
    wanted = [
        NewTopic(
            name=names.actual(name),
            num_partitions=partitions,
            replication_factor=replication,
            topic_configs={"cleanup.policy": "compact"} if name == BALANCE else {},
        )
        for name in (*SUBSCRIBED, *EVENTS)
    ]
    result = CreatedTopics([], [], [])
    response = await admin.create_topics(wanted)
    for topic, code, *message in response.topic_errors:
        if code == 0:
            result.created.append(topic)
        elif code == _ALREADY_EXISTS:
            result.existing.append(topic)
        else:
            result.faults.append(
                f"{topic}: {for_code(code).__name__} {' '.join(filter(None, message))}".strip()
            )
    balance = names.actual(BALANCE)
    if balance in result.existing and "compact" not in await _cleanup_policy(admin, balance):
        result.faults.append(
            f"{balance}: exists without cleanup.policy=compact, so it would lose old balances"
        )
    return result


async def _cleanup_policy(admin: AIOKafkaAdminClient, topic: str) -> str:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    for answer in answers:
        for _code, _message, _type, _name, entries in answer.resources:
            for entry in entries:
                if entry[0] == "cleanup.policy":
                    return str(entry[1])
    return ""


async def missing_topics(client: Client, topics: Iterable[str]) -> list[str]:
    """Missing topics (actual names): a consumer would wait for them for ever."""
    admin = AIOKafkaAdminClient(**client.options())
    try:
        await admin.start()
        return sorted(set(topics) - set(await admin.list_topics()))
    finally:
        await admin.close()
