"""Registered versions to a new one: opened, put beside each other, fused, judged, registered.

Promises that nothing is registered that is worse than the best version alone on the same rows, that parity held, and
that the manifest names every parent with its share and the evidence for it. Knows nothing of single methods.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import plugins
from core.bundle import Metric
from core.errors import InvalidInput
from core.home import Home
from core.types import Head, Scene, Version
from training import measure, package
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.merge import ensemble, soup, teaching
from training.merge.bench import Bench, bench
from training.merge.parents import check_reading, parents
from training.merge.proposal import Proposal, Verdict, judge
from training.reporter import Reporter

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for: which versions, and how; ``auto`` tries what fits and takes what pays.

    ``budget`` is in seconds, for a method that trains.
    """

    scene: str
    versions: tuple[str, ...]
    method: str = AUTO
    seed: int = 0
    budget: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Fused:
    """What came of it; ``version`` is None where it was refused.

    Attributes:
        proposals: what was compared, the one that was judged first. skipped: methods that could not be, and why.
    """

    verdict: Verdict
    proposals: tuple[Proposal, ...]
    skipped: dict[str, str]
    version: Version | None = None
    head: Head | None = None
    metrics: dict[str, Metric] | None = None


def fuse(home: Home, request: Request, reporter: Reporter) -> Fused:
    """The whole road.

    Raises:
        LeptonError: what is wrong with the versions, the rows or the graph, with the remedy.
        LookupError: an unknown method; the message lists the choices.
    """
    if request.method != AUTO:
        _module(request.method)
    scene = home.registry.scene(request.scene)
    reporter.stage("opening the versions")
    chosen = parents(home, scene, request.versions)
    check_reading(chosen)
    reporter.stage("features of what stands, by every version")
    rows = bench(home, scene, chosen, request.seed, reporter.progress)
    proposals, skipped = _proposals(home, rows, request, reporter)
    if not proposals:
        return Fused(verdict=_none(rows, request, skipped), proposals=(), skipped=skipped)
    proposals = sorted(proposals, key=lambda proposal: (-proposal.fusion.score, proposal.slower))
    pays = request.method == AUTO
    verdicts = [judge(proposal.fusion, slower=proposal.slower, pays=pays) for proposal in proposals]
    best = next((place for place, verdict in enumerate(verdicts) if verdict.accepted), 0)
    verdict, proposal = verdicts[best], proposals[best]
    ordered = (proposal, *(other for other in proposals if other is not proposal))
    if not verdict.accepted:
        return Fused(verdict=verdict, proposals=ordered, skipped=skipped)
    reporter.stage("features of what stands, by the fused version")
    version, learned, metrics = _register(home, scene, rows, proposal, reporter)
    return Fused(
        verdict=verdict, proposals=ordered, skipped=skipped, version=version, head=learned.head, metrics=metrics
    )


def _module(method: str) -> str:
    """What a method fuses.

    Raises:
        LookupError: there is none of that name. InvalidInput: it does not fuse versions.
    """
    space: str = plugins.load(ensemble.METHODS, method).SPACE
    if space == "statistics":
        raise InvalidInput(
            "statistics adds up what sites have exported, not versions of one home",
            "give files that lepton export --statistics wrote: lepton fuse SCENE FILE… --method statistics",
        )
    return space


def _proposals(home: Home, rows: Bench, request: Request, reporter: Reporter) -> tuple[list[Proposal], dict[str, str]]:
    """What the methods make of the versions, and why others make nothing; a method that was named has to work."""
    if request.method != AUTO:
        reporter.stage(f"fusing by {request.method}")
        found = propose(home, rows, request.method, request.budget)
        return ([found], {}) if found else ([], {request.method: "leaves one version alone"})
    proposals, skipped = list[Proposal](), dict[str, str]()
    for method in ("features", "logits", "greedy_soup"):
        reporter.stage(f"fusing by {method}")
        try:
            found = propose(home, rows, method, request.budget)
        except InvalidInput as error:
            skipped[method] = error.message
            continue
        if found is None:
            skipped[method] = "leaves one version alone"
        else:
            proposals.append(found)
    return proposals, skipped


def propose(home: Home, rows: Bench, method: str, budget: float) -> Proposal | None:
    """The fusion by one method, as it is set by default; None where one version alone is left."""
    module = plugins.load(ensemble.METHODS, method)
    if module.SPACE == "features":
        return ensemble.propose(home, rows, method)
    if module.SPACE == "student":
        return teaching.propose(home, rows, module.Config(), budget)
    return soup.propose(home, rows, method, module, module.Config())


def _none(rows: Bench, request: Request, skipped: dict[str, str]) -> Verdict:
    names = " and ".join(parent.name for parent in rows.parents)
    told = "; ".join(f"{method}: {why}" for method, why in skipped.items())
    return Verdict(accepted=False, words=f"{request.method} makes nothing new of versions {names} ({told})")


def _register(
    home: Home, scene: Scene, rows: Bench, proposal: Proposal, reporter: Reporter
) -> tuple[Version, Learned, dict[str, Metric]]:
    aside = proposal.aside or rows.held
    judged = [example for example in rows.examples if aside is None or example.digest in aside]
    tuned = aside is not None and any(member.tuned for member in proposal.members)
    upto = home.ledger.last_sequence(scene.name)
    taught = home.untouched.learned(scene.name, upto, aside or ()) if tuned else frozenset[str]()
    learned = closed_form.study(
        home, scene, proposal.assembly, [example.digest for example in judged], reporter.progress, taught
    )
    standing = [example for example in judged if example.digest in learned.rows]
    held_NK = learned.held_NK[[learned.rows[example.digest] for example in standing]]
    metrics = {
        f"leave_one_out_{name}": metric
        for name, metric in measure.of_examples(scene, held_NK, standing, learned.head.labels, rows.seed).items()
    }
    champion = home.registry.champion(scene.name)
    origin = package.Origin(
        recipe=proposal.fusion.method,
        transform=proposal.transform,
        metrics=metrics,
        further={task.task_name: {} for task in scene.further},
        data_digest=rows.parents[0].manifest.lineage.data_digest,
        parent=champion.version if champion else None,
        validation="" if aside is None else home.untouched.keep(aside),
        members=proposal.members,
        alphas=tuple(share.alpha for share in proposal.fusion.members),
        fusion=proposal.fusion,
        parents=tuple(parent.version.version for parent in rows.parents),
    )
    version = package.register(home, scene, proposal.assembly, learned.head, rows.examples, origin)
    return version, learned, metrics
