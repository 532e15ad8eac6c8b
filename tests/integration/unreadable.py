"""Records that no client can read."""

from collections.abc import Iterator
from pathlib import Path

from aiokafka import AIOKafkaProducer

from deploy.local.kafka import Kafka

_VALUE = b"on a damaged disk"


async def produce_unreadable(kafka: Kafka, topic: str, partition: int) -> None:
    """Publish a record and damage it on the broker's disk: the checksum of its batch is wrong from then on."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        sent = await producer.send_and_wait(topic, _VALUE, b"k", partition=partition)
    damaged = list(_damaged(kafka.logs / f"{topic}-{partition}"))
    assert len(damaged) == 1, f"the record at {sent.offset} lies in {damaged}"


def _damaged(folder: Path) -> Iterator[Path]:
    for log in folder.glob("*.log"):
        content = log.read_bytes()
        # The one published last: those before it are damaged already.
        at = content.rfind(_VALUE)
        if at >= 0:
            with log.open("r+b") as file:
                file.seek(at)
                file.write(_VALUE.swapcase())
            yield log
