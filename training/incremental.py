"""One cycle of retraining: the labels that stand become a candidate, the gate judges it, and it takes the place of the
champion or is refused with reasons.

Promises that nothing answers anybody that the gate or live evidence did not accept, that hold-outs have spent before
anything is registered, that a version is promoted with features for all that stands and a head of today's labels, and
only in the place of the champion that it was compared with; and that a cycle which died is begun again or goes on,
wherever it was. A version of which the gate cannot tell answers a copy of the traffic, until labels show. Knows
nothing of when it is time for one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from core import gate
from core.bundle import Member
from core.challenges import Mode
from core.decisions import Written
from core.errors import Conflict, InvalidInput, LeptonError, NotFound
from core.failpoint import passes
from core.gate import Check, Policy
from core.home import Home
from core.job_settings import RetrainSettings
from core.preprocess import Preprocessor
from core.promotion import challenge, prepare, promote, watch_over
from core.registry import Alias, short
from core.types import Example, GridRows, Version
from training import features, judge, package, recipe, verdict
from training.adapt import closed_form
from training.contest import Contest, counts
from training.folds import Fold
from training.ground import Candidate, Ground
from training.merge.parents import Parent, check_rows
from training.renewed import AUTO, renewed
from training.reporter import Reporter
from training.stock import base_of, part, turns

Start = Literal["base", "champion"]
Outcome = Literal["promoted", "challenging", "accepted", "refused"]
SAME = "the champion already has these features, and its head follows the labels by itself: nothing would change"
ALONE = "nothing better than the champion's features was found, and its head follows the labels by itself"
UNDECIDED = "the gate has too few examples to tell: the version answers a copy of the traffic, and labels will show"
HOPELESS = "the champion errs on too few of the examples that judge: no candidate could be shown to be better"
GOES = (
    ", and the champion has learned of somebody who was erased: promote another version, or retrain with a wider "
    "margin (lepton policy {scene} --set margin=0.1)"
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; None follows the scene's policy.

    Attributes:
        budget: seconds. start: weights to begin from. recipe, settings: how weights are moved, and its settings.
        challenge: the version challenges the champion first, with a copy or a share of the traffic.
    """

    scene: str
    budget: float | None = None
    seed: int = 0
    start: Start | None = None
    recipe: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    challenge: Mode | None = None


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """What came of it.

    Attributes:
        outcome: ``accepted`` where the gate did, and another challenge keeps the version from going on.
        words: a sentence. reasons: why it was refused.
        checks: all that the gate asked. decision: as it was written down; None where no hold-out was used.
    """

    outcome: Outcome
    words: str
    reasons: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    decision: Written | None = None
    version: Version | None = None


def retrain(home: Home, request: Request, reporter: Reporter) -> Cycle:
    """The whole cycle.

    Raises:
        NotFound: no such scene, or it has no version yet.
        LeptonError: what is wrong with the champion, the recipe, the graph or the disk, with the remedy.
        LookupError: an unknown recipe; the message lists the choices.
    """
    ground = stand(home, request, reporter)
    if ground is None:
        return _refused("nothing was said since the champion was made: there is nothing to learn")
    scene, policy = ground.scene, verdict.policy(ground)
    if (refused := _beforehand(ground, policy)) is not None:
        return refused
    passes("retrain.prepared")
    candidate = renewed(ground)
    if candidate is None:
        return _refused(ALONE)
    if _same(candidate, ground.champion):
        return _refused(SAME)
    reporter.stage("features of what stands, by the candidate")
    candidate = seen(ground, candidate, reporter)
    reporter.stage("asking champion and candidate the examples that judge")
    decision, told = verdict.reach(ground, candidate, policy)
    passes("retrain.decided")
    if not decision.accepted and not decision.record["undecided"]:
        reasons, asked_of_it = tuple(decision.record["reasons"]), verdict.checks(decision)
        words = "the gate refused it" + (GOES.format(scene=scene.name) if ground.tainted else "")
        return Cycle(outcome="refused", words=words, reasons=reasons, checks=asked_of_it, decision=decision)
    reporter.stage("writing and registering the version")
    made = _register(ground, candidate, told, decision, reporter)
    passes("retrain.registered")
    return settle(home, request, made, reporter)


def stand(home: Home, request: Request, reporter: Reporter) -> Ground | None:
    """What a cycle stands on; None where nothing was said since the champion was made.

    Raises as ``retrain``.
    """
    scene, asked = home.registry.scene(request.scene), _asked(home, request)
    version = home.registry.version(scene.name, _champion(home, scene.name).version)
    champion = Parent(version=version, bundle=home.bundle(version.version), home=home)
    check_rows(champion)
    tainted = version.version in home.certificates.tainted(scene.name)
    if home.ledger.last_sequence(scene.name) <= base_of(champion) and not tainted:
        return None
    reporter.stage("features of what stands, by the champion")
    deadline = time.monotonic() + 60 * asked.minutes
    prepare(home, scene.name, version.version, reporter.progress)
    follower = home.follower(scene, version, upto=home.holds.upto(scene.name))  # what is held teaches nothing
    follower.catch_up()
    if tainted:
        reporter.note("the champion has learned of somebody who was erased: this begins from the pretrained weights")
    return Ground(
        home=home,
        scene=scene,
        champion=champion,
        follower=follower,
        stock=part(home, scene, champion, follower, turns(scene, asked.judging)),
        asked=asked,
        settings=request.settings,
        start="base" if tainted else asked.start,
        tainted=tainted,
        seed=request.seed,
        deadline=deadline,
        reporter=reporter,
    )


