"""Decides a batch in parts, each written before the next; a refusal by the database undoes only its own part."""

import time
from collections.abc import Sequence

from avoir.batch.batch import Batch
from avoir.batch.blame import message_behind
from avoir.core.undecided import brief
from avoir.postgres.session import Session
from avoir.retry import Cause, cause_of
from avoir.wire.incoming import ParsedRecord, UnreadableRecord

MIN_SIZE, MAX_SIZE = 8, 512


class Parts:
    """Finds and parks the messages whose rows the database refuses; `refused` is the number so far.

    If an error names a row, what comes before its message is written, then that message alone; otherwise half.
    Decisions are kept until a message before them is parked.
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
        """Decide and write messages, as many as the monotonic clock allows; returns the number."""
        while self._at < len(self._messages) and not self._batch.is_halted:
            if self._at and time.monotonic() > until:
                break
            self._ahead = self._ahead or await self._decide_ahead(until)
            count = self._named or (self._in_doubt + 1) // 2 or len(self._ahead)
            part = self._batch.fork()
            for one in self._ahead[:count]:
                part.merge(one)
            try:
                async with self._session.savepoint():
                    await part.write()
            except Exception as error:
                self._refused(count, part, error)
            else:
                self._written(count, part)
        return self._at

    async def _decide_ahead(self, until: float) -> list[Batch]:
        """Decide the next messages, each over those before it."""
        ahead: list[Batch] = []
        last = self._batch.fork()
        # Half the average distance of refused messages: what is decided after one must be decided again.
        size = min(max(MIN_SIZE, self._at // (2 * self.refused + 2)), MAX_SIZE)
        for each in self._messages[self._at : self._at + size]:
            if ahead and (last.is_halted or time.monotonic() > until):
                break
            one = last.fork()
            try:
                await one.decide([each], parked=None if ahead else self._reason())
            except Exception as error:
                if ahead:
                    break
                self._park(error)
                one = last.fork()
                await one.decide([each], parked=self._reason())
            last.merge(one)
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
        self._batch.merge(part)
        self._at += count
        self._ahead = self._ahead[count:]
        self._in_doubt = 1 if self._named else max(0, self._in_doubt - count)
        self._named = 0

    def _reason(self) -> str | None:
        return self._parked[1] if self._parked is not None and self._parked[0] == self._at else None

    def _park(self, error: Exception) -> None:
        """Park the next message; raises the error if the data did not cause it, or if it comes again."""
        if cause_of(error) is not Cause.DATA or self._reason() is not None:
            raise error
        self._parked = self._at, brief(error)
        self.refused += 1
