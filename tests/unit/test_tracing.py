"""Spans go to the collector that the OTEL_ variables name, and a collector that is away delays nothing."""

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from threading import enumerate as enumerate_threads

import pytest

from avoir.process.tracing import tracing


@pytest.mark.slow
async def test_a_span_reaches_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        traces = tracing(True)
        with traces.span("batch"):
            pass
        await traces.close()
        server.shutdown()
        thread.join(5)
    assert [path for path, _ in received] == ["/v1/traces"]
    assert b"batch" in received[0][1]


@pytest.mark.slow
async def test_a_collector_that_is_away_delays_the_end_by_two_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    traces = tracing(True)
    with traces.span("batch"):
        pass
    begun = time.monotonic()
    await traces.close()
    assert time.monotonic() - begun < 3
    sending = [thread for thread in enumerate_threads() if thread.name == "last-spans"]
    for thread in sending:
        thread.join(2)
    assert not any(thread.is_alive() for thread in sending), "the exporter goes on trying"


async def test_without_the_setting_spans_do_nothing() -> None:
    traces = tracing(False)
    with traces.span("batch"):
        pass
    await traces.close()
