"""A lease with a fencing token: one learner leads, one trainer has a job, and a late one cannot write.

Promises that the token grows with every change of hands, and that a write confirmed inside its transaction was made
by the holder. Knows nothing of what the holder does.

Source: fencing tokens after Gray and Cheriton, "Leases" (SOSP 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from core.database import Database, leases
from core.errors import LeadershipLost

LEARNER = "learner"  # the lead over what labels become
TRAINER = "trainer"  # held by one of the trainers that wait for jobs or do one: while it is, there is a trainer


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
        return take(connection, name, owner, now, now + seconds)


def held(database: Database, name: str, clock: Callable[[], float] | None = None) -> bool:
    """Whether anybody holds a lease now."""
    with database.read() as connection:
        now = clock() if clock is not None else database.now(connection)
        return (connection.execute(sa.select(leases.c.expires_at).where(leases.c.name == name)).scalar() or 0.0) > now


def release(database: Database, lease: Lease) -> None:
    """Give the lead back early, so that the next one need not wait."""
    with database.write() as connection:
        give_up(connection, lease)


def take(connection: sa.Connection, name: str, owner: str, now: float, expires_at: float) -> Lease | None:
    """The same inside the caller's transaction."""
    row = connection.execute(sa.select(leases).where(leases.c.name == name)).first()
    if row is None:
        connection.execute(sa.insert(leases), {"name": name, "owner": owner, "token": 1, "expires_at": expires_at})
        return Lease(name, owner, 1)
    if row.owner != owner and row.expires_at > now:
        return None
    token = row.token if row.owner == owner else row.token + 1
    moved = {"owner": owner, "token": token, "expires_at": expires_at}
    connection.execute(sa.update(leases).where(leases.c.name == name).values(**moved))
    return Lease(name, owner, token)


def renew(connection: sa.Connection, lease: Lease, expires_at: float) -> None:
    """Prolong a lease that is still this one, inside the caller's transaction.

    Raises:
        LeadershipLost: another one holds it.
    """
    if connection.execute(sa.update(leases).where(_is(lease)).values(expires_at=expires_at)).rowcount != 1:
        raise _lost(lease)


def give_up(connection: sa.Connection, lease: Lease) -> None:
    """Give a lease back inside the caller's transaction; who takes it next, at once, has a new token."""
    connection.execute(sa.update(leases).where(_is(lease)).values(owner="", expires_at=0.0))


def confirm(connection: sa.Connection, lease: Lease) -> None:
    """Check, inside the caller's transaction, that the lease is still this one.

    Raises:
        LeadershipLost: another one holds it.
    """
    if connection.execute(sa.select(leases.c.token).where(_is(lease))).first() is None:
        raise _lost(lease)


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return (leases.c.name == lease.name) & (leases.c.owner == lease.owner) & (leases.c.token == lease.token)


def _lost(lease: Lease) -> LeadershipLost:
    return LeadershipLost(
        f"the lease {lease.name!r} with token {lease.token} is not held any more",
        "nothing: another process holds it, this one waits",
    )
