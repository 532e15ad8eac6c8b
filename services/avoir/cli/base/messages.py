"""Files of messages, one JSON object per line: read in bounded memory, validated before sending."""

import json
import os
import shutil
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

from pydantic import ValidationError

from avoir.cli.base.exits import refuse
from avoir.wire.commands import policy_keys
from avoir.wire.nearest import did_you_mean
from avoir_events import COMMANDS, FACTS, Policy, describe, read, read_json

KEY_FIELDS = ("booking_id", "plan_id", "invoice_id", "payment_id", "application_id", "grant_id")
INCOMING = {**FACTS, **COMMANDS}


class Outgoing(NamedTuple):
    """A message to publish; `topic` is the default name, `line` its place in the file."""

    line: int
    topic: str
    key: bytes | None
    value: bytes


class Problem(NamedTuple):
    """A problem in a line."""

    line: int
    problem: str


class PolicyGiven(NamedTuple):
    """Policy keys from the command line, as core values and as message fields."""

    keys: Mapping[str, Any]
    fields: Mapping[str, Any]


def read_policy(given: Sequence[str]) -> PolicyGiven:
    """Parse keys and values such as `unpaid_change=never`; validated like `set-credit-policy`."""
    values: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if key not in Policy.model_fields or not equals:
            refuse(f"--policy {text}: write key=value. The keys are {', '.join(Policy.model_fields)}.")
        if key in values:
            refuse(f"--policy {text}: {key} is given twice.")
        values[key] = _policy_value(key, value)
    try:
        policy = Policy.model_validate(values)
    except ValidationError as error:
        refuse(f"--policy {describe(error)}")
    return PolicyGiven(policy_keys(policy), policy.model_dump(mode="json"))


def _policy_value(key: str, text: str) -> Any:
    plain = {"none": None, "true": True, "false": False}
    if text in plain:
        return plain[text]
    is_number = key == "expires_after_days" and text.isascii() and text.isdigit()
    return int(text) if is_number else text


@contextmanager
def open_messages(file: str) -> Iterator[BinaryIO]:
    """Open the file, or standard input for `-`; it can be read several times."""
    if file == "-":
        # A pipe can't be read twice: lines are all checked before the first is sent.
        with TemporaryFile() as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            kept.seek(0)
            yield kept
        return
    if not Path(file).is_file() or not os.access(file, os.R_OK):
        refuse(f"{file} can't be read as a file.")
    with Path(file).open("rb") as opened:
        yield opened


def lines_of(file: BinaryIO, topic: str | None, *, raw: bool) -> Iterator[Outgoing | Problem]:
    """Each line as a message or a problem; without a topic, each line has its own: {"topic": ..., "value": ...}.

    A byte order mark at the beginning of the file is skipped.
    """
    file.seek(0)
    for number, line in enumerate(file, 1):
        body = (line.removeprefix(BOM_UTF8) if number == 1 else line).strip()
        if body:
            yield _message(number, topic, body, raw=raw)


def _message(number: int, topic: str | None, body: bytes, *, raw: bool) -> Outgoing | Problem:
    if topic is None:
        envelope = _object(body)
        if not {"topic", "value"} <= envelope.keys():
            return Problem(number, 'must be {"topic": ..., "value": ...}')
        topic = str(envelope["topic"])
        if topic not in INCOMING:
            return Problem(number, f"topic: Avoir does not read {topic!r}.{did_you_mean(topic, INCOMING)}")
        body = json.dumps(envelope["value"], ensure_ascii=False, separators=(",", ":")).encode(
            errors="surrogatepass"
        )
    problem = None if raw else _problem(topic, body)
    return Problem(number, problem) if problem else Outgoing(number, topic, _key(_object(body)), body)


def _problem(topic: str, body: bytes) -> str | None:
    try:
        read(INCOMING[topic], body)
    except ValidationError as error:
        return describe(error)
    return None


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = read_json(body)
    except ValidationError:
        return {}
    return value if isinstance(value, dict) else {}


def _key(message: Mapping[str, Any]) -> bytes | None:
    """Key of a message: the id of what it is about, so that changes to it share a partition.

    Avoir does not depend on it.
    """
    for field in KEY_FIELDS:
        if isinstance(message.get(field), str):
            return str(message[field]).encode(errors="surrogatepass")
    return None
