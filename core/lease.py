"""A leader lease with a fencing token: one learner leads, and a late one cannot write.

Promises that the token grows with every change of hands, and that a write confirmed inside its transaction was made
by the holder. Knows nothing of what the leader does.

Source: fencing tokens after Gray and Cheriton, "Leases" (SOSP 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from core.database import Database, leases
from core.errors import LeadershipLost


@dataclass(frozen=True)
class Lease:
    """The lead over ``name``, held by ``owner`` under ``token``."""

    name: str
    owner: str
    token: int


def acquire(
    database: Database, name: str, owner: str, seconds: float, clock: Callable[[], float] | None = None
) -> Lease | None:
    """Take the lead, or renew it; None while somebody else's lease runs. The clock is the database's if None."""
    with database.write() as connection:
        now = clock() if clock is not None else database.now(connection)
        row = connection.execute(sa.select(leases).where(leases.c.name == name)).first()
        if row is None:
            connection.execute(
                sa.insert(leases), {"name": name, "owner": owner, "token": 1, "expires_at": now + seconds}
            )
            return Lease(name, owner, 1)
        if row.owner != owner and row.expires_at > now:
            return None
        token = row.token if row.owner == owner else row.token + 1
        connection.execute(
            sa.update(leases).where(leases.c.name == name).values(owner=owner, token=token, expires_at=now + seconds)
        )
        return Lease(name, owner, token)


def release(database: Database, lease: Lease) -> None:
    """Give the lead back early, so that the next one need not wait."""
    with database.write() as connection:
        connection.execute(
            sa.update(leases)
            .where(leases.c.name == lease.name, leases.c.owner == lease.owner, leases.c.token == lease.token)
            .values(expires_at=0.0)
        )


def confirm(connection: sa.Connection, lease: Lease) -> None:
    """Check, inside the caller's transaction, that the lease is still this one.

    Raises:
        LeadershipLost: another one holds it.
    """
    row = connection.execute(sa.select(leases.c.owner, leases.c.token).where(leases.c.name == lease.name)).first()
    if row is None or (row.owner, row.token) != (lease.owner, lease.token):
        raise LeadershipLost(
            f"the lease {lease.name!r} with token {lease.token} is not held any more",
            "nothing: another learner leads, this one waits",
        )
