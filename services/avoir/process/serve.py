"""`avoir serve`: the process, its HTTP endpoints and its signals."""

import asyncio
import gc
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
import uvloop
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from avoir.process.health import OK
from avoir.process.http_limits import MAX_CONNECTIONS, BoundedProtocol, Shared
from avoir.process.logs import configure_logs
from avoir.process.service import Service
from avoir.process.wiring import MakeHandler, build, credit_handler
from avoir.retry import pause
from avoir.settings import Settings

_COLLECT_EVERY_S = 10.0

log = structlog.get_logger("avoir.serve")


def serve(settings: Settings, make_handler: MakeHandler = credit_handler) -> int:
    """Run the service until SIGTERM or SIGINT; the exit status is 0 unless a part failed."""
    configure_logs(settings.log_level)
    return uvloop.run(_serve(settings, make_handler))


async def _serve(settings: Settings, make_handler: MakeHandler) -> int:
    service, stopping = build(settings, make_handler), asyncio.Event()
    server = _Server(
        uvicorn.Config(
            application(service),
            host=settings.http_host,
            port=settings.http_port,
            lifespan="off",
            http=BoundedProtocol,
            ws="none",
            # One request per connection: the lifetime limit could end a kept-alive one in the middle of a request.
            headers=[("connection", "close")],
            backlog=MAX_CONNECTIONS,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
        ),
        stopping,
    )
    # HTTP starts first: while the process waits for what it needs, it says that it lives and what it waits for.
    working = asyncio.create_task(service.run(stopping))
    working.add_done_callback(lambda _: server.end())
    collecting = asyncio.create_task(_collect_garbage(stopping))
    await server.serve()
    stopping.set()
    await asyncio.gather(working, collecting)
    log.info("ended", fault=service.fault or None)
    return 1 if service.fault else 0


async def _collect_garbage(stopping: asyncio.Event) -> None:
    """Collect garbage by the clock: by allocation count it costs 6 to 12 % (ADR 0014)."""
    gc.freeze()
    gc.disable()
    while not stopping.is_set():
        await pause(_COLLECT_EVERY_S, stopping)
        gc.collect()


def application(service: Service) -> AsgiFastStream:
    """Serve /livez, /readyz and /metrics; simultaneous requests share an answer."""

    async def measure() -> bytes:
        return generate_latest(service.metrics.registry)

    checks, measures = Shared(service.health.checks), Shared(measure)

    @get(include_in_schema=False)
    async def livez(_scope: Any) -> AsgiResponse:
        return _json(200, {"alive": True})

    @get(include_in_schema=False)
    async def readyz(_scope: Any) -> AsgiResponse:
        results = await checks.get()
        ready = all(answer == OK for answer in results.values())
        service.metrics.ready.set(ready)
        content = {"ready": ready, "says": service.health.sentence(results), "checks": results}
        return _json(200 if ready else 503, content)

    @get(include_in_schema=False)
    async def metrics(_scope: Any) -> AsgiResponse:
        return AsgiResponse(await measures.get(), 200, {"content-type": CONTENT_TYPE_LATEST})

    return AsgiFastStream(
        service.broker,
        asgi_routes=[("/livez", livez), ("/readyz", readyz), ("/metrics", metrics)],
        logger=None,
    )


def _json(status: int, content: dict[str, object]) -> AsgiResponse:
    return AsgiResponse(json.dumps(content).encode(), status, {"content-type": "application/json"})


class _Server(uvicorn.Server):
    """A server that, unlike uvicorn's, doesn't raise the signal again at its end: the exit status would be 143."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def end(self) -> None:
        """Stop taking requests, and the service with it."""
        self._stopping.set()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.end)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
