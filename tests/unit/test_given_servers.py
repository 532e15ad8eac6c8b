"""Servers that the environment names: where none answers, one line says so and what to do."""

import pytest

from deploy.local.process import StackError, free_port
from deploy.local.stack import running_kafka, running_postgres


def test_a_broker_that_does_not_answer_is_named() -> None:
    port = free_port()
    with (
        pytest.raises(
            StackError, match=f"127.0.0.1:{port}, which the environment names for Kafka: start it, or"
        ),
        running_kafka(f"127.0.0.1:{port}"),
    ):
        pass


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    port = free_port()
    with (
        pytest.raises(
            StackError, match=f"127.0.0.1:{port}, which the environment names for Postgres"
        ) as raised,
        running_postgres(f"postgresql://u1:not-told@127.0.0.1:{port}/avoir"),
    ):
        pass
    assert "not-told" not in str(raised.value)
