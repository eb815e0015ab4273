"""Backbones for a scene: how they are loaded, which are compared, which are chosen, and which may still be explored.

Promises that only training rows decide, and that each part of a mixture gets one. Knows nothing of graphs or of heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from core.errors import InvalidInput
from core.home import Home
from core.types import Policy, Scene
from training import kinds, parts, tuning, zoo
from training.auto import STRATEGIES, Plan, Strategy
from training.data import Dataset
from training.merge import candidates as fusing
from training.select import Candidate, select
from training.tune.device import Device
from training.zoo import Setting

if TYPE_CHECKING:
    from training.pipeline import Request


WORDS = "auto moves no weights: there is nothing to learn from but labels in words"
ALIGNED = (
    "auto moves no weights by labels of another scene, and leaves it to the methods for inputs without labels; to tune "
    "on both name a recipe, such as --recipe finetune --set align=dan"
)


def setting(request: Request, dataset: Dataset) -> Setting:
    """What training rows decide about backbones; validation and test say no more than that they are there."""
    each = request.budget / max(1, len(dataset.examples))
    told = [(example.content, example.split == "train") for example in dataset.examples if example.content is not None]
    taught, others = ([content for content, train in told if train is wanted] for wanted in (True, False))
    found = kinds.kind(dataset.modality).setting(taught, others, dataset.median_side, each)
    return found if request.size is None else replace(found, size=request.size)


def choose(
    home: Home, request: Request, dataset: Dataset, setting: Setting, told: Callable[[Candidate], None]
) -> tuple[Candidate, ...]:
    """The table of candidates, of each part of a mixture; one that was named alone is not compared.

    ``told`` hears of each as it was tried.
    """
    wanted = parts.names(dataset.modality)
    found: list[Candidate] = []
    for part, named in _named(request, wanted, setting).items():
        if len(named) == 1:
            found.append(Candidate(name=named[0], size=setting.size, chosen=True, reason="named by the user"))
            continue
        listed = named or _listed(part, words=request.names is not None)
        found += select(
            parts.of(dataset.of("train"), dataset.modality, part, home.limits),
            [(name, setting) for name in listed],
            home.cache,
            scene=shape(request, dataset, part),
            limits=home.limits,
            budget=request.budget / len(wanted),
            seed=request.seed,
            told=told,
        )
    return tuple(found)


def _listed(part: str, *, words: bool) -> tuple[str, ...]:
    """All that are here; of words without examples last features alone, which tell best what is meant."""
    rows = [row.name for row in zoo.available(part) if row.offline]
    return tuple(name for name in rows if not (words and zoo.plain(name)))


def fused(
    home: Home, request: Request, dataset: Dataset, setting: Setting, candidates: tuple[Candidate, ...]
) -> fusing.Chosen:
    """Several of the candidates, where they are better together; the parts of a mixture are together anyway."""
    if request.unlabelled is not None:
        if request.fuse not in (fusing.AUTO, fusing.NONE):
            message = f"{request.fuse} fuses several backbones, and one is moved to inputs without labels"
            raise InvalidInput(message, "leave --fuse out, or --unlabelled")
        return fusing.Chosen(candidates=candidates)
    if len(parts.names(dataset.modality)) > 1:
        if request.fuse not in (fusing.AUTO, fusing.NONE):
            message = f"the data are {dataset.modality}, whose parts share one head; {request.fuse} is for one part"
            raise InvalidInput(message, "leave --fuse out")
        return fusing.Chosen(candidates=candidates)
    scene = shape(request, dataset, dataset.modality)
    return fusing.fused(home, scene, dataset.of("train"), candidates, setting, request.fuse, request.seed)


def shape(request: Request, dataset: Dataset, modality: str, new_labels: Policy = "reject") -> Scene:
    """The scene with its tasks, values not scaled yet."""
    first = Scene(
        name=request.scene,
        task=dataset.task,
        modality=modality,
        labels=dataset.labels,
        new_labels=new_labels,
        task_name=dataset.task_name,
    )
    others = (replace(first, task=t.task, labels=t.labels, task_name=t.name) for t in dataset.further)
    return replace(first, further=tuple(others))


def _named(request: Request, wanted: Sequence[str], setting: Setting) -> dict[str, tuple[str, ...]]:
    """The backbones that the user names, for each part of a mixture.

    Raises:
        InvalidInput: one of them takes none of the parts.
    """
    if len(wanted) == 1:
        return {wanted[0]: request.backbones}
    kinds_of = {name: zoo.load(name, setting).modality for name in request.backbones}
    for name, modality in kinds_of.items():
        if modality not in wanted:
            raise InvalidInput(f"{name} takes {modality}, and the data are {' and '.join(wanted)}", "leave it out")
    return {part: tuple(name for name, modality in kinds_of.items() if modality == part) for part in wanted}


def plan(
    request: Request,
    candidates: Sequence[Candidate],
    setting: Setting,
    budget: float,
    device: Device,
    noted: Callable[[str], None],
) -> Plan | None:
    """What may be explored: the backbone that was chosen, and those of torch whose intervals reach its own.

    None where a recipe was named, or where auto has other evidence to go by, which it says: names instead of examples,
    or inputs without labels, whose methods judge themselves.

    Raises:
        InvalidInput: a search was asked for, and there are no examples yet.
    """
    if request.recipe not in STRATEGIES:
        return None
    if request.recipe == "auto" and (request.names is not None or request.unlabelled is not None):
        noted(ALIGNED if request.unlabelled is not None else WORDS)
        return None
    if request.names is not None:
        raise InvalidInput("a search needs labelled examples, and labels in words were given", "leave --recipe out")
    first = next(candidate for candidate in candidates if candidate.chosen)
    rivals = [each for each in candidates if not each.chosen and each.score is not None and each.high >= first.low]
    return Plan(
        strategy=cast("Strategy", request.recipe),
        backbones=(first.name, *(each.name for each in rivals if tuning.can_move(zoo.load(each.name, setting)))),
        load=lambda name, size: zoo.load(name, replace(setting, size=size)),
        size=setting.size,
        latencies={each.name: each.milliseconds for each in candidates if each.score is not None},
        budget=budget,
        device=device,
    )
