"""The AsyncAPI 3.0 document: every topic with its sender, key, headers and value."""

from typing import Any, Final

from avoir_events.examples import EXAMPLES
from avoir_events.json_schemas import JsonSchema, json_schema
from avoir_events.topics import COMMANDS, EVENTS, FACTS

DEAD_LETTER: Final = "credit-dead-letter"

_KEY_IN: Final = "Chosen by the producer; Avoir does not depend on it."
_KEY_OUT: Final = (
    "tenant_id/owner.type/owner.id/currency, each part percent-encoded; "
    "tenant_id alone if no account is concerned."
)
_KEY_DEAD: Final = "The key of the message that could not be handled."
_HEADERS_IN: Final[JsonSchema] = {
    "type": "object",
    "description": (
        "No header is required. In CloudEvents 1.0 binary mode, ce_id and ce_time (or ce-id and ce-time) replace a "
        "missing event_id and occurred_at; those that are given must agree. In structured mode (content-type "
        "application/cloudevents+json) the message is the envelope's data."
    ),
    "properties": {
        "content-type": {"type": "string", "examples": ["application/json", "application/cloudevents+json"]},
        "ce_id": {"type": "string", "description": "Replaces a missing event_id."},
        "ce_time": {
            "type": "string",
            "format": "date-time",
            "description": "Replaces a missing occurred_at.",
        },
    },
}


def _headers_out(topic: str) -> JsonSchema:
    moment = "as_of" if topic == "credit-balance" else "occurred_at"
    properties: JsonSchema = {
        "content-type": {"const": "application/json"},
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "The event's id, the same however often it is published."},
        "ce_source": {"type": "string", "description": "The sender, set by the operator."},
        "ce_type": {"const": f"avoir.{topic}.v1"},
        "ce_time": {"type": "string", "format": "date-time", "description": f"The body's {moment}."},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


class _Document:
    """Collects the parts of the document, and the definitions that messages share."""

    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}
        self.schemas: dict[str, Any] = {}

    def add(self, topic: str, action: str, kind: str) -> None:
        """Add a topic with its channel, operation and message."""
        schema = self._shared(json_schema(topic))
        self.schemas[topic] = schema
        summary = schema["description"].split(". ")[0].rstrip(".")
        reference = {"$ref": f"#/components/messages/{topic}"}
        self.channels[topic] = {
            "address": topic,
            "description": f"{schema['description']} The topic can be renamed by a setting.",
            "messages": {topic: reference},
        }
        self.operations[f"{action}-{topic}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic}"},
            "summary": summary,
            "tags": [{"name": kind}],
            "messages": [{"$ref": f"#/channels/{topic}/messages/{topic}"}],
        }
        self.messages[topic] = _message(topic, action, summary)

    def _shared(self, schema: JsonSchema) -> JsonSchema:
        body = {name: value for name, value in schema.items() if name not in ("$schema", "$id", "$defs")}
        for name, definition in schema.get("$defs", {}).items():
            shared = _with_references(definition)
            if self.schemas.setdefault(name, shared) != shared:
                raise ValueError(f"two definitions are called {name}")
        return dict(_with_references(body))


def _with_references(node: Any) -> Any:
    """A schema whose references lead to the document's shared definitions."""
    if isinstance(node, list):
        return [_with_references(item) for item in node]
    if isinstance(node, dict):
        return {name: _with_references(value) for name, value in node.items()}
    return node.replace("#/$defs/", "#/components/schemas/") if isinstance(node, str) else node


def _message(topic: str, action: str, summary: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{topic}"}
    key = {"type": "string", "description": _KEY_IN if action == "receive" else _KEY_OUT}
    message = {"name": topic, "summary": summary, "contentType": "application/json"}
    if topic == DEAD_LETTER:
        return message | {
            "contentType": "application/octet-stream",
            "headers": schema,
            "payload": {"description": "The original value; null if it was above the size limit."},
            "bindings": _kafka({"type": "string", "description": _KEY_DEAD}),
        }
    headers = _HEADERS_IN if action == "receive" else _headers_out(topic)
    return message | {
        "headers": headers,
        "payload": schema,
        "bindings": _kafka(key),
        "examples": [{"payload": EXAMPLES[topic]}],
    }


def _kafka(key: JsonSchema) -> dict[str, Any]:
    return {"kafka": {"key": key, "bindingVersion": "0.5.0"}}


def asyncapi(version: str) -> dict[str, Any]:
    """The whole document, from Avoir's point of view: it receives facts and commands, and sends events."""
    document = _Document()
    for kind, topics, action in (
        ("fact", FACTS, "receive"),
        ("command", COMMANDS, "receive"),
        ("event", EVENTS, "send"),
    ):
        for topic in topics:
            document.add(topic, action, kind)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Avoir",
            "version": version,
            "description": "Keeps track of customer credit for a booking business: facts in, events out.",
        },
        "defaultContentType": "application/json",
        "channels": document.channels,
        "operations": document.operations,
        "components": {"messages": document.messages, "schemas": document.schemas},
    }
