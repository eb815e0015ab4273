"""What a cycle of retraining makes of the labels that stand: the closed form first, then weights moved where that pays.

Of several backbones, fused or of a mixture, all are had again and one is moved: of those that can be tuned the one with
the largest share in the answer. The others stay, and so do widths, shares and blocks.

Promises that every weight begins at the pretrained backbone, or at the champion's where that is asked for; that only
examples of ``training.stock`` that teach are learned from, half of them new and half old ones, classes in turn; that
what was tuned takes the closed form's place only where it is no worse on validation rows that no weight has seen (by a
standard error at most, where the gate will ask for a gain); and the same bits for the same examples and seed on one
machine with one number of threads, unless the time runs out. Knows nothing of the gate, of the registry or of what
serves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.bundle import Tuning
from core.errors import InvalidInput, LeptonError, ParityFailed
from core.failpoint import passes
from core.follow import Follower
from core.home import Home
from core.job_settings import RetrainSettings
from core.types import Doubles, Example, GridRows, Head, Scene
from exporters.backbone import Backbone
from exporters.parity import Parity
from training import auto, judge, kinds, package, parts, recipe, regained, tuning
from training.assemble import Assembly, Joint, assemble
from training.judge import Bench, Judged
from training.merge.parents import Parent
from training.ready import MEASURES, sentence
from training.recipe import FLOOR, Context, Epoch, Rows, TooFew, Tuned
from training.replayed import soft
from training.reporter import Reporter
from training.select import spread
from training.solo import Solo, solo
from training.stock import Stock
from training.sweep import Line
from training.tasks import by_task
from training.tune import device

AUTO, DEFAULT = "auto", "finetune"
BRIEF: Mapping[str, object] = {"epochs": 4, "frozen": 0.5, "keep": "last"}  # a cycle begins nearly right, comes again
KNOWN: Mapping[str, Mapping[str, object]] = {  # elsewhere a range test finds the rate, at a quarter of the time
    "image": {"rate": 6e-4},
    "text": {"rate": 3e-4, "epochs": 2, "frozen": 0.0},
}
LEAST_HELD, HELD = 128, 0.05  # rows, and the share of them, that say whether to ask the gate; of few rows a fifth
TUNING = 0.6  # of the time that is left goes into moving weights; the rest is for the sweep and for measuring


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a cycle stands on.

    Attributes:
        champion: the version that serves. follower: of its features.
        asked: the policy, with what was asked for this cycle alone. settings: of the recipe, by name.
        start: base or champion. tainted: the champion has learned of somebody who was erased, so that it has to go.
        deadline: by ``time.monotonic``.
    """

    home: Home
    scene: Scene
    champion: Parent
    follower: Follower
    stock: Stock
    asked: RetrainSettings
    settings: Mapping[str, object]
    start: str
    tainted: bool
    seed: int
    deadline: float
    reporter: Reporter

    @property
    def bench(self) -> Bench:
        """What stands around a judgement."""
        kind = regained.kind(self.champion.manifest)
        return Bench(self.scene, self.home.cache, self.home.limits, kind, os.cpu_count() or 1, self.seed)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A graph that could take the champion's place, its head still empty.

    Attributes:
        recipe: that moved its weights. tuning: what the manifest says of that; None where none was moved.
        spared: examples on which no weight was tuned; none where none was on any. learned: those on which some was.
        drawn: teaching examples on which parity was shown.
        known: its features by example, as far as they were asked for on the way.
    """

    recipe: str
    assembly: Assembly
    parity: Parity
    tuning: Tuning | None = None
    spared: frozenset[str] = frozenset()
    learned: frozenset[str] = frozenset()
    drawn: tuple[Example, ...] = field(repr=False)
    known: Mapping[str, GridRows] = field(default_factory=dict, repr=False)


def renewed(ground: Ground) -> Candidate | None:
    """The best of what could be made; None where nothing but the head of the champion can move, and where its tuned
    weights were gone on from and nothing better came of it.

    Raises:
        InvalidInput: a recipe that was named does not fit the backbone or the scene.
    """
    ground.reporter.stage("the closed form, on what was pretrained and what stands")
    floor = _refit(ground)
    if floor is None or ground.asked.recipe == FLOOR:
        return floor
    return _moved(ground, floor) or (None if _goes_on(ground) else floor)


def _refit(ground: Ground) -> Candidate | None:
    files = _files(ground)
    try:
        joint = regained.joint(ground.champion)
        backbones = regained.pristine(ground.home, ground.champion, files)
    except (LeptonError, LookupError) as error:
        words = "the champion's backbones cannot be had again, so that nothing but its head can move"
        ground.reporter.note(f"{words}: {error}")
        return None
    drawn = judge.draw(ground.stock.of((*ground.stock.new, *ground.stock.old)), ground.seed)
    assembly = _assembled(ground, backbones, drawn, joint)
    try:
        parity = package.check_parity(assembly, drawn)
    except ParityFailed as error:
        ground.reporter.note(f"{error.message}: nothing but the champion's head can move")
        return None
    return Candidate(recipe=FLOOR, assembly=assembly, parity=parity, drawn=tuple(drawn))


def _files(ground: Ground) -> Mapping[str, bytes]:
    """What is fitted on teaching rows, such as the columns of a table, and what came with the backbone."""
    files = dict(ground.champion.bundle.files)
    modality = ground.champion.manifest.modality
    if "tabular" in parts.names(modality):
        contents = [ground.stock.files[name].read_bytes() for name in (*ground.stock.new, *ground.stock.old)]
        files |= kinds.kind(modality).setting(contents, (), 0.0, 0.0).files
    return files


def _assembled(ground: Ground, backbones: Sequence[Backbone], drawn: list[Example], joint: Joint | None) -> Assembly:
    bench = ground.bench
    return assemble(backbones, bench.kind, ground.scene, bench.cache, drawn, bench.threads, bench.limits, joint)


def _moved(ground: Ground, floor: Candidate) -> Candidate | None:
    """What a recipe makes of the weights that the cycle begins from; None where it makes nothing better."""
    named, note = ground.asked.recipe != AUTO, ground.reporter.note
    name = ground.asked.recipe if named else DEFAULT
    try:
        start = _start(ground, floor)
        moving = start.backbones[regained.lead(ground.champion, start.backbones)]
        tuning.check(name, [moving])
        config = recipe.configure(name, ground.settings if named else brief(moving.modality))
        return _tried(ground, floor, start, sides(ground), name, config)
    except (TooFew, ParityFailed) as error:
        note(f"{error.message}: {_stays(ground)}")
    except InvalidInput as refused:
        if named:
            raise
        note(f"{refused.message}: {_stays(ground)}")
    return None


def brief(modality: str) -> Mapping[str, object]:
    """How weights are moved where nobody says how: few passes at a high rate, of the upper half of the layers, or, of
    texts, of all.

    >>> brief("text")
    {'epochs': 2, 'frozen': 0.0, 'keep': 'last', 'rate': 0.0003}
    >>> brief("audio")
    {'epochs': 4, 'frozen': 0.5, 'keep': 'last'}
    """
    return {**BRIEF, **KNOWN.get(modality, {})}


def _start(ground: Ground, floor: Candidate) -> Assembly:
    """The weights that the cycle begins from, in their graph."""
    if not _goes_on(ground):
        return floor.assembly
    backbones = regained.own(ground.home, ground.champion)
    return _assembled(ground, backbones, list(floor.drawn), floor.assembly.joint)


def _goes_on(ground: Ground) -> bool:
    """Whether tuning begins from weights that have seen labels of the scene."""
    return ground.start == "champion" and any(member.tuned for member in ground.champion.manifest.members)


def _stays(ground: Ground) -> str:
    return "the champion's weights stay" if _goes_on(ground) else "the closed form stays"


def sides(ground: Ground) -> Rows:
    """Rows to tune on and to judge by: as many old ones as there are new ones, and at least as many as are asked for.

    Where tuning begins from the champion's weights, which have seen the old ones, only new rows judge, and old ones are
    as many as new ones at most.
    """
    stock, scene, seed = ground.stock, ground.scene, ground.seed
    new, onwards = stock.of(stock.new), _goes_on(ground)
    old = spread(stock.of(stock.old), scene, seed, len(new) if onwards else max(len(new), ground.asked.replay))
    mixed = _ordered(new if onwards else new + old)
    found = tuning.sides(mixed, scene, seed, most=max(LEAST_HELD, HELD * len(mixed)))
    return replace(found, train=_ordered(found.train + old)) if onwards else found


def _ordered(examples: tuple[Example, ...]) -> tuple[Example, ...]:
    return tuple(sorted(examples, key=lambda example: example.digest))


def _tried(ground: Ground, floor: Candidate, start: Assembly, rows: Rows, name: str, config: Any) -> Candidate | None:
    note, bench = ground.reporter.note, ground.bench
    place = regained.lead(ground.champion, start.backbones)
    base = start.backbones[place]
    ground.reporter.stage(f"tuning {base.name} by {name} on {len(rows.train)} examples")
    held = judge.of_assembly(start, floor.parity, rows, bench)
    if ground.asked.recipe == AUTO and rows.train and (why := auto.against(held.score, ground.scene, rows.train)):
        note(f"{why}: {_stays(ground)}")
        return None
    alone = solo(start, place, held, rows, bench)
    context = _context(ground, alone, rows, getattr(config, "epochs", 0))
    made = recipe.load(name).tune(base, alone.rows, config, context)
    passes("retrain.tuned")
    if not made.moved:
        note(f"{name} found nothing better than its start ({made.stopped}): {_stays(ground)}")
        return None
    ground.reporter.stage("averaging the weights with those that it began from")
    line = Line(alone.assembly, made.backbone, alone.rows, alone.scene, ground.seed)
    found = _judged(ground, start, place, line.at(1.0), rows)
    share = line.best({0.0: held.features, 1.0: found.features} if len(start.backbones) == 1 else None)
    if share == 0:
        note(f"no average with the tuned weights is better than none of them: {_stays(ground)}")
        return None
    found = found if share == 1 else _judged(ground, start, place, line.at(share), rows)
    decided = judge.decide(held, found, name, ground.seed, again=not ground.tainted)
    note(decided.words)
    if not decided.accepted:
        return None
    more = {"share_of_tuned": share, "replayed": _replayed(ground, rows), "distill": ground.asked.distill}
    attempt = tuning.Attempt(
        name=name,
        rows=rows,
        words=decided.words,
        tuned=replace(made, settings={**made.settings, **more}),
        judged=found,
        decision=decided,
        trained=_trained(ground, made, found, rows),
    )
    unknown = ground.stock.untouched if ground.start == "champion" else frozenset(ground.stock.files)
    spared = unknown.difference(example.digest for example in rows.train)
    return Candidate(
        recipe=name,
        assembly=found.assembly,
        parity=found.parity,
        tuning=tuning.told(attempt, base.digest, ground.reporter.run, ground.seed),
        spared=spared,
        learned=ground.home.untouched.learned(ground.scene.name, ground.stock.upto, spared),
        drawn=tuple(judge.draw(rows.train, ground.seed)),
        known=found.features,
    )


def _judged(ground: Ground, start: Assembly, place: int, backbone: Backbone, rows: Rows) -> Judged:
    """What would be served with a backbone in its place among those that stay."""
    backbones = [*start.backbones[:place], backbone, *start.backbones[place + 1 :]]
    drawn = judge.draw(rows.train, ground.seed)
    assembly = _assembled(ground, backbones, drawn, start.joint)
    return judge.of_assembly(assembly, package.check_parity(assembly, drawn), rows, ground.bench)


def _trained(ground: Ground, made: Tuned, found: Judged, rows: Rows) -> float:
    """The score of the head that was trained along; among several backbones, by what it said of the one alone."""
    assert made.head is not None, "what was moved was trained with a head"
    if len(found.assembly.backbones) > 1:
        return made.history[made.best].validation_score
    return judge.trained_score(found, made.head, rows, ground.scene)


def _replayed(ground: Ground, rows: Rows) -> int:
    old = set(ground.stock.old)
    return sum(example.digest in old for example in rows.train)


def _context(ground: Ground, alone: Solo, rows: Rows, epochs: int) -> Context:
    reporter = ground.reporter

    def epoch(at: Epoch) -> None:
        for name in MEASURES:
            reporter.metric(name, at.number, getattr(at, name))
        reporter.note(sentence(at, alone.scene))
        reporter.progress(at.number, epochs)

    return Context(
        scene=alone.scene,
        head=alone.head,
        transform=alone.assembly.transforms[0],
        limits=ground.home.limits,
        seed=ground.seed,
        budget=max(0.0, TUNING * (ground.deadline - time.monotonic())),
        device=device.alone(),
        soft={
            task: {alone.names.get(name, name): target_K for name, target_K in told.items()}
            for task, told in soft_of(ground, alone.head, rows).items()
        },
        told=epoch,
        noted=reporter.note,
    )


def soft_of(ground: Ground, head: Head, rows: Rows) -> dict[str, dict[str, Doubles]]:
    """What replayed rows are taught, task by task, where the champion has a share in it beside their labels."""
    old, share = set(ground.stock.old), ground.asked.distill
    replayed = [example for example in rows.train if example.digest in old] if share else []
    asked = zip(ground.follower.tasks, by_task(ground.scene, replayed), strict=True)
    return {
        task.task_name: soft(task, each.state, ground.stock.judging, mine, head.of(task.task_name).labels, share)
        for each, (task, mine) in asked
    }
