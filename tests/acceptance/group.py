"""Who of a consumer group reads which partitions, as the broker tells it."""

import time

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from tests.acceptance.service import Service

Places = frozenset[tuple[str, int]]
"""Partitions, with the topic's default name."""

POLL_S = 0.1


def members(service: Service) -> dict[str, Places]:
    """The partitions of each member of the service's group; empty while the group is not at rest."""
    group = service.deployment.environment["AVOIR_KAFKA_GROUP_ID"]
    admin = AdminClient({"bootstrap.servers": service.kafka, "log_level": 0})
    told = admin.describe_consumer_groups([group], request_timeout=20)[group].result()
    if told.state != ConsumerGroupState.STABLE:
        return {}
    return {
        member.member_id: frozenset(
            (place.topic.removeprefix(service.prefix), place.partition)
            for place in member.assignment.topic_partitions
        )
        for member in told.members
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
