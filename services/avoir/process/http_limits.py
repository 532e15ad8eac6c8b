"""Limits of HTTP clients, however many and slow: connections, time and work."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Generic, TypeVar

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64
LIFETIME_S = 10.0
FRESH_S = 1.0

T = TypeVar("T")

_numbers = count()


class BoundedProtocol(H11Protocol):
    """A connection that ends after ten seconds, or earlier as the oldest of too many.

    A request takes milliseconds, so idle connections make room for new ones.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; if there are too many connections, end the oldest."""
        super().connection_made(transport)
        self._number = next(_numbers)
        self._end = self.loop.call_later(LIFETIME_S, transport.abort)
        if len(self.connections) > MAX_CONNECTIONS:
            oldest = min(self.connections, key=lambda each: each._number)  # type: ignore[union-attr]
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, by whichever side."""
        self._end.cancel()
        super().connection_lost(exc)


class Shared(Generic[T]):
    """An answer shared by many clients: computed once at a time, valid for a second from its start."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._made: asyncio.Future[T] | None = None
        self._fresh_until = 0.0

    async def get(self) -> T:
        """Return the answer; a client that disconnects meanwhile doesn't cancel it for others."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now > self._fresh_until):
            self._made = asyncio.ensure_future(self._make())
            self._fresh_until = now + FRESH_S
        return await asyncio.shield(self._made)
