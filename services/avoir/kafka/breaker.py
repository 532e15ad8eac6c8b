"""Stops consuming when too many messages are parked: a bad deployment must not park them all."""

from collections import deque

from avoir.record import PARKED_WINDOW, BatchReport, too_many_parked


class Breaker:
    """Opens once more than 10 of the last 100 messages were parked; only a restart closes it.

    A batch doesn't say where in it the parked ones were, so the window holds whole batches: the fewest of the latest
    ones that make up 100 messages, and the same share for larger windows.
    """

    def __init__(self) -> None:
        self.open = False
        self._batches: deque[tuple[int, int]] = deque()

    def count(self, report: BatchReport) -> None:
        """Register the result of a batch; one that halted is enough."""
        self.open = self.open or report.halted
        self._batches.append((report.messages, report.parked))
        while sum(n for n, _ in self._batches) - self._batches[0][0] >= PARKED_WINDOW:
            self._batches.popleft()
        messages = sum(n for n, _ in self._batches)
        if too_many_parked(sum(n for _, n in self._batches), messages):
            self.open = True
