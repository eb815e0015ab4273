"""Doubts about labels before anything is trained: which ones a small backbone contradicts that has not seen them.

Promises to be done within about a minute: of many examples a part is looked at, drawn by a seed, and said so; the
features go into the cache, where training finds them again. Knows nothing of the registry: nothing is written there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.follow import Followed
from core.home import Home
from core.types import Example, GridRows, Scene
from training import choosing, features, judge, parts, pipeline, select, zoo
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.assemble import assemble
from training.data import Dataset
from training.pipeline import Request
from training.tasks import by_task

SECONDS = 60.0  # that features may take
MOST = 3000  # examples that are looked at


@dataclass(frozen=True, kw_only=True)
class Doubted:
    """The data with what was doubted, and how many of so many labelled examples were looked at, by what."""

    dataset: Dataset
    looked_at: int
    of: int
    backbone: str


def doubted(
    home: Home, scene: str, dataset: Dataset, progress: Callable[[int, int], None], threads: int = 2
) -> Doubted | None:
    """Doubts of the smallest backbone that loads offline; None where the task is no classification.

    Raises:
        LeptonError: no backbone works here, or there is too little to learn from.
    """
    request = Request(scene=scene)
    taught = [example for example in dataset.examples if example.split != "test"]
    shape = choosing.shape(request, dataset, dataset.modality)
    if all(task.task == "regression" for task in shape.tasks):
        return None
    setting = choosing.setting(request, dataset)
    wanted = parts.names(dataset.modality)
    names = [next(row.name for row in zoo.available(part) if row.offline) for part in wanted]
    drawn = judge.draw(taught, request.seed)
    backbones = [zoo.load(name, setting) for name in names]
    assembly = assemble(backbones, None, shape, home.cache, drawn, threads, home.limits)
    each = select.latency(assembly.session, assembly.preprocessor, drawn[0]) / 1000
    order = np.random.default_rng(request.seed).permutation(len(taught))
    seen = [taught[place] for place in sorted(order[: max(judge.DRAWN, min(MOST, int(SECONDS / each)))])]
    found_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, seen, home.cache, progress)
    rows = {example.digest: row for example, row in zip(seen, found_ND, strict=True)}
    for task, mine in by_task(shape, seen):
        if task.task == "classification":
            alone = replace(task, further=())
            learned = _learned(alone, mine, rows, assembly.session.width)
            if learned is not None:
                dataset = pipeline.with_label_errors(dataset, alone, mine, learned)
    return Doubted(dataset=dataset, looked_at=len(seen), of=len(taught), backbone=" + ".join(names))


def _learned(task: Scene, mine: Sequence[Example], rows: dict[str, GridRows], width: int) -> Learned | None:
    followed = Followed(task, width, lambda source: 1)
    followed.state = judge.state(task, mine, rows)
    head = followed.state.solve()
    return None if head is None else closed_form.of_task(followed, head, [example.digest for example in mine])
