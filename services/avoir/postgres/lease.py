"""A lease: the right of one process at a time to do something, lost when it is not renewed."""

from dataclasses import dataclass
from datetime import timedelta

from avoir.postgres import queries
from avoir.postgres.connect import Connection


@dataclass(frozen=True, slots=True)
class Lease:
    """A row of `leases`: taken when free or expired, kept by renewal, by the database clock.

    Each holder has its own name, so that the row shows whether another one has had the lease meanwhile.

    Setting the clock back does not prolong it: a lease that ends further ahead than its term counts as free.
    """

    name: str
    holder: str
    seconds: float

    async def add(self, connection: Connection) -> None:
        """Add the row, without a holder, if it doesn't exist."""
        await connection.execute(*queries.add_lease(name=self.name))

    async def hold(self, connection: Connection) -> bool:
        """Take or renew it; false while another process holds it."""
        return (
            await connection.fetchval(
                *queries.hold_lease(
                    name=self.name, holder=self.holder, duration=timedelta(seconds=self.seconds)
                )
            )
            is not None
        )

    async def renew(self, connection: Connection) -> bool:
        """Renew it; false if another holder has had it meanwhile, even if it is free again.

        Within a transaction no other holder can take it before the transaction ends.
        """
        return (
            await connection.fetchval(
                *queries.renew_lease(
                    name=self.name, holder=self.holder, duration=timedelta(seconds=self.seconds)
                )
            )
            is not None
        )

    async def release(self, connection: Connection) -> None:
        """Release it at once, if this process holds it."""
        await connection.execute(*queries.release_lease(name=self.name, holder=self.holder))
