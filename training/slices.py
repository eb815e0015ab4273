"""Parts of the examples that judge, each of which the gate looks at by itself: who labelled them, and, where the policy
names columns of the scene's table, what stands in those.

A model that is better in the mean may be worse for one region or one machine; the columns in which that would matter
are the user's to name. Every slice is one more thing by which a candidate may be refused, so that by default there are
none of columns. Knows nothing of models or of what the gate asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from core.errors import InvalidInput
from core.home import Home
from core.types import Example, Scene
from training import features, parts

TABLE = "tabular"


def of(
    home: Home, scene: Scene, judging: Iterable[Example], said: Mapping[str, frozenset[tuple[str, str]]]
) -> dict[str, frozenset[str]]:
    """Example → the names of its slices.

    Args:
        said: example → the pairs of source and annotator that have labelled it.

    Raises:
        InvalidInput: the policy names a column that no row has, or the scene has no table.
    """
    wanted = tuple(column.strip() for column in home.policies.of(scene.name).slices.split(",") if column.strip())
    if wanted and TABLE not in parts.names(scene.modality):
        raise InvalidInput(f"the policy names slices by columns, and the scene is of {scene.modality}", _remedy(scene))
    found: dict[str, frozenset[str]] = {}
    seen = set[str]()
    for example in judging:
        row = _row(example, scene, home) if wanted else {}
        seen |= row.keys()
        cells = {f"{column} {row[column]}" for column in wanted if row.get(column) not in (None, "")}
        found[example.digest] = frozenset(_labelled(said.get(example.digest, frozenset())) | cells)
    unknown = [column for column in wanted if found and column not in seen]
    if unknown:
        there = ", ".join(sorted(seen))
        raise InvalidInput(f"the policy names slices by {unknown[0]!r}; the columns are {there}", _remedy(scene))
    return found


def _labelled(pairs: Iterable[tuple[str, str]]) -> set[str]:
    return {
        name
        for source, annotator in pairs
        for name in (f"source {source}", *((f"annotator {annotator}",) if annotator else ()))
    }


def _row(example: Example, scene: Scene, home: Home) -> dict[str, object]:
    """The row of a table, or of the part of a mixture that is one; empty where it is missing."""
    for part in parts.of([example], scene.modality, TABLE, home.limits):
        row: dict[str, object] = json.loads(features.content(part))
        return row
    return {}


def _remedy(scene: Scene) -> str:
    return f"name others, or none: lepton policy {scene.name} --set slices="
