"""What the broker had refused is sent again: events as they were, balances as they stand now."""

import json
from typing import Any

import pytest

from avoir.cli.base.exits import Exit
from avoir.cli.outbox import retry as outbox
from avoir.cli.outbox.retry import retry_refused
from avoir.postgres import queries
from deploy.local.harness.databases import connection_to
from tests.integration.command import Command
from tests.integration.delivery import delivering
from tests.integration.outbox_rows import add_outbox
from tests.unit.core.world import cancelled, invoice, line, message

TOO_LARGE = "MessageSizeTooLargeError: 10"


async def refused(connection: Any) -> None:
    await connection.execute("UPDATE outbox SET refused = $1", TOO_LARGE)


async def waiting(connection: Any) -> list[tuple[str, int, str | None]]:
    rows = await connection.fetch("SELECT topic, value, refused FROM outbox ORDER BY outbox_id")
    return [(row["topic"], json.loads(row["value"])["seq"], row["refused"]) for row in rows]


async def test_a_balance_that_was_refused_goes_out_as_it_stands_now(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        bill = invoice("i1", line("l1", "100", booking="b1"), line("l2", "50", booking="b2"), paid="150")
        await deliverer.deliver([message("f1", "06-01", bill), message("c1", "06-02", cancelled("b1"))])
        async with kept.use() as connection:
            await refused(connection)
        await deliverer.deliver([message("c2", "06-03", cancelled("b2"))])
        async with kept.use() as connection:
            await connection.execute("DELETE FROM outbox WHERE refused IS NULL")
            assert await waiting(connection) == [
                ("credit-issued", 1, TOO_LARGE),
                ("credit-balance", 1, TOO_LARGE),
            ]
            assert await retry_refused(connection, "/avoir") == (1, 1)
            assert await waiting(connection) == [("credit-issued", 1, None), ("credit-balance", 2, None)]
            assert await retry_refused(connection, "/avoir") == (0, 0)


async def test_a_balance_that_is_refused_meanwhile_stays_refused(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        bill = invoice("i1", line("l1", "100", booking="b1"), paid="100")
        await deliverer.deliver([message("f1", "06-01", bill), message("c1", "06-02", cancelled("b1"))])
        async with kept.use() as connection:
            await refused(connection)
            assert await connection.fetchval(*queries.retry_refused(except_topic="credit-balance")) == 1
            assert await waiting(connection) == [("credit-issued", 1, None), ("credit-balance", 1, TOO_LARGE)]


async def test_many_refused_balances_of_an_account_become_one(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ACCOUNTS_AT_A_TIME", 1)
    async with delivering(database) as (deliverer, kept):
        bill = invoice("i1", *(line(f"l{n}", "10", booking=f"b{n}") for n in range(3)), paid="30")
        await deliverer.deliver([message("f1", "06-01", bill)])
        for n in range(3):
            await deliverer.deliver([message(f"c{n}", "06-02", cancelled(f"b{n}"))])
        async with kept.use() as connection:
            await refused(connection)
            assert await retry_refused(connection, "/avoir") == (3, 1)
            assert (await waiting(connection))[-1] == ("credit-balance", 3, None)


async def test_a_refused_row_is_listed_whatever_its_key_is(
    command: Command, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)
    odd = b"[/x]\x1b[31m"
    await add_outbox(database, [("credit-dead-letter", odd, b"1"), ("credit-dead-letter", None, b"2")])
    async with connection_to(database) as connection:
        await refused(connection)
    words = await command.text("outbox", "list", code=Exit.FOUND)
    assert "credit-dead-letter of [/x]\\x1b[31m, 1 bytes" in words
    assert "credit-dead-letter of no key, 1 bytes" in words


async def test_an_operator_lists_what_was_refused_and_sends_it_again(
    command: Command, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)
    assert "has not refused any event" in await command.text("outbox", "list")
    async with delivering(database) as (deliverer, kept):
        bill = invoice("i1", line("l1", "100", booking="b1"), paid="100")
        await deliverer.deliver([message("f1", "06-01", bill), message("c1", "06-02", cancelled("b1"))])
        async with kept.use() as connection:
            await refused(connection)
            size = await connection.fetchval("SELECT octet_length(value) FROM outbox LIMIT 1")
    listed = (await command.json("outbox", "list", code=Exit.FOUND))["refused"]
    assert [(each["topic"], each["key"], each["refused"]) for each in listed] == [
        (topic, "t1/user/u1/EUR", TOO_LARGE) for topic in ("credit-issued", "credit-balance")
    ]
    words = await command.text("outbox", "list", code=Exit.FOUND)
    assert f"credit-issued of t1/user/u1/EUR, {size} bytes: {TOO_LARGE}" in words
    assert len((await command.json("outbox", "list", "--limit", "1", code=Exit.FOUND))["refused"]) == 1
    assert await command.json("outbox", "retry") == {"records": 1, "balances": 1}
    assert "0 event(s) unchanged and 0 current balance(s)" in await command.text("outbox", "retry")
    assert await command.json("outbox", "list") == {"refused": []}
