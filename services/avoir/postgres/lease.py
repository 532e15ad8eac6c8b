"""A lease: the right of one process at a time to do something, lost when it falls silent."""

from dataclasses import dataclass
from datetime import timedelta

from avoir.postgres import queries
from avoir.postgres.connect import Connection


@dataclass(frozen=True, slots=True)
class Lease:
    """A row of `leases`: taken when free or run out, kept by renewing it, by the database's clock.

    Each holder has a name of its own, so that the row tells whether another has had the lease meanwhile.

    A clock that is set back prolongs no lease: one that lies further ahead than it was taken for is free.
    """

    name: str
    holder: str
    seconds: float

    async def add(self, connection: Connection) -> None:
        """Make sure that the row exists, held by nobody."""
        await connection.execute(*queries.add_lease(name=self.name))

    async def hold(self, connection: Connection) -> bool:
        """Take or renew it; false while somebody else holds it."""
        return (
            await connection.fetchval(
                *queries.hold_lease(
                    name=self.name, holder=self.holder, duration=timedelta(seconds=self.seconds)
                )
            )
            is not None
        )

    async def renew(self, connection: Connection) -> bool:
        """Renew it; false when another took it meanwhile, though it be free again.

        Within a transaction nobody else can take it before that ends.
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
        """Let go of it at once, if it is held."""
        await connection.execute(*queries.release_lease(name=self.name, holder=self.holder))
