"""Writes docs/settings.md from the settings of the service: python -m tools.settings.

It has each setting's environment variable, meaning, default, unit and bounds.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from avoir.settings import KafkaSettings, PolicySettings, Settings
from tools.document import ROOT, write_or_check

DOCUMENT = ROOT / "docs/settings.md"
HEAD = """\
# Settings

<!-- written by `python -m tools.settings` from services/avoir/settings.py -->

Settings are environment variables. Unknown ones are ignored; a missing or invalid one ends the program with exit code 2
and an error that names it. Values marked as secret are never shown or logged. [operators.md](operators.md#setting-up)
says how they work together.
"""
UNITS = {
    "_ms": "ms",
    "_s": "s",
    "_bytes": "bytes",
    "_days": "days",
    "_rows": "rows",
    "_records": "messages",
    "_partitions": "partitions",
    "_replication": "replicas",
    "_pool_size": "connections",
    "_port": "",
}


def document() -> str:
    """The page, with a table for each group of settings, in Markdown."""
    kafka, policies = KafkaSettings.model_fields, PolicySettings.model_fields
    others = {name: field for name, field in Settings.model_fields.items() if name not in {*kafka, *policies}}
    groups = {"Kafka and the relay": kafka, "Policies": policies, "Postgres, HTTP and the process": others}
    return "\n".join([HEAD, *(_section(title, fields) for title, fields in groups.items())])


def _section(title: str, fields: Mapping[str, FieldInfo]) -> str:
    rows = "\n".join(_row(name, field) for name, field in fields.items())
    return f"## {title}\n\n| variable | meaning | default | unit | values |\n| --- | --- | --- | --- | --- |\n{rows}\n"


def _row(name: str, field: FieldInfo) -> str:
    is_number = {int, float} & {field.annotation, *get_args(field.annotation)}
    values, unit = (_bounds(field), _unit(name)) if is_number else (_values(field), "")
    cells = (f"`AVOIR_{name.upper()}`", field.description or "", _default(field), unit, values)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "not set"
    value = str(field.default).lower() if isinstance(field.default, bool) else f"{field.default}"
    return f"`{value.removesuffix('.0')}`" if value else "empty"


def _values(field: FieldInfo) -> str:
    types = get_args(field.annotation) or (field.annotation,)
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in types)
    if bool in types:
        return "`true`, `false`"
    return "secret" if SecretStr in types else ""


def _bounds(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for each in field.metadata:
        bounds |= {key: f"{getattr(each, key):,}" for key in ("ge", "gt", "le") if hasattr(each, key)}
    lowest = f"above {bounds['gt']}" if "gt" in bounds else f"at least {bounds['ge']}"
    if "le" not in bounds:
        return lowest
    return f"{lowest}, at most {bounds['le']}" if "gt" in bounds else f"{bounds['ge']} to {bounds['le']}"


def _unit(name: str) -> str:
    """A setting's unit, from the end of its name; ValueError for a number whose name doesn't end with one."""
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return unit
    raise ValueError(f"{name} is a number: end its name with a unit")


if __name__ == "__main__":
    write_or_check(DOCUMENT, lambda _: document(), "python -m tools.settings")
