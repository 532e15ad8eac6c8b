"""Writes the JSON Schemas and the AsyncAPI document beside this package, or checks them."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from avoir_events.asyncapi import asyncapi
from avoir_events.json_schemas import MODELS, json_schema

FOLDER: Final = Path(__file__).resolve().parent.parent
VERSION: Final = "1.0.0"


def generated() -> dict[Path, str]:
    """Text of every generated file, by its path in the schemas folder."""
    files = {Path("json", f"{topic}.schema.json"): _text(json_schema(topic)) for topic in MODELS}
    return files | {Path("asyncapi.json"): _text(asyncapi(VERSION))}


def differing(folder: Path) -> list[Path]:
    """Generated files that are missing, stale or no longer generated."""
    expected = generated()
    stale = [path for path, text in expected.items() if _read(folder / path) != text]
    present = {path.relative_to(folder) for path in (folder / "json").glob("*")}
    return sorted({*stale, *(present - set(expected))})


def write(folder: Path) -> None:
    """Write all generated files, and remove those no longer generated."""
    for path in differing(folder):
        # Those that are still generated are written below.
        (folder / path).unlink(missing_ok=True)
    for path, text in generated().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the generator; with --check, write nothing, name the files that differ, and return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m avoir_events.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    is_checkout = (FOLDER / "pyproject.toml").is_file()
    parser.add_argument(
        "--folder",
        type=Path,
        default=FOLDER if is_checkout else None,
        required=not is_checkout,
        help="folder of json/ and asyncapi.json (default: beside the package, in a checkout)",
    )
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.folder)
        return 0
    stale = differing(options.folder)
    for path in stale:
        print(f"{path.as_posix()} differs: run python -m avoir_events.generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
