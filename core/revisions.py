"""Head revisions as rows: arrays in, arrays out.

Promises the same bits back that went in. Knows nothing of aliases or leases.
"""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa

from core.database import revisions
from core.types import Head, Revision


def last_number(connection: sa.Connection, scene: str, version: str) -> int:
    """The newest revision of a version, 0 where there is none but the bundle's."""
    last = sa.select(sa.func.max(revisions.c.number)).where(revisions.c.scene == scene, revisions.c.version == version)
    return connection.execute(last).scalar() or 0


def insert_revision(connection: sa.Connection, revision: Revision, now: float) -> None:
    """Add a revision inside the caller's transaction."""
    head = revision.head
    connection.execute(
        sa.insert(revisions),
        {
            "scene": revision.scene,
            "version": revision.version,
            "number": revision.number,
            "sequence": head.sequence,
            "labels": list(head.labels),
            "weight": np.ascontiguousarray(head.weight, np.float32).tobytes(),
            "bias": head.bias.astype(np.float32).tobytes(),
            "lam": head.lam,
            "temperature": head.temperature,
            "sample_digest": head.sample_digest,
            "examples": head.examples,
            "fallback": head.fallback,
            "created_at": now,
        },
    )


def revision_of(row: sa.RowMapping) -> Revision:
    """A row whose arrays are kept."""
    labels = tuple(row["labels"])
    head = Head(
        weight=np.frombuffer(row["weight"], np.float32).reshape(-1, len(labels)),
        bias=np.frombuffer(row["bias"], np.float32),
        labels=labels,
        sequence=row["sequence"],
        lam=row["lam"],
        temperature=row["temperature"],
        sample_digest=row["sample_digest"],
        examples=row["examples"],
        fallback=row["fallback"],
    )
    return Revision(scene=row["scene"], version=row["version"], number=row["number"], head=head)
