"""OpenTelemetry: one span per batch if a setting enables it; not imported otherwise."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

_FLUSH_S = 2.0


@dataclass(frozen=True, slots=True)
class Tracing:
    """Functions that make spans, send the last ones, and stop trying to."""

    span: Callable[[str], AbstractContextManager[object]] = nullcontext
    flush: Callable[[], object] | None = None
    give_up: Callable[[], object] | None = None

    async def close(self) -> None:
        """Send the remaining spans, for at most two seconds."""
        if self.flush is not None:
            # An unreachable collector must not delay the end of the process.
            sending = threading.Thread(target=self.flush, name="last-spans", daemon=True)
            sending.start()
            await asyncio.to_thread(sending.join, _FLUSH_S)
        if self.give_up is not None:
            # Otherwise the exporter keeps retrying in its thread.
            self.give_up()


def tracing(on: bool) -> Tracing:
    """Spans that do nothing, or that are exported as the OTEL_ variables say."""
    if not on:
        return Tracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "avoir"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(
        provider.get_tracer("avoir").start_as_current_span, provider.force_flush, exporter.shutdown
    )
