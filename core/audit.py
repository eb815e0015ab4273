"""What was done to a scene's versions, row by row, in the transaction that did it.

Knows nothing of why.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from core.database import audit


def note(
    connection: sa.Connection,
    scene: str,
    now: float,
    action: str,
    *,
    version: str | None = None,
    previous: str | None = None,
    generation: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Add a row inside the caller's transaction."""
    row = {"scene": scene, "at": now, "action": action, "version": version, "previous": previous}
    connection.execute(sa.insert(audit), row | {"generation": generation, "detail": dict(detail or {})})
