"""Certificates of erasures: what was removed, from which sequence on no head includes it, and what became of versions
whose weights had learned of it.

Promises that a certificate is written in the transaction that erases, that it names nobody (a subject is a keyed hash,
whose key lies in the database alone; labels are one digest over their tombstones), and that it is found again by who
knows the subject. What came later, the head that was solved without the subject and the version that took a tainted
one's place, is read from the registry when it is asked for. Knows nothing of how erasing is done.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import sqlalchemy as sa

from core.database import Database, audit
from core.gate_tables import certificates, secrets
from core.ids import uuid7
from core.registry import Registry

KEY = "certificates"


@dataclass(frozen=True, kw_only=True)
class Buried:
    """What an erasure did to one scene.

    Attributes:
        sequence: of its erase event: heads from here on never saw the subject.
        champion: the version that served then. tainted: versions whose backbone was tuned on the subject.
        labels: digest over the tombstones of the erased label events.
    """

    sequence: int
    champion: str | None
    tainted: tuple[str, ...]
    labels: str


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """An erasure as it was certified; ``subject`` is a keyed hash."""

    id: str
    subject: str
    at: float
    examples: int
    events: int
    predictions: int
    scenes: Mapping[str, Buried]


class Certificates:
    """Reads certificates."""

    def __init__(self, database: Database):
        self.database = database

    def of(self, subject: str) -> list[Certificate]:
        """The certificates of a subject, oldest first; empty where nothing of them was ever erased."""
        with self.database.read() as connection:
            key = _key(connection)
            if key is None:
                return []
            wanted = sa.select(certificates).where(certificates.c.subject == _hashed(key, subject))
            return [_certificate(row) for row in connection.execute(wanted.order_by(certificates.c.at))]

    def tainted(self, scene: str) -> set[str]:
        """Versions of a scene whose weights have learned of somebody who was erased since."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(certificates.c.record)).scalars()
            found = [record["scenes"][scene]["tainted"] for record in rows if scene in record["scenes"]]
        return {version for listed in found for version in listed}


def certify(
    connection: sa.Connection, subject: str, now: float, counts: Mapping[str, int], scenes: Mapping[str, Buried]
) -> str:
    """Write a certificate inside the erasure's transaction; returns its id."""
    key = _key(connection)
    if key is None:
        key = os.urandom(32)
        connection.execute(sa.insert(secrets).values(name=KEY, value=key))
    record = {**counts, "scenes": {name: asdict(buried) for name, buried in scenes.items()}}
    row = {"id": uuid7(now), "subject": _hashed(key, subject), "at": now, "record": record}
    connection.execute(sa.insert(certificates), row)
    return str(row["id"])


def told(registry: Registry, certificate: Certificate) -> dict[str, Any]:
    """A certificate with what came of it since."""
    scenes = {name: _told(registry, name, certificate, buried) for name, buried in certificate.scenes.items()}
    plain = {name: value for name, value in vars(certificate).items() if name not in {"id", "scenes"}}
    return {"certificate": certificate.id, **plain, "scenes": scenes}


def _told(registry: Registry, scene: str, certificate: Certificate, buried: Buried) -> dict[str, Any]:
    """``resolved``: the first head that was served without the subject, null until there is one. ``replaced_by``: the
    version that took the place of a tainted champion, null until one has, or where the champion was not tainted."""
    since = registry.served_since(scene, buried.sequence)
    return {
        "sequence": buried.sequence,
        "labels": buried.labels,
        "resolved": None if since is None else {"version": since[0], "revision": since[1]},
        "tainted": list(buried.tainted),
        "replaced_by": _successor(registry.database, scene, certificate.at, buried),
    }


def _successor(database: Database, scene: str, at: float, buried: Buried) -> str | None:
    if buried.champion not in buried.tainted:
        return None
    later = sa.select(audit.c.version).where(audit.c.scene == scene, audit.c.action.in_(["promote", "rollback"]))
    later = later.where(audit.c.at >= at, audit.c.version.not_in(buried.tainted)).order_by(audit.c.id).limit(1)
    with database.read() as connection:
        return connection.execute(later).scalar()


def _certificate(row: sa.Row[Any]) -> Certificate:
    record = row.record
    scenes = {name: Buried(**(told | {"tainted": tuple(told["tainted"])})) for name, told in record["scenes"].items()}
    counts = {name: record[name] for name in ("examples", "events", "predictions")}
    return Certificate(id=row.id, subject=row.subject, at=row.at, scenes=scenes, **counts)


def _key(connection: sa.Connection) -> bytes | None:
    return cast("bytes | None", connection.execute(sa.select(secrets.c.value).where(secrets.c.name == KEY)).scalar())


def _hashed(key: bytes, subject: str) -> str:
    return hashlib.blake2b(subject.encode(), key=key, digest_size=32).hexdigest()
