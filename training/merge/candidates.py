"""Backbones that were compared for a scene, fused where that is wanted or pays.

Promises that candidates are fused only where that is not worse than the best of them alone, by the rule of
training.merge.proposal, on the rows that they were compared on. Features are put side by side before the graph is
composed, so they differ from the graph's by a second rounding. Knows nothing of graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core import plugins
from core.bundle import Fusion
from core.errors import InvalidInput
from core.home import Home
from core.types import Example, Scene
from exporters.backbone import Backbone
from training import features, select, zoo
from training.assemble import Assembly, Joint, alone
from training.fuse.features import Config as Features
from training.merge import ensemble
from training.merge.bench import targets
from training.merge.members import Given, Member, Mix, everything
from training.merge.proposal import WORTH, judge
from training.select import Candidate
from training.tasks import by_task
from training.zoo import Setting

AUTO, NONE = "auto", "none"
BOTH = ("features", "logits")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The table with what is to be composed marked, and how it stands together where it is several."""

    candidates: tuple[Candidate, ...]
    joint: Joint | None = None
    fusion: Fusion | None = None


def check(method: str) -> None:
    """Whether candidates can be fused by a method.

    Raises:
        LookupError: there is none of that name. InvalidInput: it fuses something else.
    """
    if method in (AUTO, NONE):
        return
    if plugins.load(ensemble.METHODS, method).SPACE != "features":
        raise InvalidInput(
            f"{method} does not fuse backbones that were only compared",
            "choose auto, none, features or logits; to fuse versions: lepton fuse SCENE VERSION VERSION",
        )


def fused(
    home: Home,
    scene: Scene,
    examples: Sequence[Example],
    candidates: Sequence[Candidate],
    setting: Setting,
    method: str,
    seed: int,
) -> Chosen:
    """The table of one modality with several backbones marked, where they are better together for the first task.

    Args:
        examples: training examples; the same sample of them is drawn as for the comparison.

    Raises:
        InvalidInput: a method was named and there is one backbone, or they read their input in different ways.
    """
    plain = Chosen(candidates=tuple(candidates))
    tried = [candidate for candidate in candidates if candidate.score is not None]
    if len(tried) < 2:
        if method not in (AUTO, NONE):
            message = f"{method} fuses several backbones, and {len(tried)} was compared"
            raise InvalidInput(message, "name two: --backbone A --backbone B")
        return plain
    if method == NONE:
        return plain
    first, mine = by_task(scene, examples)[0]
    rows = select.subsample(mine, first.task, seed, select.SAMPLE // len(scene.tasks))
    assemblies = [alone(zoo.load(each.name, setting), scene, home.cache, rows, home.limits) for each in tried]
    fitting = [number for number, made in enumerate(assemblies) if method != AUTO or _alike(made, assemblies[0])]
    if len(fitting) < 2:
        return plain
    members = [_member(home, tried[number], assemblies[number], rows) for number in fitting]
    targets_NK = targets(first, rows)
    given = Given(members=members, task=first.task, targets_NK=targets_NK, judged_N=everything(rows), seed=seed)
    found = [each for name in (BOTH if method == AUTO else (method,)) if (each := _mixed(given, name, method))]
    best = max(found, key=lambda each: each[1].score, default=None)
    if best is None or not judge(best[1], slower=True, pays=method == AUTO).accepted:
        return plain
    return _marked(candidates, [tried[number].name for number in fitting], *best)


def _mixed(given: Given, name: str, method: str) -> tuple[Mix, Fusion] | None:
    paying = Features(worth=WORTH, least=1) if (name, method) == ("features", AUTO) else None
    return ensemble.mixed(given, name, paying)


def _alike(one: Assembly, other: Assembly) -> bool:
    """Whether one input serves both."""
    return _reading(one.backbones[0]) == _reading(other.backbones[0])


def _reading(backbone: Backbone) -> tuple[object, ...]:
    return dict(backbone.files), dict(backbone.inputs)


def _member(home: Home, candidate: Candidate, made: Assembly, rows: Sequence[Example]) -> Member:
    features_ND = features.extract(made.session, made.preprocessor, made.extractor, rows, home.cache)
    return Member(name=candidate.name, features_ND=features_ND, milliseconds=candidate.milliseconds)


def _marked(candidates: Sequence[Candidate], names: Sequence[str], mix: Mix, fusion: Fusion) -> Chosen:
    kept = {names[place]: mix.alphas[place] for place in mix.kept}
    told = f"{100 * fusion.score:.1f} % together by {fusion.method}, {100 * fusion.best:.1f} % the best alone"
    marked = [
        replace(
            candidate,
            chosen=candidate.name in kept,
            reason=f"share {kept[candidate.name]:.2g}: {told}" if candidate.name in kept else candidate.reason,
        )
        for candidate in candidates
    ]
    return Chosen(candidates=tuple(marked), joint=ensemble.joint_of(mix), fusion=fusion)
