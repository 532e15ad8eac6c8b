"""Asks the broker for the ids of topics, new for each created topic; aiokafka has no request for them."""

import random
from collections.abc import Collection
from io import BytesIO
from typing import NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_NO_ERROR = 0
_UNKNOWN_TOPIC = 3
_ANY_ID = UUID(int=0)


class Topics(NamedTuple):
    """Topic ids by actual names, and the topics that the broker does not have."""

    ids: dict[str, UUID]
    missing: frozenset[str]


class _Id(AbstractType):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _Metadata(Response):  # type: ignore[misc]
    """Kafka's Metadata, version 12."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AskMetadata(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _Metadata
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Ask(Request[_AskMetadata]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_AskMetadata]) -> _AskMetadata:
        asked: list[tuple[UUID, str, dict[int, bytes]]] = [(_ANY_ID, topic, {}) for topic in self._topics]
        return request_struct_class(asked, False, False, {})


async def look_up(consumer: AIOKafkaConsumer, topics: Collection[str]) -> Topics:
    """Look up topics by actual names; empty if the broker is too old to know ids (before 3.1).

    Raises KafkaError if no broker answers.
    """
    client = consumer._client
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)
    failure: KafkaError = NodeNotReadyError("no broker is known")
    for node in nodes:
        try:
            answer = await client.send(node, _Ask(topics))
        except NotImplementedError:
            return Topics({}, frozenset())
        except KafkaError as error:
            failure = error
            continue
        entries = [(code, name, topic_id) for code, name, topic_id, *_ in answer.topics]
        ids = {
            name: topic_id for code, name, topic_id in entries if code == _NO_ERROR and topic_id != _ANY_ID
        }
        return Topics(ids, frozenset(name for code, name, _ in entries if code == _UNKNOWN_TOPIC))
    raise failure