def settle(home: Home, request: Request, version: Version, reporter: Reporter) -> Cycle:
    """What the policy says of a version that a cycle has registered: promoted, or set up as a challenger.

    Raises:
        Conflict: another version became champion since the gate compared it.
    """
    decision, asked = _decision(home, version), _asked(home, request)
    alias = _champion(home, version.scene)
    told: dict[str, Any] = {"checks": verdict.checks(decision), "decision": decision, "version": version}
    if decision.version is None:
        home.decisions.became(decision.id, version.version)
    promotes = decision.accepted and asked.accepted == "promote"
    if alias.version == version.version:
        words = _watched(home, version.scene, decision.champion, reporter) if promotes else ""
        return Cycle(outcome="promoted", words=f"it is champion{words}", **told)
    if alias.version != decision.champion:
        raise Conflict(
            f"version {short(alias.version)} became champion of {version.scene!r} while it was compared with "
            f"{short(decision.champion)}",
            "retrain again",
        )
    reporter.stage("features of labels that came meanwhile")
    prepare(home, version.scene, version.version, reporter.progress)
    if promotes:
        why = f"the gate accepted it: decision {decision.id}"
        promote(home, version.scene, version.version, expected_generation=alias.generation, why=why)
        passes("retrain.promoted")
        words = _watched(home, version.scene, alias.version, reporter)
        return Cycle(outcome="promoted", words=f"it is champion{words}", **told)
    if not decision.accepted:
        outcome, words = _challenging(home, version, "shadow", 1.0)
        told |= {"reasons": tuple(decision.record["reasons"])}
        if outcome == "challenging":
            return Cycle(outcome=outcome, words=UNDECIDED, **told)
        return Cycle(outcome="refused", words=f"the gate has too few examples to tell, and {words}", **told)
    outcome, words = _challenging(home, version, cast("Mode", asked.accepted), asked.share)
    return Cycle(outcome=outcome, words=words, **told)


def seen(ground: Ground, candidate: Candidate, reporter: Reporter) -> Candidate:
    """A candidate, and whoever answers for it, with features of all that stands and that it can read."""
    folds = [replace(fold, known=features_of(ground, fold, reporter)) for fold in candidate.folds]
    return replace(candidate, known=features_of(ground, candidate, reporter), folds=tuple(folds))


def features_of(ground: Ground, whose: Candidate | Fold, reporter: Reporter) -> dict[str, GridRows]:
    """(D,) features by example, of all that stands and can be read; what is known is not computed again, and nothing is
    kept until the gate has accepted."""
    assembly, files, known = whose.assembly, ground.stock.files, whose.known
    examples = [
        Example(digest=name, path=str(file), split="train") for name, file in sorted(files.items()) if name not in known
    ]
    cache = judge.cache_of(assembly, ground.home.cache)
    session, reader, extractor = assembly.session, assembly.preprocessor, assembly.extractor
    try:
        rows_ND = features.extract(session, reader, extractor, examples, cache, reporter.progress)
    except LeptonError as error:
        reporter.note(f"the candidate cannot read everything: {error.message}")
        examples = [example for example in examples if _reads(reader, example)]
        rows_ND = features.extract(session, reader, extractor, examples, cache, reporter.progress)
    return {**known, **{example.digest: row for example, row in zip(examples, rows_ND, strict=True)}}


def _beforehand(ground: Ground, policy: Policy) -> Cycle | None:
    """Why no candidate need be made: too little to judge by, a cycle that would repeat the last one, or one that no
    candidate could win."""
    few = gate.lacking(counts(ground.scene, ground.follower, ground.stock), policy)
    if few:
        return _refused("too few labelled examples to judge by", few)
    if (last := verdict.before(ground)) is not None:
        became = f"made version {short(last.version)}" if last.version else "was refused"
        words = f"nothing was said since the last cycle, which {became} by decision {last.id}"
        return Cycle(outcome="refused", words=words, reasons=tuple(last.record["reasons"]), checks=verdict.checks(last))
    hopeless = verdict.hopeless(ground, policy)
    return _refused(HOPELESS, hopeless) if hopeless else None


