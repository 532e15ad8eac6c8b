"""Sort keys of open invoices and grants in use, as parameters of the statements that continue loading after them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from avoir.core.model.events import AccountKey
from avoir.core.state.queue import SortKey

_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)


class InvoiceSortKey(NamedTuple):
    """The sort key of an invoice, in the order in which an account's invoices are paid."""

    finalized_at: datetime
    invoice_id: str

    @classmethod
    def after(cls, sort_key: SortKey) -> "InvoiceSortKey":
        """The parameters of a sort key: the beginning, a moment, or an invoice."""
        finalized_at, key = (*sort_key, _BEFORE_ALL, None)[:2] if len(sort_key) != 1 else (sort_key[0], None)
        return cls(finalized_at, "" if key is None else key.invoice_id)


class GrantSortKey(NamedTuple):
    """The sort key of a grant, in the order in which an account's grants are used."""

    priority: int
    expires_at: datetime | None
    paid_for: bool
    effective_at: datetime
    id: UUID

    @classmethod
    def after(cls, sort_key: SortKey) -> "GrantSortKey":
        """The parameters of a sort key: the beginning, or a grant."""
        if not sort_key:
            return _BEFORE_ALL_GRANTS
        priority, expires_at, paid_for, effective_at, _, key = sort_key
        return cls(priority, expires_at, paid_for, effective_at, key.id)


# Priorities are at least 0, so this sort key comes before every grant.
_BEFORE_ALL_GRANTS = GrantSortKey(-1, None, False, _BEFORE_ALL, UUID(int=0))


def last_sort_keys(
    sort_keys: Iterable[tuple[AccountKey, SortKey]], accounts: Iterable[AccountKey], size: int
) -> dict[AccountKey, SortKey | None]:
    """The last sort key of each account's page; None if the page has fewer than `size` rows, so nothing follows."""
    pages: dict[AccountKey, list[SortKey]] = {account: [] for account in accounts}
    for account, sort_key in sort_keys:
        pages[account].append(sort_key)
    return {account: max(page) if len(page) >= size else None for account, page in pages.items()}
