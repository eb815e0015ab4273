"""The address of a PostgreSQL database, as settings give it.

Promises that no message repeats any of it before it is read, since a password may be in it, and only host, port and
database afterwards. Knows nothing of connections.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadConfiguration

SETTING = "[database] url (LEPTON_DATABASE_URL)"
FORM = "postgresql://user:password@host:5432/name"


def address_of(url: str) -> sa.URL:
    """The address, with the driver that we use.

    Raises:
        BadConfiguration: it cannot be read; the message repeats nothing of it, since a password may be in it.
    """
    scheme, found, _ = url.partition("://")
    if not found or not scheme.replace("+", "").isalnum():
        raise BadConfiguration(f"{SETTING} is no address of a database", f"give one such as {FORM}")
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise BadConfiguration(
            f"{SETTING} begins with {scheme[:40]!r}", f"give one such as {FORM}; without any, SQLite is used"
        )
    try:
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
    except (SQLAlchemyError, ValueError):
        raise BadConfiguration(f"{SETTING} cannot be read", f"give one such as {FORM}, with a number as port") from None
    if "@" in (address.host or ""):
        raise BadConfiguration(f"{SETTING} has more than one @", "write an @ of the password as %40, a / as %2F")
    return address


def place(address: sa.URL) -> str:
    """Database and host as people know them; nothing of the user."""
    hosts = address.query.get("host", address.host or "")
    told = hosts if isinstance(hosts, str) else ", ".join(hosts)
    port = f":{address.port}" if address.port else ""
    return f"{address.database or ''!r} on {told or 'this host'}{port}"
