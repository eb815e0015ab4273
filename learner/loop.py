"""The learner's loop: hold the lead, watch the ledger, publish a head whenever labels have moved.

Promises that one learner publishes at a time, that a failing scene does not stop the others, and that killing it at
any point loses nothing: all it knows can be read again from the ledger. Knows nothing of HTTP or of models' insides.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from core.errors import LeadershipLost, LeptonError, NotFound, Unavailable
from core.fall import bounds
from core.home import Home
from core.lease import LEARNER, Lease, acquire, release
from core.tally import fresh
from core.types import Role, Scene
from learner.joins import join_waiting
from learner.lesson import EMBED_AT_ONCE, Lesson
from learner.metrics import Metrics
from learner.monitor import Monitor
from learner.referee import guard, judge
from learner.schedule import look

logger = logging.getLogger(__name__)

JOIN_SECONDS = 0.2  # how often waiting labels are looked for in the prediction log
RENEWALS = 3  # renewals in the life of a lease
QUIET_SECONDS = 1.0  # without news, after which the champion before the present one is looked after
FEW = 4  # examples that are embedded at once for who is not champion: labels wait for no more than these


class Learner:
    """Follows all scenes of a home.

    Args:
        home: where everything lies.
        owner: who this is, for the lease; unique to the process.
        metrics: what to count in.
        clock: seconds since the epoch; the lease runs by the database's if None.
    """

    def __init__(self, home: Home, owner: str, metrics: Metrics, clock: Callable[[], float] | None = None):
        self._home = home
        self._owner = owner
        self._metrics = metrics
        self._clock = clock or time.time
        self._lease_clock = clock
        self._lessons: dict[tuple[str, Role], Lesson] = {}
        self._previous: dict[str, Lesson] = {}
        self._quiet_at = 0.0
        self._news = False
        self._lease: Lease | None = None
        self._renew_at = 0.0
        self._join_at = 0.0
        self._cause_at = 0.0
        self._monitors: dict[str, Monitor] = {}
        self._watch_at = 0.0 if home.settings.drift.every_seconds else math.inf

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        watch = self._home.ledger.database.watch()
        try:
            while not stop.is_set():
                self._news = watch.changed() or self._news
                try:
                    self._work()
                except Unavailable as away:  # what was not done yet is done when the database is back
                    logger.warning("%s", away)
                    self._news = True
                    self._lease, self._renew_at = None, 0.0
                stop.wait(self._home.settings.learner.poll_seconds)
        finally:
            watch.close()
            self._step_down()

    def _work(self) -> None:
        if self.lead() and (self._news or self.behind):
            self._news = False
            self.step()
            self._quiet_at = self._clock() + QUIET_SECONDS
        elif self._lease is not None and self._clock() >= self._watch_at:
            self.watch_traffic()
        elif self._lease is not None and self._clock() >= self._quiet_at:
            self._quiet_at = self._clock() if self.keep_previous() else math.inf

    def _step_down(self) -> None:
        if self._lease is not None:
            try:
                release(self._home.ledger.database, self._lease)
            except Unavailable as away:
                logger.warning("the lead runs out by itself: %s", away)

    @property
    def behind(self) -> bool:
        """Whether there is work that no commit will announce."""
        return any(lesson.behind for lesson in self._lessons.values())

    def lead(self) -> bool:
        """Hold or take the lead, and look after waiting labels and causes for retraining while leading."""
        now = self._clock()
        if now >= self._renew_at:
            seconds = self._home.settings.learner.lease_seconds
            try:
                held = acquire(self._home.ledger.database, LEARNER, self._owner, seconds, self._lease_clock)
            except LeptonError as error:
                logger.error("the lease could not be renewed: %s", error)
                held = None
            if held != self._lease:
                logger.info("leading with token %d", held.token) if held else logger.info("another learner leads")
                self._lessons.clear()
            self._lease, self._renew_at = held, now + seconds / RENEWALS
            self._metrics.leader.set(held is not None)
        if self._lease is not None and now >= self._join_at:
            self._join_at = now + JOIN_SECONDS
            self._look_after_waiting(now)
        if self._lease is not None and now >= self._cause_at:
            self._cause_at = now + self._home.settings.learner.cause_seconds
            self._look_for_causes(now)
        return self._lease is not None

    def step(self) -> None:
        """Bring every scene up to date: all champions, then all challengers."""
        for scene in self._home.registry.scenes():
            alias = self._home.registry.champion(scene.name)
            if alias is not None:
                self._look_after(scene.name, alias.version, "champion")
        challenges = self._home.challenges.all()
        for name, challenge in challenges.items():
            self._look_after(name, challenge.version, "challenger")
        for name, role in list(self._lessons):
            if role == "challenger" and name not in challenges:
                del self._lessons[name, role]

    def watch_traffic(self) -> None:
        """Judge the windows of every champion's traffic that have become full."""
        now = self._clock()
        self._watch_at = now + self._home.settings.drift.every_seconds
        self._judge()
        for scene in self._home.registry.scenes():
            alias = self._home.registry.champion(scene.name)
            if alias is None:
                continue
            try:
                if not self._rolled_back(scene.name):
                    self._watch(scene, alias.version, now)
            except Exception:  # labels are learned all the same; the windows are looked at again
                logger.exception("scene %s: its traffic could not be watched", scene.name)
                self._monitors.pop(scene.name, None)

    def _judge(self) -> None:
        """Decide the challenges that evidence judges."""
        for name, challenge in self._home.challenges.all().items():
            if challenge.judge != "evidence":
                continue
            try:
                ruling = judge(self._home, challenge)
            except Exception:  # the champion moved meanwhile, or a file is gone: it is looked at again
                logger.exception("scene %s: its challenge could not be judged", name)
                continue
            if ruling.verdict != "wait":
                self._metrics.rulings.labels(name, ruling.verdict).inc()

    def _rolled_back(self, name: str) -> bool:
        """Whether the champion has just given way to the one before it, since live accuracy has fallen."""
        asked = bounds(self._home, name)
        self._metrics.guarded(name, asked)
        ruling = guard(self._home, name, asked)
        if ruling is not None:
            self._metrics.rulings.labels(name, ruling.verdict).inc()
        return ruling is not None

    def _watch(self, scene: Scene, version: str, now: float) -> None:
        monitor = self._monitors.get(scene.name)
        if monitor is None or monitor.version != version or monitor.scene != scene:
            monitor = self._monitors[scene.name] = Monitor(self._home, scene, version)
        for reading in monitor.look(now):
            if reading.drifted:
                logger.warning("scene %s drifts (%s): %s", scene.name, reading.detector, reading.words)
        values = {name: reading.value for name, reading in monitor.standing().items()}
        self._metrics.watched(scene.name, values, monitor.live_accuracy, monitor.estimated_accuracy)

    def keep_previous(self) -> bool:
        """Embed what stands for the champions before the present ones, so that a rollback need not; whether there is
        more to do."""
        more = False
        for scene in self._home.registry.scenes():
            try:
                more = self._keep_previous(scene) or more
            except Exception:  # a rollback embeds what is missing itself
                logger.exception("scene %s: the version before the champion could not be kept up", scene.name)
                self._previous.pop(scene.name, None)
        return more

    def _keep_previous(self, scene: Scene) -> bool:
        try:
            version = self._home.registry.previous_champion(scene.name)
        except NotFound:
            return False
        lesson = self._previous.get(scene.name)
        if lesson is None or lesson.version.version != version or lesson.scene != scene:
            held = self._home.registry.version(scene.name, version)
            lesson = Lesson(self._home, scene, held, "challenger", FEW)
            self._previous[scene.name] = lesson
        return lesson.keep_up()

    def _look_after(self, name: str, version: str, role: Role) -> None:
        if self._lease is None:
            return
        failures = self._metrics.failures.labels(name)  # shown at zero before the first
        try:
            self._teach(name, version, role, self._lease)
        except LeadershipLost as lost:
            logger.warning("%s", lost)
            self._lease, self._renew_at = None, 0.0
            self._lessons.clear()
        except Exception:
            # Whatever it was, the ledger has it all: the scene is read again from the start at the next step.
            logger.exception("scene %s could not be brought up to date for its %s", name, role)
            failures.inc()
            self._lessons.pop((name, role), None)

    def _teach(self, name: str, version: str, role: Role, lease: Lease) -> None:
        scene, lesson = self._home.registry.scene(name), self._lessons.get((name, role))
        if lesson is None or lesson.version.version != version or lesson.scene != scene or self._asks_anew(lesson):
            few = EMBED_AT_ONCE if role == "champion" else FEW
            lesson = Lesson(self._home, scene, self._home.registry.version(name, version), role, few)
            self._lessons[name, role] = lesson
            if role == "champion":
                self._metrics.follows(name, lesson.standing, lesson.conflicts)
        started, before = time.perf_counter(), lesson.published
        revision = lesson.study(lease)
        if role == "champion":
            self._metrics.holds(name, self._home.holds.of(name) is not None, lesson.held)
        if revision is not None and role == "champion":
            seconds = time.perf_counter() - started
            self._metrics.solved(name, revision.number, seconds, lesson.standing, lesson.conflicts)
            self._metrics.learned.labels(name).inc(fresh(self._home.ledger.database, name, before, lesson.published))
            logger.info(
                "scene %s: revision %d includes events up to %d (%d examples, %.0f ms)",
                name,
                revision.number,
                revision.head.sequence,
                revision.head.examples,
                1000 * seconds,
            )

    def _asks_anew(self, lesson: Lesson) -> bool:
        """Whether somebody has changed what a scene asks of its labels."""
        return lesson.policy != self._home.label_policy(lesson.scene.name)

    def _look_after_waiting(self, now: float) -> None:
        try:
            joined, orphaned = join_waiting(self._home, now)
        except Exception:  # a locked or full database, or a blob that cannot be written: they wait on
            logger.exception("waiting labels could not be joined")
            return
        self._metrics.joined.inc(joined)
        self._metrics.orphaned.inc(orphaned)
        if orphaned:
            logger.warning("%d labels were given up: their predictions never came", orphaned)

    def _look_for_causes(self, now: float) -> None:
        try:
            filed = look(self._home, now)
        except Exception:  # the cause is still there at the next look
            logger.exception("causes for retraining could not be looked for")
            return
        for job in filed:
            logger.info("scene %s: filed job %s because of %s", job.scene, job.id, job.cause)
