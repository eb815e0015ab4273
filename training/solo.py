"""One backbone of several by itself: the graph, the rows and the head with which its weights are moved.

Promises that of a mixture only examples that have the backbone's part are learned from, each part once, and that none
which judges is among those that teach; a backbone that is alone anyway is given its very rows. Knows nothing of
recipes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.types import Example, Head, Scene
from exporters.backbone import Backbone
from training import features, judge, parts
from training.assemble import Assembly, assemble
from training.judge import Bench, Judged
from training.recipe import Rows


@dataclass(frozen=True, kw_only=True)
class Solo:
    """Where a backbone is tuned.

    Attributes:
        head: the closed form of the training rows on its features alone.
        names: what an example is called where it is but its part of a mixture.
    """

    scene: Scene
    assembly: Assembly
    rows: Rows
    head: Head = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)


def solo(together: Assembly, place: int, held: Judged, rows: Rows, bench: Bench) -> Solo:
    """The backbone at ``place`` of the assembly, which was judged on the rows.

    Raises:
        TooFew: no class has two training examples that have its part.
    """
    if len(together.backbones) == 1:
        return Solo(scene=bench.scene, assembly=together, rows=rows, head=held.head)
    backbone = together.backbones[place]
    scene = _scene(bench.scene, backbone)
    mine, names = _rows(rows, backbone, bench)
    drawn = judge.draw(mine.train, bench.seed)
    assembly = assemble([backbone], bench.kind, scene, bench.cache, drawn, bench.threads, bench.limits)
    cache = judge.cache_of(assembly, bench.cache)
    found_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, mine.train, cache)
    known = {example.digest: row for example, row in zip(mine.train, found_ND, strict=True)}
    return Solo(scene=scene, assembly=assembly, rows=mine, head=judge.solve(scene, mine.train, known), names=names)


def _scene(scene: Scene, backbone: Backbone) -> Scene:
    others = tuple(replace(task, modality=backbone.modality) for task in scene.further)
    return replace(scene, modality=backbone.modality, further=others)


def _rows(rows: Rows, backbone: Backbone, bench: Bench) -> tuple[Rows, dict[str, str]]:
    names: dict[str, str] = {}
    taken = set[str]()

    def side(examples: Sequence[Example]) -> tuple[Example, ...]:
        found: list[Example] = []
        for example in examples:
            for part in parts.of([example], bench.scene.modality, backbone.modality, bench.limits):
                if part.digest not in taken:
                    taken.add(part.digest)
                    found.append(part)
                    names[example.digest] = part.digest
        return tuple(found)

    return Rows(train=side(rows.train), validation=side(rows.validation)), names
