"""The shapes of `avoir statement --json` and `--csv`, as docs/cli.md fixes them."""

from collections.abc import Iterator
from typing import Any

from avoir.cli.base.output import amount, difference_json, rfc3339
from avoir.cli.statement.movements import Held, Movement
from avoir.cli.statement.query import AccountStatement, Expiring, Statement

STATEMENT_AMOUNTS = ("amount", "available_change", "reserved_change", "available", "reserved", "balance")
STATEMENT_COLUMNS = (
    "tenant_id",
    "owner_type",
    "owner_id",
    "currency",
    "row",
    "recorded_at",
    "occurred_at",
    "expires_at",
    "seq",
    "n",
    "event",
    "reason",
    "source",
    "grant_id",
    "document_kind",
    "document_id",
    "document_number",
    "cause_topic",
    "cause_event_id",
    *STATEMENT_AMOUNTS,
)


def statement_json(statement: Statement) -> dict[str, Any]:
    """The documented shape of `avoir statement --json`."""
    return {
        "tenant_id": statement.tenant_id,
        "owner": {"type": statement.owner.type, "id": statement.owner.id},
        "as_of": rfc3339(statement.as_of),
        "accounts": [_account_json(account) for account in statement.accounts],
    }


def _account_json(account: AccountStatement) -> dict[str, Any]:
    currency = account.account.currency
    return {
        "currency": currency,
        "opening": _held_json(account.opening, currency),
        "opening_expired_unswept": _held_json(account.opening_expired, currency),
        "movements": [_movement_json(movement, currency) for movement in account.movements],
        "closing": _held_json(account.closing, currency),
        "expired_unswept": _held_json(account.expired_unswept, currency),
        "unexpired": _held_json(account.unexpired, currency),
        "expiring": [_expiring_json(expiring, currency) for expiring in account.expiring],
        "earlier_movements": account.earlier,
        "adds_up": account.adds_up,
        "differences": [difference_json(difference) for difference in account.differences],
    }


def _held_json(held: Held, currency: str) -> dict[str, str]:
    return {"available": amount(held.available, currency), "reserved": amount(held.reserved, currency)}


def _movement_json(movement: Movement, currency: str) -> dict[str, Any]:
    return {
        "seq": movement.seq,
        "n": movement.n,
        "occurred_at": rfc3339(movement.occurred_at),
        "recorded_at": rfc3339(movement.recorded_at),
        "event": movement.event,
        "reason": movement.reason,
        "ledger_account": movement.ledger_account,
        "counter_account": movement.counter_account,
        "amount": amount(movement.amount, currency),
        "change": _held_json(movement.change, currency),
        "balance": _held_json(movement.after, currency),
        "grant_id": str(movement.grant_id),
        "source": movement.source,
        "document": movement.document and movement.document._asdict(),
        "application_id": str(movement.application_id) if movement.application_id else None,
        "caused_by": {"topic": movement.cause_topic, "event_id": movement.cause_event_id}
        if movement.cause_topic
        else None,
    }


def _expiring_json(expiring: Expiring, currency: str) -> dict[str, Any]:
    return {
        "at": rfc3339(expiring.expires_at),
        "amount": amount(sum(expiring.left), currency),
        **_held_json(expiring.left, currency),
        "grant_id": str(expiring.grant_id),
        "source": expiring.source,
        "reason": expiring.reason,
    }


def statement_rows(statement: Statement) -> Iterator[tuple[object, ...]]:
    """The rows of `avoir statement --csv`, account by account, in STATEMENT_COLUMNS' order."""
    for account in statement.accounts:
        for values in _account_rows(account):
            row = {
                "tenant_id": statement.tenant_id,
                "owner_type": statement.owner.type,
                "owner_id": statement.owner.id,
                **values,
            }
            yield tuple(row.get(column, "") for column in STATEMENT_COLUMNS)


def _account_rows(account: AccountStatement) -> Iterator[dict[str, Any]]:
    currency = account.account.currency
    yield {"row": "opening", "currency": currency, **_balances(account.opening, currency)}
    for movement in account.movements:
        yield {"row": "movement", "currency": currency, **_movement_values(movement, currency)}
    yield {"row": "closing", "currency": currency, **_balances(account.closing, currency)}
    yield {"row": "expired", "currency": currency, **_balances(account.expired_unswept, currency)}
    for expiring in account.expiring:
        yield {
            "row": "expiring",
            "currency": currency,
            "expires_at": rfc3339(expiring.expires_at),
            "reason": expiring.reason,
            "source": expiring.source,
            "grant_id": expiring.grant_id,
            **_balances(expiring.left, currency),
        }


def _balances(held: Held, currency: str) -> dict[str, str]:
    return {**_held_json(held, currency), "balance": amount(sum(held), currency)}


def _movement_values(movement: Movement, currency: str) -> dict[str, Any]:
    document = movement.document
    return {
        "recorded_at": rfc3339(movement.recorded_at),
        "occurred_at": rfc3339(movement.occurred_at),
        "seq": movement.seq,
        "n": movement.n,
        "event": movement.event,
        "reason": movement.reason,
        "source": movement.source,
        "grant_id": movement.grant_id,
        "document_kind": document.kind if document else "",
        "document_id": document.id if document else "",
        "document_number": (document.number or "") if document else "",
        "cause_topic": movement.cause_topic,
        "cause_event_id": movement.cause_event_id,
        "amount": amount(movement.amount, currency),
        "available_change": amount(movement.change.available, currency),
        "reserved_change": amount(movement.change.reserved, currency),
        **_balances(movement.after, currency),
    }
