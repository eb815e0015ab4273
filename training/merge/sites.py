"""Sums that other sites exported, added to what stands here: a new version whose head includes them from now on.

Promises that the sums are exact, that each site counts once, this one included, and that learning goes on: the foreign
sums lie in the bundle, and every head of the version is solved from them and from the labels that stand here. Where
labels stand here, the version is refused only if it is told apart as worse on them (paired bootstrap): a few rows of
one site say little of what the others know. Knows nothing of how sums are solved.

Legend: N rows, M blocks, K columns.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core import bundle
from core.blocks import whole
from core.bundle import Fusion, Golden, Metric, blocks_of
from core.errors import InvalidInput, NotFound
from core.federation import FILE, FOREIGN, Share, check_like, from_bytes, site_of, to_bytes
from core.follow import Follower
from core.head import HeadState
from core.home import Home
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, Head, Scene, Version
from exporters.compose import with_head
from training import measure, package, select
from training.adapt import closed_form
from training.fuse import statistics
from training.merge.bench import example_of
from training.merge.proposal import METRICS, Verdict
from training.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Added:
    """What came of it; ``version`` is None where it was refused."""

    verdict: Verdict
    fusion: Fusion
    sites: tuple[str, ...]
    examples: int
    version: Version | None = None
    head: Head | None = None
    metrics: dict[str, Metric] | None = None


def add(home: Home, scene_name: str, files: Sequence[str], reporter: Reporter) -> Added:
    """Read the sums, add them to those of the scene, and register the version.

    Args:
        files: files that ``lepton export --statistics`` wrote, or the folders that they lie in.

    Raises:
        NotFound: no such file, or the scene has no version of that extractor.
        InvalidInput: a file holds no statistics, a site is there twice, or they do not go together.
    """
    scene = home.registry.scene(scene_name)
    if scene.further:
        raise InvalidInput(
            f"scene {scene.name!r} has {len(scene.tasks)} tasks, and sums are of one", "make a scene of one task for it"
        )
    reporter.stage("reading the sums of other sites")
    shares = [_read(Path(file)) for file in files]
    base = _base(home, scene, shares[0])
    for share in shares:
        _check(scene, base, share)
    added = statistics.fuse(shares)
    labels = [column for column in added.share.columns if column not in scene.labels]
    if scene.task == "classification" and labels:
        scene = replace(scene, labels=(*scene.labels, *labels))
    reporter.stage("solving the head of all sites")
    follower = _follow(home, scene, base, added.share)
    head = follower.head()
    if head is None:
        raise InvalidInput(f"no class has two examples at all sites of {scene.name!r}", "label more at the sites")
    fusion = _evidence(Table(home, scene, base, follower), shares)
    verdict = _verdict(fusion)
    examples = added.share.examples + head.examples
    if not verdict.accepted:
        return Added(verdict=verdict, fusion=fusion, sites=added.share.sites, examples=examples)
    home.registry.declare(scene)
    version, metrics = _register(home, scene, base, follower, head, fusion)
    return Added(
        verdict=verdict,
        fusion=fusion,
        sites=added.share.sites,
        examples=examples,
        version=version,
        head=head,
        metrics=metrics,
    )


class Table:
    """The rows that stand here, and how well a head of any sites answers them without having seen them.

    Args:
        base: the version whose extractor all sites share. follower: of all sites.
    """

    def __init__(self, home: Home, scene: Scene, base: Version, follower: Follower) -> None:
        self._home, self._scene, self._base = home, scene, base
        self.rows = [follower.state.rows[name] for name in sorted(follower.state.rows)[: select.SAMPLE]]
        self.units = follower.state.parts[0].units
        self.groups = [row.column for row in self.rows]
        self.task = scene.task

    def together(self, shares: Sequence[Share]) -> Doubles:
        """(N,) what each row counts by the rows here and those of some sites; all wrong where nothing is solved."""
        follower = _follow(self._home, self._scene, self._base, statistics.fuse(shares).share if shares else None)
        head = follower.head()
        if head is None:
            return np.zeros(len(self.rows))
        return self._outcomes(follower.state.answered([row.example for row in self.rows], head), head)

    def elsewhere(self, shares: Sequence[Share]) -> Doubles:
        """(N,) what each row counts by the rows of some sites alone."""
        scene, share = self._scene, statistics.fuse(shares).share
        state = HeadState(
            share.blocks[-1].stop, task=scene.task, declared=scene.labels, blocks=share.blocks, foreign=share
        )
        head = state.solve()
        if head is None:
            return np.zeros(len(self.rows))
        features_ND = np.stack([row.features for row in self.rows])
        return self._outcomes(from_grid(features_ND) @ head.weight + head.bias, head)

    def _outcomes(self, scores_NK: Doubles, head: Head) -> Doubles:
        if self._scene.task == "regression":
            values_N = from_grid(np.array([row.target for row in self.rows], np.int16))
            spread = max(float(values_N.var()), np.finfo(np.float64).tiny)
            counted_N: Doubles = 1.0 - np.square(scores_NK[:, 0] - values_N) / spread
            return counted_N
        said = [head.labels[place] for place in scores_NK.argmax(axis=1)]
        return np.array([float(word == row.column) for word, row in zip(said, self.rows, strict=True)])


def _read(file: Path) -> Share:
    place = file / FILE if file.is_dir() else file
    try:
        data = place.read_bytes()
    except OSError as error:
        raise NotFound(
            f"{file} cannot be read: {error.strerror}",
            "give a file that lepton export --statistics wrote, or its folder (a method of versions: --method auto)",
        ) from error
    return from_bytes(data, place.name)


def _base(home: Home, scene: Scene, share: Share) -> Version:
    """The newest version with the sites' extractor that can be served, the champion before others.

    Raises:
        NotFound: there is none.
    """
    alias = home.registry.champion(scene.name)
    fitting = [
        version
        for version in home.registry.versions(scene.name)
        if version.manifest["extractor"] == share.extractor and version.state == "ready"
    ]
    if not fitting:
        raise NotFound(
            f"scene {scene.name!r} has no version whose features come out of {share.extractor[:12]}, as those of site "
            f"{share.sites[0]} do",
            "import the version that the site exported its statistics of: lepton import SCENE DIR",
        )
    return max(fitting, key=lambda version: (alias is not None and version.version == alias.version, version.number))


def _check(scene: Scene, base: Version, share: Share) -> None:
    """Whether a site's sums go together with those of this scene.

    Raises:
        InvalidInput: they do not.
    """
    mine = site_of(scene)
    if mine in share.sites:
        raise InvalidInput(
            f"the sums of site {mine} are those of scene {scene.name!r} itself, which are counted already",
            "give the statistics of other sites only",
        )
    width = int(str(base.manifest["features"]))
    here = replace(
        share,
        sites=(mine,),
        extractor=str(base.manifest["extractor"]),
        task=scene.task,
        offset=scene.offset,
        scale=scene.scale,
        blocks=blocks_of(base.manifest) or whole(width),
    )
    check_like(share, here)


def _follow(home: Home, scene: Scene, base: Version, foreign: Share | None) -> Follower:
    follower = Follower(
        home.ledger,
        home.evidence,
        scene,
        extractor=str(base.manifest["extractor"]),
        width=int(str(base.manifest["features"])),
        weight_of=home.settings.labels.weight,
        policy=home.label_policy(scene.name),
        blocks=blocks_of(base.manifest),
        foreign=foreign,
        learned=home.learned(base),
    )
    follower.catch_up()
    return follower


def _evidence(table: Table, shares: Sequence[Share]) -> Fusion:
    """All sites beside this one alone, on the rows that stand here."""
    units = table.units
    names = ["this site", *(f"site {', '.join(share.sites)}" for share in shares)]
    alphas = [1.0 - sum(share.units for share in shares) / units, *(share.units / units for share in shares)]
    if not table.rows:
        members = [bundle.Share(name=name, alpha=alpha, alone=None) for name, alpha in zip(names, alphas, strict=True)]
        return Fusion(
            method="statistics",
            metric="no row of this site",
            rows=0,
            score=0.0,
            best=0.0,
            low=0.0,
            high=0.0,
            members=tuple(members),
        )
    whole_N, mine_N = table.together(shares), table.together([])
    score = functools.partial(select.score, groups_N=table.groups)
    alone = [score(mine_N), *(score(table.elsewhere([share])) for share in shares)]
    rests = [[other for other in shares if other is not share] for share in shares]
    without = [score(table.elsewhere(shares)), *(score(table.together(rest)) for rest in rests)]
    low, high = select.interval(whole_N - mine_N, table.groups, 0)
    return Fusion(
        method="statistics",
        metric=METRICS[table.task],
        rows=len(table.rows),
        score=score(whole_N),
        best=alone[0],
        low=low,
        high=high,
        members=tuple(
            bundle.Share(name=name, alpha=alpha, alone=single, without=rest)
            for name, alpha, single, rest in zip(names, alphas, alone, without, strict=True)
        ),
    )


def _verdict(fusion: Fusion) -> Verdict:
    if fusion.rows == 0:
        return Verdict(accepted=True, words="nothing stands here, so the others alone decide the head")
    words = (
        f"with the others {100 * fusion.score:.1f} % ({fusion.metric}, {fusion.rows} rows of this site), without them "
        f"{100 * fusion.best:.1f} %: {100 * (fusion.score - fusion.best):+.1f} points "
        f"({100 * fusion.low:+.1f} to {100 * fusion.high:+.1f})"
    )
    if fusion.high < 0:
        return Verdict(accepted=False, words=words + ", told apart as worse here")
    return Verdict(accepted=True, words=words)


def _register(
    home: Home, scene: Scene, base: Version, follower: Follower, head: Head, fusion: Fusion
) -> tuple[Version, dict[str, Metric]]:
    """The base with the head of all sites, and the foreign sums beside it."""
    held, standing = home.bundle(base.version), sorted(follower.state.rows)
    learned = closed_form.answered(follower, head, standing)
    examples = [example_of(scene, follower.state.rows[name]) for name in standing]
    metrics = {
        f"leave_one_out_{name}": metric
        for name, metric in measure.of_examples(scene, learned.held_NK, examples, head.labels, 0).items()
    }
    model = with_head(held.model, head)
    answer = Session(model).predict(held.golden.inputs)
    alias = home.registry.champion(scene.name)
    lineage = held.manifest.lineage.model_copy(
        update={
            "sequence": head.sequence,
            "parent": alias.version if alias else None,
            "parents": (base.version,),
            "code": importlib.metadata.version("lepton"),
        }
    )
    manifest = held.manifest.model_copy(
        update={
            "scene": scene.name,
            "new_labels": scene.new_labels,
            "labels": head.labels,
            "lam": head.lam,
            "temperature": head.temperature,
            "metrics": metrics,
            "fusion": fusion,
            "lineage": lineage,
        }
    )
    assert follower.state.foreign is not None
    files = {**held.files, FOREIGN: to_bytes(follower.state.foreign)}
    golden = Golden(held.golden.inputs, answer.features, answer.outputs)
    return package.write(home, manifest, model, golden, head, files), metrics
