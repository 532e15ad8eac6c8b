"""The generated half of the contract is what the models give, and agrees with them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from avoir_events.examples import EXAMPLES
from avoir_events.generate import FOLDER, VERSION, differing, generated, main
from avoir_events.json_schemas import MODELS, json_schema

TOPICS = sorted(MODELS)


def test_generated_files_are_up_to_date() -> None:
    assert differing(FOLDER) == []


@pytest.mark.slow
def test_check_names_the_files_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path)]) == 0
    assert main(["--folder", str(tmp_path), "--check"]) == 0
    (tmp_path / "json" / "void-credit.schema.json").write_text("{}")
    (tmp_path / "json" / "gone.schema.json").write_text("{}")
    (tmp_path / "asyncapi.json").unlink()
    assert main(["--folder", str(tmp_path), "--check"]) == 1
    errors = capsys.readouterr().err
    assert [line.split()[0] for line in errors.splitlines()] == [
        "asyncapi.json",
        "json/gone.schema.json",
        "json/void-credit.schema.json",
    ]
    assert main(["--folder", str(tmp_path)]) == 0
    assert differing(tmp_path) == []


def test_generating_twice_gives_the_same_files() -> None:
    assert generated() == generated()


def test_the_document_has_the_version_of_the_package() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


@pytest.mark.parametrize("topic", TOPICS)
def test_every_example_is_valid_for_its_model_and_its_schema(topic: str) -> None:
    schema = json_schema(topic)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(EXAMPLES[topic])
    MODELS[topic].model_validate(EXAMPLES[topic])
    assert schema["examples"] == [EXAMPLES[topic]]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_example_shows_every_required_field_and_every_field_is_described(topic: str) -> None:
    schema = json_schema(topic)
    assert set(schema["required"]) <= set(EXAMPLES[topic]) <= set(schema["properties"])
    for owner in (schema, *schema.get("$defs", {}).values()):
        bare = [name for name, field in owner.get("properties", {}).items() if not field.get("description")]
        assert not bare


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for item in node for found in references(item)] if isinstance(node, list) else []


def test_the_asyncapi_document_has_every_topic_and_no_dangling_reference() -> None:
    document = json.loads(generated()[Path("asyncapi.json")])
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == set(MODELS) == set(document["components"]["messages"])
    actions = {name: operation["action"] for name, operation in document["operations"].items()}
    assert sum(action == "receive" for action in actions.values()) == 15
    assert sum(action == "send" for action in actions.values()) == 14
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_events_carry_cloudevents_headers_and_a_key_that_is_described() -> None:
    messages = json.loads(generated()[Path("asyncapi.json")])["components"]["messages"]
    issued = messages["credit-issued"]
    assert issued["headers"]["properties"]["ce_type"] == {"const": "avoir.credit-issued.v1"}
    assert "percent-encoded" in issued["bindings"]["kafka"]["key"]["description"]
    dead = messages["credit-dead-letter"]
    assert dead["headers"] == {"$ref": "#/components/schemas/credit-dead-letter"}


def test_the_readme_shows_code_that_runs() -> None:
    shown = re.search(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert shown
    exec(shown[1], {})
