"""That the workflow and the hooks before a commit call nothing but targets of the Makefile."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TARGETS = set(
    re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    jobs: dict[str, Any] = read(".github/workflows/test.yaml")["jobs"]
    return jobs


def test_both_only_call_make(jobs: dict[str, Any]) -> None:
    called = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    hooks = [hook["entry"] for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert called and hooks
    assert {*called, *hooks} <= {f"make {target}" for target in TARGETS}


def test_every_supported_version_is_in_the_matrix(jobs: dict[str, Any]) -> None:
    versions = {"python": ["3.11", "3.12", "3.13", "3.14"], "postgres": ["15", "18"]}
    assert jobs["test"]["strategy"]["matrix"] == versions
    assert jobs["check"]["strategy"]["matrix"] == {"python": versions["python"]}
