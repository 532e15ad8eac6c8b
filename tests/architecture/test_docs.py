"""That what the docs say fits the code: links, topics, fields, reasons, settings, metrics, the ledger's example."""

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest

from avoir.cli.app import app
from avoir.core.model.decision import Outcome
from avoir.core.model.events import AccountKey
from avoir.core.model.ledger import GENESIS, GRANT_BUCKETS, Entry, entry_hash
from avoir.core.model.reasons import Reason
from avoir.process.metrics import Metrics
from avoir.settings import Settings
from avoir_events import COMMANDS, EVENTS, FACTS
from tools import map as map_of_service
from tools import messages as messages_document
from tools import reasons as reasons_document
from tools import settings as settings_page

ROOT = Path(__file__).parents[2]
DOCS = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "schemas/README.md",
    *sorted((ROOT / "services").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
OF_THE_TOOLS = {"AVOIR_TEST_KAFKA", "AVOIR_TEST_DSN", "AVOIR_STACK", "AVOIR_POSTGRES_BIN"}
"""Variables of tests and local stack, which are no settings of the service."""

IN_ENVELOPE = {"event_id", "tenant_id", "occurred_at", "actor"}
OUT_ENVELOPE = {"event_id", "tenant_id", "occurred_at", "recorded_at", "caused_by", "account"} | {
    "epoch",
    "seq",
    "voids_from",
    "balance",
}

each_doc = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def without_code(path: Path) -> str:
    return re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", without_code(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_doc
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path)):
        if link.startswith(("https://", "mailto:")):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@each_doc
def test_nothing_of_one_machine_is_mentioned(path: Path) -> None:
    found = re.findall(r"(?<![\w.])/(?:root|home|work|Users)/\S*|\.\./shared\S*", text_of(path))
    assert not found


@each_doc
def test_each_setting_exists(path: Path) -> None:
    known = {f"AVOIR_{name.upper()}" for name in Settings.model_fields} | OF_THE_TOOLS
    named = set(re.findall(r"\bAVOIR_[A-Z][A-Z_]*[A-Z]\b", text_of(path)))
    assert named <= known, f"no such setting: {sorted(named - known)}"


@each_doc
def test_each_command_exists(path: Path) -> None:
    commands = set(app)
    named = set(re.findall(r"(?:^|`|bin/)avoir ([a-z][a-z-]+)\b", text_of(path), re.MULTILINE))
    assert named <= commands, f"no such command: {sorted(named - commands)}"


@pytest.mark.parametrize("topic", [*FACTS, *COMMANDS, *EVENTS])
def test_each_topic_is_told_with_all_its_fields(topic: str) -> None:
    sections = re.split(r"^### ", text_of(ROOT / "docs/messages.md"), flags=re.MULTILINE)
    section = next((each for each in sections if each.startswith(f"{topic}\n")), "")
    assert section, "docs/messages.md does not tell of it"
    schema = json.loads((ROOT / f"schemas/json/{topic}.schema.json").read_text(encoding="utf-8"))
    envelope = OUT_ENVELOPE if topic in EVENTS else IN_ENVELOPE
    if topic in {"credit-balance", "credit-dead-letter"}:
        envelope = set()
    for field in schema["properties"].keys() - envelope:
        required = "yes" if field in schema.get("required", ()) else "no, "
        assert re.search(rf"^\| `{field}` \| .* \| {required}", section, re.MULTILINE), f"no field {field}"


def test_the_facts_are_told_as_the_models_tell_them() -> None:
    text = text_of(messages_document.DOCUMENT)
    assert messages_document.with_facts(text) == text, "run: python -m tools.messages"


def test_each_reason_is_told_as_the_service_tells_it() -> None:
    text = text_of(reasons_document.DOCUMENT)
    assert reasons_document.with_tables(text) == text, "run: python -m tools.reasons"


@pytest.mark.parametrize("reason", get_args(Reason))
def test_each_reason_is_told(reason: str) -> None:
    assert f"`{reason}`" in text_of(ROOT / "docs/reasons.md")


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_each_outcome_is_told(outcome: str) -> None:
    assert f"| `{outcome}` |" in text_of(ROOT / "docs/reasons.md")
    assert f"`{outcome}`" in text_of(ROOT / "docs/contract.md")


def test_each_metric_is_told_and_no_other() -> None:
    families = list(Metrics().registry.collect())
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    _, _, watching = text_of(ROOT / "docs/operators.md").partition("## Watching")
    table = re.findall(r"^\| (`avoir_[^|]+) \|", watching, re.MULTILINE)
    documented = {name for row in table for name in re.findall(r"`(avoir_\w+)", row)}
    assert documented == exported


def test_the_map_has_a_line_for_each_file_of_the_service() -> None:
    text = text_of(map_of_service.DOCUMENT)
    assert map_of_service.with_map(text) == text, "run: python -m tools.map"


def test_the_page_of_settings_is_up_to_date() -> None:
    assert settings_page.document() == text_of(settings_page.DOCUMENT), "run: python -m tools.settings"


def test_the_map_leads_to_what_is_there() -> None:
    _, _, places = text_of(ROOT / "docs/architecture.md").partition("## Where things are")
    named = re.findall(r"`((?:services|schemas|deploy|tests)/[\w/.]*)`", places)
    assert named
    assert all((ROOT / place).exists() for place in named)


def test_each_ledger_account_is_told() -> None:
    ledger = text_of(ROOT / "docs/ledger.md")
    assert all(f"`{account}`" in ledger for account in ("issued", *GRANT_BUCKETS))


def test_the_example_of_the_hash_can_be_computed_again() -> None:
    ledger = text_of(ROOT / "docs/ledger.md")
    example = ledger[ledger.index("### An example") :]
    entries = [json.loads(line) for line in re.findall(r"^\[.+\]$", example, re.MULTILINE)]
    hashes = re.findall(r"^hash to `([0-9a-f]{64})`", example, re.MULTILINE)
    assert len(entries) == len(hashes) == 2
    head = GENESIS
    for values, expected in zip(entries, hashes, strict=True):
        head = entry_hash(head, entry_of(values))
        assert head.hex() == expected


def entry_of(values: list[Any]) -> Entry:
    """An entry from the JSON array that its hash covers."""
    *account, seq, n, side, counter, grant_id, amount, balance, event, reason = values[:13]
    invoice_id, application_id, topic, event_id, occurred_at, recorded_at = values[13:]
    return Entry(
        AccountKey(*account),
        seq,
        n,
        side,
        counter,
        UUID(grant_id),
        amount,
        balance,
        event,
        reason,
        invoice_id,
        UUID(application_id) if application_id else None,
        topic,
        event_id,
        datetime.fromisoformat(occurred_at),
        datetime.fromisoformat(recorded_at),
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=lambda path: path.name
)
def test_a_decision_can_be_quoted(path: Path) -> None:
    number = path.name[:4]
    assert re.match(rf"# {number}: .+\n\n\*\*Decision: .+\.\*\*\n", text_of(path))
