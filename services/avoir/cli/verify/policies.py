"""Proves that the policy keys that are kept are those that messages set, as their decisions say."""

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
    """Policies that were set by no message, or otherwise; those that are missing; all by their decisions."""
    async for row in connection.cursor(*queries.verify_policies(tenant_id=tenant_id)):
        decided, kept = _decided(row), _kept(row)
        if decided != kept:
            yield Difference(tenant_id, f"policy of message {row['event_id']}", "keys", decided, kept)


def _decided(row: asyncpg.Record) -> str:
    if row["facts"] is None:
        return NONE
    facts = json.loads(row["facts"])
    of, kept = facts["of"], row["scope_id"] or ""
    # Facts with very long ids keep only how these begin (ADR 0012).
    is_cut = of.endswith(CUT) and len(of) == MAX_CUT + len(CUT)
    whole = kept if is_cut and kept.startswith(of.removesuffix(CUT)) else of
    return _told(facts["scope"], whole, facts["keys"])


def _kept(row: asyncpg.Record) -> str:
    return (
        NONE if row["keys"] is None else _told(row["scope"], row["scope_id"], stated(json.loads(row["keys"])))
    )


def _told(scope: str, of: str, keys: dict[str, object]) -> str:
    return f"{json.dumps(keys, sort_keys=True)} for {scope} {of}".rstrip()
