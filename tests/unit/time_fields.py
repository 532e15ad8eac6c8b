"""Every field of a message in that holds a time, found in the models, with a message that has it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, get_args

from avoir_events import COMMANDS, FACTS, Part
from avoir_events.examples import EXAMPLES

MODELS: dict[str, type[Part]] = {**FACTS, **COMMANDS}
PERIOD = {"start": "2026-05-30T09:00:00Z", "end": "2026-05-30T13:00:00Z"}
PRICES = ("billed_price", "remaining_price", "currency")
BY_PERIODS = {
    **{name: value for name, value in EXAMPLES["booking-shortened"].items() if name not in PRICES},
    "billed_period": PERIOD,
    "remaining_period": PERIOD,
}
MESSAGES = [*((topic, EXAMPLES[topic]) for topic in MODELS), ("booking-shortened", BY_PERIODS)]
"""A message of every topic, and of that which has two forms both."""

Path = tuple[str | int, ...]


class TimeField(NamedTuple):
    """A time in a message, by the way to it."""

    topic: str
    message: dict[str, Any]
    path: Path

    @property
    def name(self) -> str:
        """The way to it as problems spell it."""
        return ".".join(map(str, self.path))

    def holding(self, time: str) -> dict[str, Any]:
        """The message with another time there."""
        changed: dict[str, Any] = _with(self.message, self.path, time)
        return changed


def _with(value: Any, path: Path, time: str) -> Any:
    if not path:
        return time
    first, *rest = path
    if isinstance(value, list):
        return [_with(each, tuple(rest), time) if n == first else each for n, each in enumerate(value)]
    return value | {first: _with(value.get(first), tuple(rest), time)}


def time_fields() -> list[TimeField]:
    """All of them, each once."""
    found = {
        (topic, path): TimeField(topic, message, path)
        for topic, message in MESSAGES
        for _, path in _in_message(MODELS[topic], message)
    }
    return list(found.values())


def found_in_messages() -> set[tuple[type[Part], str]]:
    """Where the messages here have times: models and fields."""
    return {place for topic, message in MESSAGES for place, _ in _in_message(MODELS[topic], message)}


def declared() -> set[tuple[type[Part], str]]:
    """Where the models have times."""
    return {place for model in MODELS.values() for place in _in_model(model)}


def _in_model(model: type[Part]) -> Iterator[tuple[type[Part], str]]:
    for name, field in model.model_fields.items():
        for leaf in _leaves(field.annotation):
            if leaf is datetime:
                yield model, name
            elif isinstance(leaf, type) and issubclass(leaf, Part):
                yield from _in_model(leaf)


def _in_message(model: type[Part], value: dict[str, Any]) -> Iterator[tuple[tuple[type[Part], str], Path]]:
    for name, field in model.model_fields.items():
        held = value.get(name)
        for leaf in _leaves(field.annotation):
            if leaf is datetime:
                yield (model, name), (name,)
            elif isinstance(leaf, type) and issubclass(leaf, Part):
                items = enumerate(held) if isinstance(held, list) else [(None, held)]
                for n, item in items:
                    if isinstance(item, dict) and _is_one(leaf, item):
                        for place, path in _in_message(leaf, item):
                            yield place, (name, *(() if n is None else (n,)), *path)


def _is_one(model: type[Part], value: dict[str, Any]) -> bool:
    kind = model.model_fields.get("kind")
    return kind is None or value.get("kind") in get_args(kind.annotation)


def _leaves(annotation: Any) -> Iterator[Any]:
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _leaves(part)
