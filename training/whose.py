"""Whose the examples of a scene are, and who has labelled them.

Promises to name a subject where any label of an example, standing or not, has named one: a bundle keeps no row of
somebody who may be erased. Knows nothing of what stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set

import sqlalchemy as sa

from core.database import label_events
from core.home import Home


def words(home: Home, scene: str, examples: Set[str]) -> tuple[dict[str, str], dict[str, frozenset[tuple[str, str]]]]:
    """Example → subject, where one was named; example → the pairs (source, annotator) that have labelled it."""
    join = label_events.alias("joined")
    example = sa.func.coalesce(label_events.c.example, join.c.example)
    joined = label_events.outerjoin(join, (join.c.target == label_events.c.event_id) & (join.c.kind == "join"))
    columns = (example, label_events.c.subject, label_events.c.source, label_events.c.annotator)
    wanted = (
        sa.select(*columns).select_from(joined).where(label_events.c.scene == scene, label_events.c.kind == "label")
    )
    subjects: dict[str, str] = {}
    said: dict[str, set[tuple[str, str]]] = defaultdict(set)
    with home.ledger.database.read() as connection:
        for name, subject, source, annotator in connection.execute(wanted):
            if name in examples:
                said[name].add((source, annotator))
                if subject is not None:
                    subjects[name] = subject
    return subjects, {name: frozenset(pairs) for name, pairs in said.items()}
