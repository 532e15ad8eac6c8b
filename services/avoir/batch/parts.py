"""Decides a batch in parts, each written before the next: what the database refuses undoes its own part only."""

import time
from collections.abc import Sequence

from avoir.batch.batch import Batch
from avoir.batch.blame import message_behind
from avoir.core.undecided import brief
from avoir.postgres.session import Session
from avoir.retry import Cause, cause_of
from avoir.wire.incoming import ParsedRecord, UnreadableRecord

LEAST, MOST = 8, 512


class Parts:
    """Finds the messages whose rows the database refuses, and parks them; `refused` is how many so far.

    Where an error names a row, what comes before the message behind it is written, then that message alone; else a
    half. What was decided stays so until a message before it is parked.
    """

    def __init__(
        self, session: Session, batch: Batch, messages: Sequence[ParsedRecord | UnreadableRecord]
    ) -> None:
        self.refused = 0
        self._session = session
        self._batch = batch
        self._messages = messages
        self._at = 0
        self._ahead: list[Batch] = []
        self._in_doubt = 0
        self._named = 0
        self._parked: tuple[int, str] | None = None

    async def handle(self, until: float) -> int:
        """Decide and write messages, as many as the monotonic clock allows; returns how many."""
        while self._at < len(self._messages) and not self._batch.is_halted:
            if self._at and time.monotonic() > until:
                break
            self._ahead = self._ahead or await self._decide_ahead(until)
            count = self._named or (self._in_doubt + 1) // 2 or len(self._ahead)
            part = self._batch.part()
            for one in self._ahead[:count]:
                part.take_over(one)
            try:
                async with self._session.savepoint():
                    await part.write()
            except Exception as error:
                self._refused(count, part, error)
            else:
                self._written(count, part)
        return self._at

    async def _decide_ahead(self, until: float) -> list[Batch]:
        """Decide what is next, each message over those before it."""
        ahead: list[Batch] = []
        last = self._batch.part()
        # Half of what lies between two that are refused: what is decided behind one is decided again.
        size = min(max(LEAST, self._at // (2 * self.refused + 2)), MOST)
        for each in self._messages[self._at : self._at + size]:
            if ahead and (last.is_halted or time.monotonic() > until):
                break
            one = last.part()
            try:
                await one.decide([each], parked=None if ahead else self._reason())
            except Exception as error:
                if ahead:
                    break
                self._park(error)
                one = last.part()
                await one.decide([each], parked=self._reason())
            last.take_over(one)
            ahead.append(one)
        return ahead

    def _refused(self, count: int, part: Batch, error: Exception) -> None:
        if count == 1:
            self._park(error)
            self._ahead, self._in_doubt, self._named = [], 0, 0
        elif cause_of(error) is not Cause.DATA:
            raise error
        else:
            behind = message_behind(error, part, self._ahead[:count])
            self._in_doubt, self._named = (count, behind or 0) if behind != 0 else (1, 0)

    def _written(self, count: int, part: Batch) -> None:
        self._batch.take_over(part)
        self._at += count
        self._ahead = self._ahead[count:]
        self._in_doubt = 1 if self._named else max(0, self._in_doubt - count)
        self._named = 0

    def _reason(self) -> str | None:
        return self._parked[1] if self._parked is not None and self._parked[0] == self._at else None

    def _park(self, error: Exception) -> None:
        """Let the next message be parked; raises the error where it is not the data's, or is met once more."""
        if cause_of(error) is not Cause.DATA or self._reason() is not None:
            raise error
        self._parked = self._at, brief(error)
        self.refused += 1
