"""Rows of the outbox in batches: a row that no batch takes is refused, and is never taken for published."""

import pytest

from avoir.kafka.client import Client
from avoir.kafka.publisher import Publisher, RefusedError
from avoir.kafka.topics import TopicNames


async def test_a_row_that_an_empty_batch_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avoir.kafka.publisher._append", lambda *_: False)
    publisher = Publisher(Client(["nowhere:1"]), TopicNames(""), "test-relay")
    row = {"topic": "credit-issued", "key": b"k", "outbox_id": 4711}
    with pytest.raises(RefusedError, match="empty batch") as refused:
        list(publisher._batches([row], {"credit-issued": [0]}, ()))  # type: ignore[list-item]
    assert (refused.value.outbox_ids, refused.value.certain) == ([4711], True)
    await publisher.stop()
