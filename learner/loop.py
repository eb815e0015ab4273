"""The learner's loop: hold the lead, watch the ledger, publish a head whenever labels have moved.

Promises that one learner publishes at a time, that a failing scene does not stop the others, and that killing it at
any point loses nothing: all it knows can be read again from the ledger. Knows nothing of HTTP or of models' insides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from core.database import Watch
from core.errors import LeadershipLost, LeptonError
from core.home import Home
from core.lease import Lease, acquire, release
from learner.joins import join_waiting
from learner.lesson import Lesson
from learner.metrics import Metrics

logger = logging.getLogger(__name__)

LEASE = "learner"
JOIN_SECONDS = 0.2  # how often waiting labels are looked for in the prediction log
RENEWALS = 3  # renewals in the life of a lease


class Learner:
    """Follows all scenes of a home.

    Args:
        home: where everything lies.
        owner: who this is, for the lease; unique to the process.
        metrics: what to count in.
        clock: seconds since the epoch.
    """

    def __init__(self, home: Home, owner: str, metrics: Metrics, clock: Callable[[], float] = time.time):
        self._home = home
        self._owner = owner
        self._metrics = metrics
        self._clock = clock
        self._lessons: dict[str, Lesson] = {}
        self._lease: Lease | None = None
        self._renew_at = 0.0
        self._join_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        watch = Watch(self._home.ledger_path)
        try:
            while not stop.is_set():
                if self.lead() and (watch.changed() or self.behind):
                    self.step()
                stop.wait(self._home.settings.learner.poll_seconds)
        finally:
            watch.close()
            if self._lease is not None:
                release(self._home.ledger.database, self._lease)

    @property
    def behind(self) -> bool:
        """Whether there is work that no commit will announce."""
        return any(lesson.behind for lesson in self._lessons.values())

    def lead(self) -> bool:
        """Hold or take the lead, and look after waiting labels while leading."""
        now = self._clock()
        if now >= self._renew_at:
            seconds = self._home.settings.learner.lease_seconds
            try:
                held = acquire(self._home.ledger.database, LEASE, self._owner, seconds, self._clock)
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
        return self._lease is not None

    def step(self) -> None:
        """Bring every scene up to date."""
        for scene in self._home.registry.scenes():
            failures = self._metrics.failures.labels(scene.name)  # shown at zero before the first
            try:
                self._teach(scene.name)
            except LeadershipLost as lost:
                logger.warning("%s", lost)
                self._lease, self._renew_at = None, 0.0
                self._lessons.clear()
                return
            except Exception:
                # Whatever it was, the ledger has it all: the scene is read again from the start at the next step.
                logger.exception("scene %s could not be brought up to date", scene.name)
                failures.inc()
                self._lessons.pop(scene.name, None)

    def _teach(self, name: str) -> None:
        scene, alias = self._home.registry.scene(name), self._home.registry.champion(name)
        if alias is None or self._lease is None:
            return
        lesson = self._lessons.get(name)
        if lesson is None or lesson.version.version != alias.version or lesson.scene != scene:
            lesson = Lesson(self._home, scene, self._home.registry.version(name, alias.version))
            self._lessons[name] = lesson
            self._metrics.follows(name, lesson.standing, lesson.conflicts)
        started = time.perf_counter()
        revision = lesson.study(self._lease)
        if revision is not None:
            seconds = time.perf_counter() - started
            self._metrics.solved(name, revision.number, seconds, lesson.standing, lesson.conflicts)
            logger.info(
                "scene %s: revision %d includes events up to %d (%d examples, %.0f ms)",
                name,
                revision.number,
                revision.head.sequence,
                revision.head.examples,
                1000 * seconds,
            )

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
