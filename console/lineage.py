"""The lineage of a scene's versions as a drawing: data, the versions made of them, and what came from what.

Promises a drawing in which every arrow is in a manifest, and that names are escaped. Of many versions the newest are
drawn. Knows nothing of how versions are made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.look.html import Html, text
from core.registry import short
from core.types import Version

MOST = 24
_WIDE, _HIGH, _ACROSS, _DOWN, _EDGE = 148, 46, 44, 14, 4


@dataclass(frozen=True, kw_only=True)
class Node:
    """A box: what is written in it, where it leads, what it comes from."""

    key: str
    title: str
    below: str
    kind: str
    link: str | None
    parents: tuple[str, ...]


def nodes(versions: Sequence[Version], champion: str | None, challenger: str | None) -> list[Node]:
    """Boxes of the newest versions and of the data that they were made of, in the order of their numbers."""
    drawn = sorted(versions, key=lambda version: version.number)[-MOST:]
    known = {version.version for version in drawn}
    data_of = {version.version: str(_lineage(version).get("data_digest", "")) for version in drawn}
    boxes: dict[str, Node] = {}
    for version in drawn:
        told = _lineage(version)
        listed = [*told.get("parents", ()), *([told["parent"]] if told.get("parent") else [])]
        parents = tuple(dict.fromkeys(parent for parent in listed if parent in known))
        digest = data_of[version.version]
        if all(data_of[parent] != digest for parent in parents):
            boxes[f"data {digest}"] = Node(
                key=f"data {digest}", title="data", below=digest[:12], kind="data", link=None, parents=()
            )
            parents = (f"data {digest}", *parents)
        kind = {champion: "champion", challenger: "challenger"}.get(version.version, version.state)
        boxes[version.version] = Node(
            key=version.version,
            title=f"version {version.number}",
            below=kind if kind != "ready" else str(version.manifest.get("recipe", "")).replace("_", " "),
            kind=kind,
            link=f"/scenes/{version.scene}/versions/{version.version}",
            parents=parents,
        )
    return list(boxes.values())


def draw(boxes: Sequence[Node]) -> Html:
    """From left to right: data, then each version to the right of what it came from."""
    places = _places(boxes)
    if not places:
        return Html()
    width = (_WIDE + _ACROSS) * (1 + max(column for column, _ in places.values())) - _ACROSS + 2 * _EDGE
    height = (_HIGH + _DOWN) * (1 + max(row for _, row in places.values())) - _DOWN + 2 * _EDGE
    arrows = "".join(_arrow(places[parent], places[box.key]) for box in boxes for parent in box.parents)
    drawn = "".join(_box(box, *places[box.key]) for box in boxes)
    return Html(
        f'<svg class="lineage" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Lineage of the versions">{arrows}{drawn}</svg>'
    )


def _places(boxes: Sequence[Node]) -> dict[str, tuple[int, int]]:
    """Column and row of each: right of all that it came from, beside its first parent where there is room."""
    places: dict[str, tuple[int, int]] = {}
    taken: Mapping[int, set[int]] = defaultdict(set)
    for box in boxes:
        column = 1 + max((places[parent][0] for parent in box.parents), default=-1)
        row = min((places[parent][1] for parent in box.parents), default=0)
        while row in taken[column]:
            row += 1
        taken[column].add(row)
        places[box.key] = (column, row)
    return places


def _corner(column: int, row: int) -> tuple[int, int]:
    return _EDGE + column * (_WIDE + _ACROSS), _EDGE + row * (_HIGH + _DOWN)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = _corner(*start), _corner(*end)
    x1, y1, y2 = x1 + _WIDE, y1 + _HIGH // 2, y2 + _HIGH // 2
    middle = x2 - _ACROSS / 2
    return (
        f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2 - 1} {y2}"/>'
        f'<path d="M{x2 - 6} {y2 - 3.5} L{x2 - 1} {y2} L{x2 - 6} {y2 + 3.5}"/>'
    )


def _box(box: Node, column: int, row: int) -> str:
    x, y = _corner(column, row)
    inside = (
        f'<g class="node {text(box.kind)}"><rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="7"/>'
        f'<text class="ink" x="{x + 12}" y="{y + 20}">{text(box.title)}</text>'
        f'<text x="{x + 12}" y="{y + 36}">{text(box.below[:20])}</text></g>'
    )
    return inside if box.link is None else f'<a href="{text(box.link)}">{inside}</a>'


def _lineage(version: Version) -> Mapping[str, Any]:
    told = version.manifest.get("lineage", {})
    return told if isinstance(told, dict) else {}


def made_of(version: Version) -> str:
    """The beginnings of the versions that a version came from, in words; empty where there are none."""
    told = _lineage(version)
    listed = [*told.get("parents", ()), *([told["parent"]] if told.get("parent") else [])]
    return ", ".join(short(str(parent)) for parent in dict.fromkeys(listed))
