"""Readiness of the service, check by check."""

import asyncio
from collections.abc import Mapping

from avoir.kafka.loop import Loop
from avoir.kafka.relay import LEASE, Relay
from avoir.postgres import queries
from avoir.postgres.migrate import REQUIRED_VERSION, schema_version
from avoir.postgres.reading import ReadingPool
from avoir.process.presence import Presence
from avoir.process.watch import Watch

OK = "ok"
_TIMEOUT_S = 2.0
_FLOW = ("loop", "offsets", "transactions", "outbox")


class Health:
    """Answers each check with `ok` or the problem."""

    def __init__(self, pool: ReadingPool, loop: Loop, relay: Relay, watch: Watch, presence: Presence) -> None:
        self._pool = pool
        self._loop = loop
        self._relay = relay
        self._watch = watch
        self._presence = presence
        self._asking: asyncio.Task[tuple[str, str, bool]] | None = None

    def sentence(self, checks: Mapping[str, str]) -> str:
        """Results of the checks in one sentence, as in `avoir status`."""
        others = [
            f"{name}: {answer}" for name, answer in checks.items() if answer != OK and name not in _FLOW
        ]
        return self._watch.sentence(others)

    async def checks(self) -> dict[str, str]:
        """Run all checks within two seconds; returns the results by name."""
        database, schema, lease_held = await self._database()
        faults = self._watch.faults()
        return {
            "database": database,
            "schema": schema,
            "group": self._group(),
            **{check: faults.get(check, OK) for check in _FLOW},
            "relay": self._relay_check(lease_held),
            "breaker": "open: too many messages were parked" if self._loop.breaker.open else OK,
        }

    async def _database(self) -> tuple[str, str, bool]:
        """Check the database, its schema, and whether any process holds the relay's lease.

        If the network drops packets, closing a connection takes long: that continues in the background, once at a time.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_in_time())
        if not (await asyncio.wait({self._asking}, timeout=_TIMEOUT_S))[0]:
            return f"not reachable: no answer for {_TIMEOUT_S:.0f} s", "unknown", False
        return self._asking.result()

    async def _ask_in_time(self) -> tuple[str, str, bool]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._ask_database()
        except Exception as error:
            return f"not reachable: {type(error).__name__}: {error}", "unknown", False

    async def _ask_database(self) -> tuple[str, str, bool]:
        pool = await self._pool.get()
        async with pool.acquire(timeout=_TIMEOUT_S) as connection:
            version = await schema_version(connection)
            if version < REQUIRED_VERSION:
                return OK, f"version {version}, needs {REQUIRED_VERSION}: run `avoir migrate`", False
            return OK, OK, bool(await connection.fetchval(*queries.lease_is_held(name=LEASE)))

    def _group(self) -> str:
        if self._presence.gone.is_set():
            return f"left: the database has not answered for {self._presence.silent_s:.0f} s"
        return OK if self._loop.assignment.joined else "not joined"

    def _relay_check(self, lease_held: bool) -> str:
        state = self._relay.state
        if not state.behind and (lease_held or state.doing == "publishing"):
            return OK
        return f"{state.doing}: {state.last_error or 'nobody holds the lease'}"