def _same(candidate: Candidate, champion: Parent) -> bool:
    """Whether a candidate has the champion's features: its graph, or its backbones that read their input alike."""
    manifest, assembly = champion.manifest, candidate.assembly
    if len(manifest.members) > 1 and candidate.tuning is None:
        digests = [backbone.digest for backbone in assembly.backbones]
        alike = dict(assembly.preprocessor.files) == dict(champion.preprocessor.files)
        return alike and digests == [member.digest for member in manifest.members]
    return assembly.extractor == manifest.extractor


def _champion(home: Home, scene: str) -> Alias:
    alias = home.registry.champion(scene)
    if alias is None:
        raise NotFound(f"scene {scene!r} has no version yet", f"make one: lepton adapt {scene} DATA")
    return alias


def _asked(home: Home, request: Request) -> RetrainSettings:
    """The policy of the scene, with what was asked for this cycle alone."""
    held = home.policies.of(request.scene)
    chosen = request.recipe or held.recipe
    if chosen == AUTO and request.settings:
        raise InvalidInput(
            f"settings were given ({', '.join(request.settings)}), and {AUTO} finds them itself",
            "name the recipe that they are for, such as --recipe finetune",
        )
    if chosen != AUTO:
        recipe.configure(chosen, request.settings)
    return replace(
        held,
        start=request.start or held.start,
        recipe=chosen,
        minutes=held.minutes if request.budget is None else request.budget / 60,
        accepted=request.challenge or held.accepted,
    )


def _reads(reader: Preprocessor, example: Example) -> bool:
    try:
        features.read(example, reader)
    except LeptonError:
        return False
    return True


def _register(ground: Ground, candidate: Candidate, told: Contest, decision: Written, reporter: Reporter) -> Version:
    home, scene, assembly, stock = ground.home, ground.scene, candidate.assembly, ground.stock
    made = closed_form.study(home, scene, assembly, [], reporter.progress, candidate.learned, candidate.known)
    cycle = package.Round(
        start=ground.start, since=stock.since, upto=stock.upto, seed=ground.seed, decision=decision.id
    )
    origin = package.Origin(
        recipe=candidate.recipe,
        transform=", ".join(sorted({transform.kind for transform in assembly.transforms})),
        metrics=told.metrics[scene.task_name],
        further={task.task_name: told.metrics[task.task_name] for task in scene.further},
        data_digest=_digest(ground),
        parent=ground.champion.version.version,
        validation=home.untouched.keep(candidate.spared) if candidate.tuning else "",
        tuning=candidate.tuning,
        members=_members(ground, candidate),
        fusion=ground.champion.manifest.fusion if len(assembly.backbones) > 1 else None,
        cycle=cycle,
    )
    return package.register(home, scene, assembly, made.head, candidate.drawn, origin)


def _members(ground: Ground, candidate: Candidate) -> tuple[Member, ...]:
    """The backbones of a candidate; of one whose tuned weights are still the champion's, what the champion says."""
    known = {member.digest: member for member in ground.champion.manifest.members if member.tuned}
    made = package.members(ground.home, candidate.assembly, candidate.tuning)
    return tuple(known.get(member.digest, member) for member in made)


def _digest(ground: Ground) -> str:
    """SHA-256 over the teaching examples and their labels of every task."""
    told = hashlib.sha256()
    for example in ground.stock.of(ground.stock.teaching):
        said = example.label if example.value is None else repr(example.value)
        more = "".join(f"\0{name}\0{word!r}" for name, word in sorted(example.further.items()))
        told.update(f"{example.digest} {said}{more}\n".encode())
    return told.hexdigest()


def _decision(home: Home, version: Version) -> Written:
    lineage = cast("Mapping[str, Any]", version.manifest["lineage"])
    return home.decisions.find(str(lineage.get("decision", "")))


def _watched(home: Home, scene: str, former: str, reporter: Reporter) -> str:
    """Have the former champion watch the new one, unless it had to go; why it does not, where it does not."""
    held = home.challenges.of(scene)
    if former in home.certificates.tainted(scene) or (held is not None and held.version == former):
        return ""
    prepare(home, scene, former, reporter.progress)
    why = watch_over(home, scene, former)
    return f"; the former one does not watch it: {why}" if why else ""


def _challenging(home: Home, version: Version, mode: Mode, share: float) -> tuple[Outcome, str]:
    held = home.challenges.of(version.scene)
    if held is not None and held.version != version.version and held.judge == "people":
        return "accepted", f"version {short(held.version)} is challenging the champion, and people judge that first"
    challenge(
        home,
        version.scene,
        version.version,
        mode=mode,
        share=share if mode == "split" else 1.0,
        expected_generation=home.challenges.generation(version.scene),
        judge="evidence",
    )
    passes("retrain.challenging")
    return "challenging", f"it challenges the champion ({mode}), and evidence judges"


def _refused(words: str, few: tuple[Check, ...] = ()) -> Cycle:
    return Cycle(outcome="refused", words=words, reasons=tuple(check.words for check in few) or (words,), checks=few)
