"""`avoir serve` as a process: health, metrics, log lines and its end."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import produce
from deploy.local.harness.service import environment_of, service_process, settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from tests.integration.counting_handler import counting_process


@pytest.fixture
def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    return settings_for(kafka, database, topic_prefix)


async def test_it_says_when_it_is_ready_counts_and_ends_with_0(settings: Settings, tmp_path: Path) -> None:
    names = await make_all_topics(settings)
    with counting_process(settings, tmp_path / "log") as service:
        await service.ready()
        live = await service.get("/livez")
        assert live is not None
        assert live.status_code == 200
        fact = names.actual("booking-cancelled")
        messages = [(fact, b"k", b"%d" % n) for n in range(20)] + [(fact, b"k", b"park-1")]
        await produce(settings.kafka_bootstrap_servers, messages)

        async def counted() -> bool:
            answer = await service.get("/metrics")
            return (
                answer is not None
                and 'avoir_messages_total{outcome="issued",topic="tally"} 20.0' in answer.text
            )

        await until(counted, 10, "the messages are counted")
        answer = await service.get("/metrics")
        assert answer is not None
        assert 'avoir_credit_total{currency="EUR",event="credit-issued"} 21.0' in answer.text
        assert (await service.get("/nothing") or live).status_code == 404
        service.signal(signal.SIGTERM)
        assert await service.ended(10) == 0
        events = [line["event"] for line in service.lines()]
        assert "batch" in events
        parked = next(line for line in service.lines() if line["event"] == "message parked")
        assert (parked["event_id"], parked["level"]) == ("park-1", "error")


async def test_it_starts_while_everything_is_away_and_can_be_ended(
    settings: Settings, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with counting_process(away, tmp_path / "log") as service:

        async def lives() -> bool:
            return await service.get("/livez") is not None

        await until(lives, 15)
        await until(lambda: any("broker not usable" in line["event"] for line in service.lines()), 15)
        service.signal(signal.SIGTERM)
        assert await service.ended(10) == 0


async def test_a_process_that_stands_still_ends_with_an_error(settings: Settings, tmp_path: Path) -> None:
    names = await make_all_topics(settings)
    stuck = (
        "import sys; from avoir.process.serve import serve; from avoir.settings import Settings;"
        " from tests.integration.counting_handler import CountingHandler\n"
        "class Stuck(CountingHandler):\n"
        "    async def handle(self, records, positions): raise KeyError('a fault that does not go away')\n"
        "settings = Settings().model_copy(update={'stuck_after_s': 2.0})\n"
        "sys.exit(serve(settings, Stuck))"
    )
    with service_process(
        environment_of(settings), tmp_path / "log", (sys.executable, "-c", stuck)
    ) as service:
        await service.ready()
        await produce(settings.kafka_bootstrap_servers, [(names.actual("invoice-voided"), b"k", b"1")])
        assert await service.ended(20) == 1
        assert any("nothing has moved" in line.get("why", "") for line in service.lines())


async def test_the_real_handler_is_wired(settings: Settings, tmp_path: Path) -> None:
    names = await make_all_topics(settings)
    with service_process(environment_of(settings), tmp_path / "log") as service:
        await service.ready()
        await produce(settings.kafka_bootstrap_servers, [(names.actual("invoice-voided"), b"k", b"no JSON")])

        async def dead_lettered() -> bool:
            async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
                return bool(await connection.fetchval("SELECT count(*) = 1 FROM dead_letters"))

        await until(dead_lettered, 10, "the message is a dead letter")
        service.signal(signal.SIGTERM)
        assert await service.ended(10) == 0


def test_tracing_is_not_imported_unless_it_is_on() -> None:
    code = "import sys, avoir.process.serve; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


async def test_expiry_runs_in_batches_until_nothing_is_left(settings: Settings) -> None:
    from avoir.postgres.connect import KeptConnection
    from avoir.process.housekeeping import Housekeeping
    from avoir.process.wiring import database_of
    from avoir.record import BatchReport
    from tests.integration.counting_handler import CountingHandler

    reports: list[BatchReport] = []
    database, stopping = database_of(settings), asyncio.Event()
    handlers = [CountingHandler(settings, KeptConnection(database)) for _ in range(2)]
    handlers[0].to_expire = 25
    parts = [
        Housekeeping(database, handler, name, interval_s=0.05, rows=10, done=reports.append)
        for handler, name in zip(handlers, ("one", "two"), strict=True)
    ]
    first = asyncio.create_task(parts[0].run(stopping))
    await until(lambda: len(reports) == 3)
    handlers[1].to_expire = 5
    second_stops = asyncio.Event()
    second = asyncio.create_task(parts[1].run(second_stops))
    await asyncio.sleep(0.3)
    assert [report.messages for report in reports] == [10, 10, 5]
    stopping.set()
    await first
    await until(lambda: len(reports) == 4)
    second_stops.set()
    await second
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_inherits") > 4


async def test_expiry_goes_on_where_partitions_cannot_be_made(settings: Settings) -> None:
    from avoir.postgres.connect import KeptConnection
    from avoir.process.housekeeping import Housekeeping
    from avoir.process.wiring import database_of
    from avoir.record import BatchReport
    from tests.integration.counting_handler import CountingHandler

    reports: list[BatchReport] = []
    database, stopping = database_of(settings), asyncio.Event()
    handler = CountingHandler(settings, KeptConnection(database))
    handler.to_expire = 5
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(
            "CREATE OR REPLACE FUNCTION ensure_partitions(months_ahead integer DEFAULT 2) RETURNS integer"
            " LANGUAGE plpgsql AS $$ BEGIN RAISE duplicate_table USING MESSAGE = 'it is there'; END $$"
        )
    expiry = Housekeeping(database, handler, "one", interval_s=0.05, rows=10, done=reports.append)
    task = asyncio.create_task(expiry.run(stopping))
    with capture_logs() as logs:
        await until(lambda: len(reports) == 2)
        handler.to_expire = 7
        await until(lambda: len(reports) == 3)
    stopping.set()
    await task
    assert [(report.messages, dict(report.alarms)) for report in reports] == [
        (0, {"partitions_failed": 1}),
        (5, {}),
        (7, {}),
    ]
    assert [line["error"] for line in logs if "partitions" in line["event"]] == [
        "DuplicateTableError: it is there"
    ]
