"""Creates, changes and deletes topics, by their actual names."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.new_partitions import NewPartitions

from avoir.kafka.client import client_of
from avoir.kafka.topics import TopicNames
from avoir.settings import KafkaSettings
from avoir.wire.topics import EVENTS, SUBSCRIBED
from deploy.local.harness.waiting import until

REMADE_WITHIN_S = 20


async def make_topics(
    kafka: str, names: Iterable[str], partitions: int = 4, configs: dict[str, str] | None = None
) -> None:
    """Make topics."""
    async with admin_of(kafka) as admin:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=configs or {}) for name in names]
        )


async def make_all_topics(settings: KafkaSettings, partitions: int = 2) -> TopicNames:
    """Make all topics that the service needs."""
    names = TopicNames(settings.kafka_topic_prefix, settings.kafka_topics)
    actual = [names.actual(topic) for topic in (*SUBSCRIBED, *EVENTS)]
    await make_topics(settings.kafka_bootstrap_servers, actual, partitions)
    return names


async def remake_topic(kafka: str, topic: str, partitions: int) -> None:
    """Delete a topic, and make another one of the same name as soon as the broker lets us."""
    async with admin_of(kafka) as admin:
        await admin.delete_topics([topic])

        async def made() -> bool:
            answer = await admin.create_topics([NewTopic(topic, partitions, 1)])
            return bool(answer.topic_errors[0][1] == 0)

        async def known() -> bool:
            (description,) = await admin.describe_topics([topic])
            return len(description["partitions"]) == partitions

        await until(made, REMADE_WITHIN_S, f"{topic} is made again")
        await until(known, REMADE_WITHIN_S, f"{topic} is known again")


async def delete_topic(kafka: str, topic: str) -> None:
    """Delete a topic."""
    async with admin_of(kafka) as admin:
        await admin.delete_topics([topic])


async def delete_topics_with(kafka: str, prefix: str) -> None:
    """Delete all topics whose names begin with the prefix."""
    async with admin_of(kafka) as admin:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])


async def delete_records(kafka: str, topic: str, partition: int, before: int) -> None:
    """Delete the records of a partition before an offset, as retention does."""
    async with admin_of(kafka) as admin:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})


async def configure(kafka: str, topic: str, configs: dict[str, str]) -> None:
    """Change a topic's settings."""
    async with admin_of(kafka) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])


async def add_partitions(kafka: str, topics: Iterable[str], count: int) -> None:
    """Raise topics to this number of partitions."""
    async with admin_of(kafka) as admin:
        await admin.create_partitions({topic: NewPartitions(count) for topic in topics})


@asynccontextmanager
async def admin_of(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client of the broker's administration, for as long as this context."""
    admin = AIOKafkaAdminClient(**client_of(KafkaSettings(kafka_bootstrap_servers=kafka)).options())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
