"""The partitions that each member of a consumer group reads, as the broker knows them."""

import time

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from tests.acceptance.events import LATEST
from tests.acceptance.service import Service

Places = frozenset[tuple[str, int]]
"""Partitions, with the topic's default name."""

POLL_S = 0.1
ASK_S = 3
NOT_KNOWN_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    # While a new broker makes its topic of offsets, the client waits for a coordinator without asking again.
    KafkaError._TIMED_OUT,
)


def members(service: Service) -> dict[str, Places]:
    """The partitions of each member of the service's group; empty while it has no coordinator or is not at rest."""
    group = service.deployment.environment["AVOIR_KAFKA_GROUP_ID"]
    admin = AdminClient({"bootstrap.servers": service.kafka, "log_level": 0})
    try:
        described = admin.describe_consumer_groups([group], request_timeout=ASK_S)[group].result()
    except KafkaException as error:
        if error.args[0].code() in NOT_KNOWN_YET:
            return {}
        raise
    if described.state != ConsumerGroupState.STABLE:
        return {}
    return {
        member.member_id: frozenset(
            (place.topic.removeprefix(service.prefix), place.partition)
            for place in member.assignment.topic_partitions
        )
        for member in described.members
    }


def until_shared(service: Service, count: int, within_s: float = 60) -> dict[str, Places]:
    """Wait until so many members share the partitions."""
    end = time.monotonic() + within_s
    while True:
        found = members(service)
        if len(found) == count and all(found.values()):
            return found
        assert time.monotonic() < end, f"not {count} members within {within_s} s: {found}"
        time.sleep(POLL_S)


def until_lag_monitors_see_none(service: Service, within_s: float = 15) -> None:
    """Wait until the group's offsets on the broker, which monitors of lag ask for, are the topics' ends."""
    group = service.deployment.environment["AVOIR_KAFKA_GROUP_ID"]
    admin = AdminClient({"bootstrap.servers": service.kafka, "log_level": 0})
    end = time.monotonic() + within_s
    while True:
        asked = [ConsumerGroupTopicPartitions(group)]
        described = admin.list_consumer_group_offsets(asked, request_timeout=ASK_S)[group].result()
        places = {(each.topic, each.partition): each.offset for each in described.topic_partitions}
        wanted = {TopicPartition(*place): LATEST for place in places}
        ends = {
            (place.topic, place.partition): future.result().offset
            for place, future in admin.list_offsets(wanted, request_timeout=20).items()
        }
        behind = {place: (offset, ends[place]) for place, offset in places.items() if offset < ends[place]}
        if places and not behind:
            return
        assert time.monotonic() < end, f"monitors still see a lag after {within_s} s: {behind}"
        time.sleep(POLL_S)
