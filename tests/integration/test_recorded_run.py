"""What a fixed run of the real handler stores and has to publish is what was recorded, byte by byte.

Record anew with `pytest tests/integration/test_recorded_run.py --record`. That is legitimate where the contract changes
(messages, decisions, events, rows, hashes, ids), in the commit that changes it, or where the run itself gets
other messages. Where code only moves or gets other names, the recording stays as it is.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice, zip_longest
from pathlib import Path

import pytest

from tests.integration.recorded_run import Dump, run

RECORDING = Path(__file__).with_name("recorded_run.json")
SHOWN_ROWS = 2


async def test_a_fixed_run_leaves_what_was_recorded(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dump = await run(database)
    assert [name for name, lines in dump.items() if not lines] == [], "the run no longer hits everything"
    made = summary(dump)
    if request.config.getoption("--record"):
        RECORDING.write_text(json.dumps(made, indent=1) + "\n")
    recorded = json.loads(RECORDING.read_text())
    assert request.config.cache is not None
    last_good = request.config.cache.mkdir("recorded-run")
    names = sorted(name for name in made | recorded if made.get(name) != recorded.get(name))
    write(dump, tmp_path if names else last_good)
    differences = [difference(name, dump.get(name, []), recorded.get(name), last_good) for name in names]
    assert not names, f"not as recorded; all rows are in {tmp_path}\n" + "\n".join(differences)


def summary(dump: Dump) -> dict[str, dict[str, object]]:
    """How many rows each part of a dump has, and their hash."""
    return {
        name: {"rows": len(lines), "sha256": sha256("\n".join(lines).encode()).hexdigest()}
        for name, lines in sorted(dump.items())
    }


def write(dump: Dump, folder: Path) -> None:
    """Write each part of a dump into a file."""
    for name, lines in dump.items():
        (folder / name).write_text("\n".join(lines))


def difference(name: str, lines: list[str], recorded: dict[str, object] | None, last_good: Path) -> str:
    """What differs in a part of a dump: its first rows, where the last good run here left those that were recorded."""
    said = f"{name}: {len(lines)} rows, recorded are {recorded['rows'] if recorded else 'none'}"
    file = last_good / name
    before = file.read_text().splitlines() if file.exists() else []
    if summary({name: before})[name] != recorded:
        return f"{said} (to see which differ, let this test pass on the code of before in this folder)"
    old, new = set(before), set(lines)
    pairs = zip_longest(
        [each for each in before if each not in new],
        [each for each in lines if each not in old],
        fillvalue="",
    )
    return "\n".join([said, *(each for pair in islice(pairs, SHOWN_ROWS) for each in side_by_side(*pair))])


def side_by_side(before: str, after: str) -> Iterator[str]:
    """The beginning of two lines and the place where they part."""
    parted = (n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    at = max(next(parted, 0) - 60, 100)
    for sign, line in ("-", before), ("+", after):
        yield f"  {sign} {line[:100]} ... {line[at : at + 160]}"
