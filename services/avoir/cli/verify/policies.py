"""Proves that the stored policy keys are those that messages set, according to their decisions."""

import json
from collections.abc import AsyncIterator

import asyncpg

from avoir.cli.base.differences import Difference, Progress
from avoir.core.model.decision import CUT, MAX_CUT
from avoir.core.model.policy import stated
from avoir.postgres import queries
from avoir.postgres.connect import Connection

NONE = "none"


async def verify_policies(
    connection: Connection, tenant_id: str, _progress: Progress
) -> AsyncIterator[Difference]:
    """Policies that no message set, that differ from their message's decision, or that are missing."""
    async for row in connection.cursor(*queries.verify_policies(tenant_id=tenant_id)):
        decided, kept = _decided(row), _kept(row)
        if decided != kept:
            yield Difference(tenant_id, f"policy of message {row['event_id']}", "keys", decided, kept)


def _decided(row: asyncpg.Record) -> str:
    if row["facts"] is None:
        return NONE
    facts = json.loads(row["facts"])
    of, kept = facts["of"], row["scope_id"] or ""
    # Facts keep only the beginning of very long ids (ADR 0012).
    is_cut = of.endswith(CUT) and len(of) == MAX_CUT + len(CUT)
    whole = kept if is_cut and kept.startswith(of.removesuffix(CUT)) else of
    return _text(facts["scope"], whole, facts["keys"])


def _kept(row: asyncpg.Record) -> str:
    return (
        NONE if row["keys"] is None else _text(row["scope"], row["scope_id"], stated(json.loads(row["keys"])))
    )


def _text(scope: str, of: str, keys: dict[str, object]) -> str:
    return f"{json.dumps(keys, sort_keys=True)} for {scope} {of}".rstrip()
