"""How large an event can be at most, computed from its schema: a list or text without a limit fails here."""

import json
from typing import Any
from uuid import UUID

import pytest

from avoir.core.effects import apply
from avoir.core.model import commands
from avoir.core.model.decision import MAX_FACTS
from avoir.core.model.facts import Fact, Owner
from avoir.record import Record
from avoir.wire.dead_letters import dead_letter_record
from avoir.wire.outgoing import event_record
from avoir_events import EVENTS
from avoir_events.event_parts import MAX_SLICES
from avoir_events.json_schemas import json_schema
from avoir_events.patterns import AMOUNT, CURRENCY, HASH, TIME
from avoir_events.scalars import MAX_ID, MAX_TEXT
from tests.unit.core.world import World, cancelled

LIMIT = 900 * 1024
DEAD_LETTER = "credit-dead-letter"
A_CHARACTER = len(r"\u0001")
"""The most bytes that JSON takes for one character: a control character's escape, as NUL is not allowed."""
LENGTHS = {
    AMOUNT: len("-999999999999.999999"),
    CURRENCY: len("EUR"),
    HASH: 64,
    TIME: len("2026-06-02T08:30:00.184223+02:00"),
}
TOLD = {"asked", "facts"}
"""What `credit-declined` holds as it comes: test_what_a_refusal_tells_is_bounded says how much that is."""
MOST_WRITTEN = 16 * 1024


def most_bytes(schema: dict[str, Any], node: dict[str, Any]) -> int:
    """The most bytes of JSON that a value can have which fits a part of a schema."""
    if "$ref" in node:
        return most_bytes(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    choices = node.get("anyOf") or node.get("oneOf")
    if choices:
        return max(most_bytes(schema, choice) for choice in choices)
    if "const" in node or "enum" in node:
        return max(len(json.dumps(each)) for each in node.get("enum", [node.get("const")]))
    match node["type"]:
        case "string":
            length = LENGTHS.get(node.get("pattern", ""))
            return 2 + (A_CHARACTER * node["maxLength"] if length is None else length)
        case "integer":
            return len(str(node["maximum"]))
        case "boolean" | "null":
            return len("false")
        case "array":
            items: int = node["maxItems"]
            return 2 + items * (1 + most_bytes(schema, node["items"]))
        case "object":
            return 2 + sum(_of_field(schema, *field) for field in node["properties"].items())
    raise AssertionError(f"no length is known of {node}")


def _of_field(schema: dict[str, Any], name: str, node: dict[str, Any]) -> int:
    value = MOST_WRITTEN if name in TOLD else most_bytes(schema, node)
    return len(json.dumps({name: 0})) + value


@pytest.mark.parametrize("topic", sorted(EVENTS.keys() - {DEAD_LETTER}))
def test_no_event_can_be_larger_than_a_message_may_be(topic: str) -> None:
    schema = json_schema(topic)
    assert most_bytes(schema, schema) < LIMIT


def test_a_list_without_a_limit_is_noticed() -> None:
    schema = json_schema("credit-drawn")
    del schema["properties"]["slices"]["maxItems"]
    with pytest.raises(KeyError, match="maxItems"):
        most_bytes(schema, schema)


def test_the_core_tells_of_as_many_grants_at_once_as_the_contract_allows() -> None:
    assert apply.MAX_SLICES == MAX_SLICES


ACTOR = commands.Actor("admin", "\1" * MAX_ID)
OWNER = Owner("customer", "\1" * MAX_ID)
LONG_ID, LONG_TEXT = "\1" * MAX_ID, "\1" * MAX_TEXT


@pytest.mark.parametrize(
    "message",
    [
        commands.DrawCredit(ACTOR, OWNER, 10**18 - 1, "EUR", False, LONG_TEXT),
        commands.RefundCredit(ACTOR, OWNER, 10**18 - 1, "EUR", LONG_ID, LONG_TEXT),
        commands.ApplyCredit(ACTOR, OWNER, LONG_ID, "EUR", 10**18 - 1, LONG_ID),
        commands.ReinstateCredit(ACTOR, LONG_ID, LONG_TEXT),
        commands.VoidCredit(ACTOR, LONG_ID, LONG_TEXT),
        cancelled(LONG_ID),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_a_refusal_tells_is_bounded(message: commands.Command | Fact) -> None:
    world = World()
    decision = world.decide(LONG_ID, "06-02", message)
    assert decision.outcome == "declined"
    (event,) = world.events
    written = json.loads(event_record(event, "/avoir").value)
    for name in TOLD:
        assert len(json.dumps(written[name]).encode()) < MOST_WRITTEN
    assert len(json.dumps(decision.facts, ensure_ascii=False).encode()) <= MAX_FACTS


def test_a_dead_letter_adds_little_to_what_may_come_in() -> None:
    key, headers = b"k" * 1_000, (("name", b"v" * 1_000),)
    record = Record("set-credit-policy", 2**31 - 1, 2**63 - 1, 0, key, b"v" * (LIMIT - 2_004), headers)
    dead_letter = dead_letter_record(record, "\N{MUSICAL SYMBOL G CLEF}" * 500, UUID(int=0), LIMIT)
    assert dead_letter.value == record.value
    size = len(dead_letter.key or b"") + len(dead_letter.value or b"")
    size += sum(len(name) + len(value or b"") for name, value in dead_letter.headers)
    assert size < LIMIT + 4 * 1024
