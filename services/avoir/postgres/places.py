"""Places in an account's open invoices and grants in use, as parameters of the statements that continue after them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from avoir.core.model.events import AccountKey
from avoir.core.state.queue import SortKey

_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)


class InvoicePlace(NamedTuple):
    """A place in the order in which an account's invoices are paid."""

    finalized_at: datetime
    invoice_id: str

    @classmethod
    def after(cls, place: SortKey) -> "InvoicePlace":
        """The parameters of a place: the beginning, a moment, or an invoice."""
        finalized_at, key = (*place, _BEFORE_ALL, None)[:2] if len(place) != 1 else (place[0], None)
        return cls(finalized_at, "" if key is None else key.invoice_id)


class GrantPlace(NamedTuple):
    """A place in the order in which an account's grants are used."""

    priority: int
    expires_at: datetime | None
    paid_for: bool
    effective_at: datetime
    id: UUID

    @classmethod
    def after(cls, place: SortKey) -> "GrantPlace":
        """The parameters of a place: the beginning, or a grant."""
        if not place:
            return _BEFORE_ALL_GRANTS
        priority, expires_at, paid_for, effective_at, _, key = place
        return cls(priority, expires_at, paid_for, effective_at, key.id)


# Priorities are at least 0, so this place comes before every grant.
_BEFORE_ALL_GRANTS = GrantPlace(-1, None, False, _BEFORE_ALL, UUID(int=0))


def last_places(
    places: Iterable[tuple[AccountKey, SortKey]], accounts: Iterable[AccountKey], size: int
) -> dict[AccountKey, SortKey | None]:
    """The last place of each account's page; None if the page has fewer than `size` places, so nothing follows."""
    pages: dict[AccountKey, list[SortKey]] = {account: [] for account in accounts}
    for account, place in places:
        pages[account].append(place)
    return {account: max(page) if len(page) >= size else None for account, page in pages.items()}
