"""When a scene is retrained by itself: a cause becomes a job, once.

Promises that one cause makes one job, however many learners look; that a scene has one retraining at a time; and that
nothing is filed in quiet hours or beyond the day's budget: the cause then waits. Knows nothing of how retraining is
done. A champion that has learned of an erased person is a cause, too, wherever any is asked for. A cause is a sentence
that is the same whoever finds it, since it is the key by which it is filed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from core import cron
from core.errors import Conflict
from core.home import Home
from core.job_settings import RetrainSettings
from core.jobs import Job
from core.tally import fresh

KIND = "retrain"
HOUR_SECONDS, DAY_SECONDS = 3600.0, 86400.0


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a scene was made of last, a version or a later retraining; ``sequence`` is the last label in it."""

    name: str
    sequence: int
    at: float


def look(home: Home, now: float) -> list[Job]:
    """File a job for every scene that has a cause and may be retrained now."""
    filed = []
    for scene in home.registry.scenes():
        policy = home.policies.of(scene.name)
        cause = _cause(home, scene.name, policy, now)
        job = file(home, scene.name, cause, now) if cause is not None else None
        filed += [job] if job is not None else []
    return filed


def file(home: Home, scene: str, cause: str, now: float) -> Job | None:
    """File a retraining for a cause; None where it is not the time, or where it was filed for this cause before.

    Args:
        cause: such as ``a new camera``; the scene is put in front. Whoever has a cause that is not found by looking
            asks again until its job is there.
    """
    policy, key = home.policies.of(scene), f"{scene}: {cause}"
    if quiet(policy.quiet, now) or _running(home, scene):
        return None
    if home.jobs.seconds_spent(scene, now - DAY_SECONDS) >= 60 * policy.minutes_a_day:
        return None
    try:
        return home.jobs.file(KIND, scene, {"scene": scene}, cause=key, most_attempts=home.settings.trainer.attempts)
    except Conflict:
        return None


def quiet(hours: str, now: float) -> bool:
    """Whether a moment is within ``HH:MM-HH:MM`` by the clock of this machine, which may go past midnight."""
    if not hours:
        return False
    begin, end = hours.split("-")
    moment = time.strftime("%H:%M", time.localtime(now))
    return begin <= moment < end if begin <= end else moment >= begin or moment < end


def _cause(home: Home, scene: str, policy: RetrainSettings, now: float) -> str | None:
    """What calls for a retraining now, if anything does."""
    if not (policy.labels or policy.hours or policy.drift or policy.cron):
        return None
    base = _base(home, scene)
    if base is None:
        return None
    return _by_erasure(home, scene) or _by_time(policy, base, now) or _by_labels(home, scene, policy, base)


def _by_erasure(home: Home, scene: str) -> str | None:
    """The champion's weights have learned of somebody who was erased since: a cause once."""
    alias = home.registry.champion(scene)
    if alias is None or alias.version not in home.certificates.tainted(scene):
        return None
    cause = f"version {alias.version[:12]} has learned of somebody who was erased"
    filed = any(job.cause == f"{scene}: {cause}" for job in home.jobs.listed(scene, KIND))
    return None if filed else cause


def _by_time(policy: RetrainSettings, base: Base, now: float) -> str | None:
    due = cron.following(policy.cron, base.at) if policy.cron else None
    if due is not None and due <= now:
        return f"{policy.cron} came round at {time.strftime('%Y-%m-%d %H:%M', time.localtime(due))}"
    if policy.hours and now - base.at >= policy.hours * HOUR_SECONDS:
        return f"{policy.hours:g} hours since {base.name}"
    return None


def _by_labels(home: Home, scene: str, policy: RetrainSettings, base: Base) -> str | None:
    labels = fresh(home.ledger.database, scene, base.sequence)
    if policy.labels and labels >= policy.labels:
        return f"{policy.labels} new labels since {base.name}"
    if policy.drift and labels and _drifts(home, scene, base):
        return f"drift since {base.name}"
    return None


def _drifts(home: Home, scene: str, base: Base) -> bool:
    """Whether a window of the champion's traffic was judged to drift since."""
    alias = home.registry.champion(scene)
    readings = home.drift.of(scene, alias.version) if alias is not None else []
    return any(reading.drifted and reading.at > base.at for reading in readings)


def _base(home: Home, scene: str) -> Base | None:
    """The champion or the last retraining, whichever is later; None where the scene has no version."""
    alias = home.registry.champion(scene)
    if alias is None:
        return None
    version = home.registry.version(scene, alias.version)
    lineage = version.manifest["lineage"]
    assert isinstance(lineage, dict), "every manifest has one"
    made = Base(name=f"version {version.version[:12]}", sequence=lineage["sequence"], at=version.created_at)
    jobs = home.jobs.listed(scene, KIND, most=1)
    if not jobs or jobs[0].filed_at <= made.at:
        return made
    return Base(name=f"job {jobs[0].id}", sequence=jobs[0].sequence, at=jobs[0].filed_at)


def _running(home: Home, scene: str) -> bool:
    return bool(home.jobs.listed(scene, KIND, states=("queued", "running"), most=1))
