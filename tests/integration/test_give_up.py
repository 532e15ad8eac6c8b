"""A process that reaches Kafka but not Postgres leaves its partitions to another one, and comes back by itself."""

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from pydantic import SecretStr

from avoir.settings import Settings
from deploy.local.harness.service import ServiceProcess, settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from tests.integration.counting_handler import counting_process
from tests.integration.proxy import Proxy, proxy
from tests.integration.running import running, send, until_handled

GIVE_UP_S = 2.0


def through(settings: Settings, network: Proxy) -> Settings:
    """The same settings, with Postgres behind a proxy."""
    dsn = urlsplit(settings.postgres_dsn.get_secret_value())
    network.target_port = dsn.port or 5432
    user = f"{dsn.netloc.rpartition('@')[0]}@" if "@" in dsn.netloc else ""
    behind = dsn._replace(netloc=f"{user}127.0.0.1:{network.port}").geturl()
    return settings.model_copy(update={"postgres_dsn": SecretStr(behind)})


def assigned(service: ServiceProcess) -> list[int]:
    """How many partitions the process was given, each time."""
    return [line["count"] for line in service.lines() if line["event"] == "partitions assigned"]


async def answer(service: ServiceProcess, path: str) -> tuple[int, dict[str, str]]:
    """Status and checks."""
    got = await service.get(path)
    return (0, {}) if got is None else (got.status_code, got.json().get("checks", {}))


async def test_the_checks_take_two_seconds_where_the_network_swallows_everything(
    kafka: str, database: str, topic_prefix: str
) -> None:
    settings = settings_for(kafka, database, topic_prefix)
    await make_all_topics(settings)
    async with proxy() as network, running(through(settings, network)) as run:

        async def is_ready() -> bool:
            return set((await run.service.health.checks()).values()) == {"ok"}

        await until(is_ready, 30)
        network.swallow()
        for _ in range(4):
            begun = time.monotonic()
            checks = await run.service.health.checks()
            assert time.monotonic() - begun < 4
            assert checks["database"].startswith("not reachable")
        await network.mend()
        await until(is_ready, 30)


@pytest.mark.parametrize("refused", [False, True], ids=["black hole", "refused"])
async def test_a_process_without_the_database_leaves_its_partitions_to_the_other(
    kafka: str, database: str, topic_prefix: str, tmp_path: Path, refused: bool
) -> None:
    settings = settings_for(kafka, database, topic_prefix, give_up_s=GIVE_UP_S)
    await make_all_topics(settings)
    async with proxy() as network:
        with (
            counting_process(through(settings, network), tmp_path / "cut") as cut,
            counting_process(settings, tmp_path / "other") as other,
        ):
            await asyncio.gather(cut.ready(), other.ready())
            await until(
                lambda: bool(assigned(cut) and 0 < assigned(cut)[-1] < 30), 30, "both have partitions"
            )
            await send(settings, range(100))
            await until_handled(settings, 100, 30)
            if refused:
                await network.refuse()
            else:
                network.swallow()
            await send(settings, range(100, 300))
            await until_handled(settings, 300, 60)
            status, checks = await answer(cut, "/readyz")
            assert (status, checks["database"] == "ok") == (503, False)
            assert checks["group"].startswith("left: the database has not answered for")
            assert (await answer(cut, "/livez"))[0] == 200
            await other.ready()

            joined = len(assigned(cut))
            await network.mend()
            await cut.ready()
            await until(lambda: len(assigned(cut)) > joined and 0 < assigned(cut)[-1] < 30, 30)
            await send(settings, range(300, 400))
            await until_handled(settings, 400, 30)
            assert cut.process.poll() is None


async def test_a_consumer_that_cannot_leave_its_group_keeps_no_partitions(
    kafka: str, database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_ends(_: GroupCoordinator) -> None:
        await asyncio.sleep(600)

    settings = settings_for(kafka, database, topic_prefix)
    await make_all_topics(settings)
    async with running(settings) as first:
        await until(lambda: len(first.service.loop.assignment.positions or ()) == 30, 30)
        monkeypatch.setattr(GroupCoordinator, "close", never_ends)
    monkeypatch.undo()
    async with running(settings) as second:
        await until(lambda: len(second.service.loop.assignment.positions or ()) == 30, 30)
