"""Records that no client can read."""

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as BuilderInPython


class _NotText(str):
    """A header name that the client writes as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


async def produce_unreadable(kafka: str, topic: str, partition: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a record that no client can read: the name of its header is not UTF-8."""
    for module in ("producer", "message_accumulator"):
        monkeypatch.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", BuilderInPython)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as raw:
        headers = [(_NotText("name"), b"")]
        await raw.send_and_wait(topic, b"bad", b"k", partition=partition, headers=headers)
