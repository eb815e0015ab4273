"""One cycle of retraining: the labels that stand become a candidate, the gate judges it, and it takes the place of the
champion or is refused with reasons.

Promises that nothing is registered that the gate did not accept, that hold-outs have spent before anything is, that a
version is promoted with features for all that stands and a head of today's labels, and only in the place of the
champion that it was compared with; and that a cycle which died is begun again or goes on, wherever it was. Knows
nothing of when it is time for one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from core import gate
from core.challenges import Mode
from core.decisions import Written
from core.errors import Conflict, InvalidInput, NotFound
from core.failpoint import passes
from core.gate import Check, Policy
from core.home import Home
from core.job_settings import RetrainSettings
from core.promotion import challenge, prepare, promote, watch_over
from core.registry import Alias, short
from core.types import Example, Scene, Version
from training import features, judge, package, recipe
from training.adapt import closed_form
from training.contest import ANCHOR, FRESH, Contest, contest, counts, names_of
from training.merge.parents import Parent, check_rows
from training.renewed import AUTO, Candidate, Ground, aside, renewed
from training.reporter import Reporter
from training.stock import base_of, part

Start = Literal["base", "champion"]
Outcome = Literal["promoted", "challenging", "accepted", "refused"]
SAME = "the champion already has these features, and its head follows the labels by itself: nothing would change"


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
    scene, alias = home.registry.scene(request.scene), _champion(home, request.scene)
    asked = _asked(home, request)
    version = home.registry.version(scene.name, alias.version)
    champion = Parent(version=version, bundle=home.bundle(alias.version), home=home)
    check_rows(champion)
    tainted = alias.version in home.certificates.tainted(scene.name)
    if home.ledger.last_sequence(scene.name) <= base_of(champion) and not tainted:
        return _refused(f"nothing was said since version {short(alias.version)} was made: there is nothing to learn")
    reporter.stage("features of what stands, by the champion")
    ground = _ground(home, scene, champion, asked, request, tainted, reporter)
    policy = _policy(ground, tainted)
    few = gate.lacking(counts(scene, ground.follower, ground.stock), policy)
    if few:
        return _refused("too few labelled examples to judge by", few)
    if (again := _decided(ground, request)) is not None:
        return again
    candidate = renewed(ground)
    if candidate is None or candidate.assembly.extractor == champion.manifest.extractor:
        return _refused(SAME)
    reporter.stage("features of what stands, by the candidate")
    rows = _features(ground, candidate, reporter)
    reporter.stage("asking champion and candidate the examples that judge")
    decision, told = _judged(ground, candidate, rows, policy, request)
    passes("retrain.decided")
    if not decision.accepted:
        reasons = tuple(decision.record["reasons"])
        return Cycle(
            outcome="refused", words="the gate refused it", reasons=reasons, checks=_checks(decision), decision=decision
        )
    reporter.stage("writing and registering the version")
    made = _register(ground, candidate, told, decision, reporter)
    passes("retrain.registered")
    return settle(home, request, made, reporter)


def settle(home: Home, request: Request, version: Version, reporter: Reporter) -> Cycle:
    """What the policy says of a version that a cycle has registered: promoted, or set up as a challenger.

    Raises:
        Conflict: another version became champion since the gate compared it.
    """
    decision, asked = _decision(home, version), _asked(home, request)
    alias = _champion(home, version.scene)
    told = {"checks": _checks(decision), "decision": decision, "version": version}
    if decision.version is None:
        home.decisions.became(decision.id, version.version)
    if alias.version == version.version:
        return Cycle(outcome="promoted", words="it is champion", **told)
    if alias.version != decision.champion:
        raise Conflict(
            f"version {short(alias.version)} became champion of {version.scene!r} while it was compared with "
            f"{short(decision.champion)}",
            "retrain again",
        )
    reporter.stage("features of labels that came meanwhile")
    prepare(home, version.scene, version.version, reporter.progress)
    if asked.accepted == "promote":
        return Cycle(outcome="promoted", words=_promoted(home, version, alias, decision), **told)
    outcome, words = _challenging(home, version, asked)
    return Cycle(outcome=outcome, words=words, **told)


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


def _ground(
    home: Home,
    scene: Scene,
    champion: Parent,
    asked: RetrainSettings,
    request: Request,
    tainted: bool,
    reporter: Reporter,
) -> Ground:
    deadline = time.monotonic() + 60 * asked.minutes
    prepare(home, scene.name, champion.version.version, reporter.progress)
    follower = home.follower(scene, champion.version)
    follower.catch_up()
    stock = part(home, scene, champion, follower)
    if tainted:
        reporter.note("the champion has learned of somebody who was erased: it begins from the pretrained weights")
    return Ground(
        home=home,
        scene=scene,
        champion=champion,
        follower=follower,
        stock=stock,
        asked=asked,
        settings=request.settings,
        start="base" if tainted else asked.start,
        seed=request.seed,
        deadline=deadline,
        reporter=reporter,
    )


def _policy(ground: Ground, tainted: bool) -> Policy:
    """What the gate asks. A champion that has to go need not be surpassed, and nothing need have come since it."""
    asked, scene = ground.asked, ground.scene
    names = (*names_of(scene, ANCHOR), *names_of(scene, FRESH))
    if tainted:
        found = counts(scene, ground.follower, ground.stock)
        names = tuple(name for name in names if found[name] >= Policy.least) or names_of(scene, ANCHOR)
    return Policy(
        margin=asked.margin,
        alpha=asked.alpha,
        confidence=asked.confidence,
        abstention=asked.abstention,
        holdouts=names,
        superior=not tainted,
    )


def _decided(ground: Ground, request: Request) -> Cycle | None:
    """The same cycle over the same labels would end the same, and spend of its hold-outs for nothing."""
    champion = ground.champion.version
    last = next((each for each in ground.home.decisions.of(champion.scene) if each.champion == champion.version), None)
    if last is None or last.accepted or last.record["upto"] != ground.stock.upto or last.record["asked"] != _key(ground):
        return None
    words = f"nothing was said since the last cycle, which was refused by decision {last.id}"
    del request
    return Cycle(outcome="refused", words=words, reasons=tuple(last.record["reasons"]), checks=_checks(last))


def _key(ground: Ground) -> dict[str, Any]:
    """What a cycle is asked, as it stands in its decision."""
    asked = ground.asked
    return {
        "start": ground.start,
        "recipe": asked.recipe,
        "settings": {name: str(value) for name, value in ground.settings.items()},
        "seed": ground.seed,
        "budget": 60 * asked.minutes,
        "replay": asked.replay,
        "distill": asked.distill,
    }


def _features(ground: Ground, candidate: Candidate, reporter: Reporter) -> dict[str, Any]:
    """(D,) features by example, of all that stands and can be read; kept nowhere until the gate has accepted."""
    assembly, files = candidate.assembly, ground.stock.files
    examples = [Example(digest=name, path=str(file), split="train") for name, file in sorted(files.items())]
    cache = judge.cache_of(assembly, ground.home.cache)
    rows_ND = features.extract(
        assembly.session, assembly.preprocessor, assembly.extractor, examples, cache, reporter.progress
    )
    return {example.digest: row for example, row in zip(examples, rows_ND, strict=True)}


def _judged(
    ground: Ground, candidate: Candidate, rows: dict[str, Any], policy: Policy, request: Request
) -> tuple[Written, Contest]:
    home, scene, stock = ground.home, ground.scene, ground.stock
    champion = ground.champion.version.version
    uses = home.decisions.uses(scene.name, champion, stock.number)
    spent = {ANCHOR: uses.anchor, FRESH: uses.fresh}
    told = contest(scene, ground.champion, ground.follower, candidate, rows, stock, spent, policy.confidence)
    decided = gate.decide(told.holdouts, told.champion, told.candidate, policy, request.seed)
    record = decided.to_json() | {
        "candidate": candidate.recipe,
        "extractor": candidate.assembly.extractor,
        "holdouts": {
            name: {
                "rows": len(each.truth),
                "uses": each.uses,
                "champion": float(each.champion.mean()) if len(each.truth) else None,
                "candidate": float(each.candidate.mean()) if len(each.truth) else None,
            }
            for name, each in told.holdouts.items()
        },
        "since": stock.since,
        "upto": stock.upto,
        "asked": _key(ground),
    }
    return home.decisions.write(scene.name, champion, stock.number, uses, decided.accepted, record), told


def _register(ground: Ground, candidate: Candidate, told: Contest, decision: Written, reporter: Reporter) -> Version:
    home, scene, assembly, stock = ground.home, ground.scene, candidate.assembly, ground.stock
    learned = closed_form.study(home, scene, assembly, [], reporter.progress)
    cycle = package.Round(
        start=ground.start, since=stock.since, upto=stock.upto, seed=ground.seed, decision=decision.id
    )
    origin = package.Origin(
        recipe=candidate.recipe,
        transform=assembly.transforms[0].kind,
        metrics=told.metrics[scene.task_name],
        further={task.task_name: told.metrics[task.task_name] for task in scene.further},
        data_digest=_digest(ground),
        parent=ground.champion.version.version,
        validation=aside(home, ground, candidate),
        tuning=candidate.tuning,
        cycle=cycle,
    )
    drawn = [replace(e, subject=stock.examples[e.digest].subject) for e in candidate.drawn if e.digest in stock.examples]
    return package.register(home, scene, assembly, learned.head, drawn, origin)


def _digest(ground: Ground) -> str:
    """SHA-256 over the teaching examples and their labels."""
    told = hashlib.sha256()
    for example in ground.stock.of((*ground.stock.new, *ground.stock.old)):
        told.update(f"{example.digest} {example.label if example.value is None else example.value!r}\n".encode())
    return told.hexdigest()


def _decision(home: Home, version: Version) -> Written:
    lineage = cast("Mapping[str, Any]", version.manifest["lineage"])
    return home.decisions.find(str(lineage.get("decision", "")))


def _promoted(home: Home, version: Version, alias: Alias, decision: Written) -> str:
    why = f"the gate accepted it: decision {decision.id}"
    promote(home, version.scene, version.version, expected_generation=alias.generation, why=why)
    passes("retrain.promoted")
    held_up = watch_over(home, version.scene, alias.version)
    return f"it is champion{f'; the former one does not watch it: {held_up}' if held_up else ''}"


def _challenging(home: Home, version: Version, asked: RetrainSettings) -> tuple[Outcome, str]:
    held = home.challenges.of(version.scene)
    if held is not None and held.version != version.version and held.judge == "people":
        return "accepted", f"version {short(held.version)} is challenging the champion, and people judge that first"
    mode = cast("Mode", asked.accepted)
    challenge(
        home,
        version.scene,
        version.version,
        mode=mode,
        share=asked.share if mode == "split" else 1.0,
        expected_generation=home.challenges.generation(version.scene),
        judge="evidence",
    )
    passes("retrain.challenging")
    return "challenging", f"it challenges the champion ({mode}), and evidence judges"


def _checks(decision: Written) -> tuple[Check, ...]:
    nan = float("nan")
    return tuple(
        Check(**(check | {"bound": nan if check["bound"] is None else check["bound"]}))
        for check in decision.record["checks"]
    )


def _refused(words: str, few: tuple[Check, ...] = ()) -> Cycle:
    return Cycle(outcome="refused", words=words, reasons=tuple(check.words for check in few) or (words,), checks=few)
