"""Commands as an operator calls them, and what they print."""

import asyncio
import csv
import json
from typing import Any

import pytest

from avoir.cli.app import run
from avoir.cli.base.exits import Exit


class Command:
    """Runs commands and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def _run(self, arguments: tuple[str, ...], code: Exit) -> tuple[str, str]:
        self._capsys.readouterr()
        ended = await asyncio.to_thread(run, arguments)
        printed = self._capsys.readouterr()
        assert ended == code, printed.err
        return printed.out, printed.err

    async def text(self, *arguments: str, code: Exit = Exit.OK) -> str:
        """Everything printed, with one space between words."""
        return " ".join("".join(await self._run(arguments, code)).split())

    async def lines(self, *arguments: str, code: Exit = Exit.OK) -> list[str]:
        """The results, line by line as they stand."""
        return (await self._run(arguments, code))[0].splitlines()

    async def json(self, *arguments: str, code: Exit = Exit.OK) -> Any:
        """The document that `--json` prints."""
        return json.loads((await self._run((*arguments, "--json"), code))[0])

    async def csv(self, *arguments: str, code: Exit = Exit.OK) -> list[dict[str, str]]:
        """The rows that `--csv` prints, by the names of their columns."""
        return list(csv.DictReader(await self.lines(*arguments, "--csv", code=code)))
