"""JSON log lines on standard output; lines that libraries repeat are limited."""

import logging
import sys
import time

import structlog
from structlog.typing import Processor

from avoir.record import BatchReport

_INTERVAL_S = 10.0
_MAX_REMEMBERED = 500


class RepeatLimit(logging.Filter):
    """Lets one line of a kind pass every ten seconds: in an outage aiokafka writes a thousand a second."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self._passed: dict[tuple[str, int], float] = {}
        self._held_back: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide whether the line is written; if so, it gets the number of similar lines left out before it."""
        if not record.name.startswith(self.names):
            return True
        kind = (record.pathname, record.lineno)
        now = time.monotonic()
        if now < self._passed.get(kind, -_INTERVAL_S) + _INTERVAL_S:
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return False
        if len(self._passed) > _MAX_REMEMBERED:
            self._passed.clear()
        self._passed[kind] = now
        record.held_back = self._held_back.pop(kind, 0)
        return True


def _add_held_back(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    record = event.get("_record")
    if held_back := getattr(record, "held_back", 0):
        event["like_it_held_back"] = held_back
    return event


def configure_logs(level: str) -> None:
    """Send structlog's lines and those of libraries to standard output, one JSON object each."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _add_held_back],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    libraries = RepeatLimit(("aiokafka", "asyncio", "faststream", "uvicorn"))
    for name in libraries.names:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    handler.addFilter(libraries)


def log_report(log: structlog.stdlib.BoundLogger, what: str, report: BatchReport, **facts: object) -> None:
    """Log one line for the batch, and one for each notable message."""
    decisions: dict[str, int] = {}
    for (_, outcome), count in report.decisions.items():
        decisions[outcome] = decisions.get(outcome, 0) + count
    log.info(what, messages=report.messages, statements=report.statements, decisions=decisions, **facts)
    for notable in report.notable:
        level = log.error if notable.outcome == "parked" else log.info
        level("message " + notable.outcome, **notable._asdict())
    for alarm, count in report.alarms.items():
        log.warning("alarm", alarm=alarm, count=count)
