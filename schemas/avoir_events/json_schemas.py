"""The JSON Schema (2020-12) of every message, generated from its model."""

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from avoir_events.examples import EXAMPLES
from avoir_events.parts import Part
from avoir_events.topics import COMMANDS, EVENTS, FACTS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MODELS: Final[dict[str, type[Part]]] = {**FACTS, **COMMANDS, **EVENTS}

JsonSchema = dict[str, Any]


class _Plain(GenerateJsonSchema):
    """Leaves out what adds nothing: titles made from field names, and OpenAPI's discriminator."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> JsonSchema:
        return dict(_without_discriminators(super().generate(schema, mode)))


def _without_discriminators(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_discriminators(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_discriminators(value)
        for name, value in node.items()
        if not (name == "discriminator" and "oneOf" in node)
    }


def json_schema(topic: str) -> JsonSchema:
    """The JSON Schema of a topic's message, with its example."""
    schema = MODELS[topic].model_json_schema(schema_generator=_Plain)
    schema.pop("title", None)
    head = {"$schema": DIALECT, "$id": f"urn:avoir:{topic}:v1", "title": topic}
    return head | schema | {"examples": [EXAMPLES[topic]]}
