"""One scene as the learner holds it under one version, champion or challenger: followed, and its heads published.

Promises that a revision is published whenever the ledger has moved, and only then; unless the guard holds it: then the
head that was let out last serves on, without what was withdrawn or erased meanwhile. Knows nothing of leases' timing,
nor of what the guard asks.
"""

from __future__ import annotations

import logging
import time
from collections import deque

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from core.embed import embed
from core.evidence import Evidence
from core.follow import Follower, blank
from core.holds import GUARD, Hold
from core.home import Home
from core.lease import Lease
from core.preprocess import Preprocessor
from core.session import Session
from core.types import Head, Revision, Role, Scene, Version
from learner.guard import Doubt, Guard

logger = logging.getLogger(__name__)

EMBED_AT_ONCE = 64  # examples embedded between two looks at the ledger
LATE = 64  # examples without a readable input, whose shadow may still be logged


class Lesson:
    """Follows one scene under one version.

    Args:
        home: where everything lies.
        scene, version: what is followed.
        role: the champion's heads are questioned by the guard; a challenger's follow what it decides.
        at_once: examples embedded between two looks at the ledger; others wait for as long as they take.
    """

    def __init__(
        self, home: Home, scene: Scene, version: Version, role: Role = "champion", at_once: int = EMBED_AT_ONCE
    ):
        self.scene = scene
        self.version = version
        self.policy = home.label_policy(scene.name)
        self._home = home
        self._guard = Guard(home, scene, str(version.manifest["extractor"])) if role == "champion" else None
        self._follower: Follower = home.follower(scene, version)
        self._limited: Follower | None = None  # while a head is held: what may be in the head that serves
        self._extractor: tuple[Session, Preprocessor] | None = None
        self._unavailable: set[str] = set()
        self._at_once = at_once
        self._late: deque[str] = deque(maxlen=LATE)
        self._doubted = 0
        self._upto: int | None = None  # of the newest revision
        self._studied = self._last_published()

    def study(self, lease: Lease) -> Revision | None:
        """Take in what is new and publish the head; None where there is nothing new, or where it is held.

        Raises:
            LeadershipLost: another learner leads.
        """
        changed = self._follower.catch_up()
        changed += self._embed_missing()
        hold = self._home.holds.of(self.scene.name)
        decided = self._upto != (hold.since if hold else None) or (hold is not None and hold.accepted)
        if changed == 0 and self._follower.sequence <= self._studied and not decided:
            return None
        if self._guard is None and hold is not None:
            return self._serve_limited(hold.since, lease)
        head = self._follower.head(self._fallback())
        assert head is not None, "a fallback always serves"
        self._studied = head.sequence
        accepted = hold is not None and hold.accepted
        doubt = None
        if self._guard is not None and not accepted:
            doubt = self._guard.question(self._follower, head, hold.annotator if hold else None)
        if doubt is not None:
            return self._serve_limited(self._hold(doubt, hold, lease), lease)
        if hold is not None and self._guard is not None:
            self._home.holds.lift(self.scene.name, "accepted" if accepted else "within the limits again", lease)
            logger.warning("scene %s: the head that was held is served", self.scene.name)
        self._limited, self._doubted = None, 0
        return self._publish(self._follower, head, lease, anew=accepted)

    def _hold(self, doubt: Doubt, hold: Hold | None, lease: Lease) -> int:
        """Note that a head is held; the last label event that may be in the one that serves."""
        since = self._trusted if hold is None else hold.since
        self._doubted = sum(moment > since for moment in doubt.newest)
        told = Hold(
            scene=self.scene.name,
            version=self.version.version,
            since=since,
            base=doubt.base,
            sequence=self._follower.sequence,
            at=time.time() if hold is None else hold.at,
            words=doubt.words,
            annotator=doubt.annotator,
            events=doubt.events,
        )
        self._home.holds.hold(told, lease)
        logger.warning(
            "scene %s: a head is held, and the one of event %d serves: %s; lepton guard accept %s serves it",
            self.scene.name,
            since,
            doubt.words,
            self.scene.name,
        )
        return since

    def _serve_limited(self, since: int, lease: Lease) -> Revision | None:
        """Serve on what may be in the head, published anew only where something of it was taken back."""
        limited = self._limit(since)
        limited.catch_up()
        self._studied = max(self._studied, self._follower.sequence)
        head = limited.head(self._fallback())
        assert head is not None, "a fallback always serves"
        latest = self._home.registry.latest_revision(self.scene.name, self.version.version)
        self._upto = since
        if latest is not None and latest.head.sequence >= limited.taken_back and self._alike(head, latest.head):
            return None
        return self._publish(limited, head, lease)

    def _limit(self, since: int) -> Follower:
        if self._limited is None or self._limited.upto != since:
            self._limited = self._home.follower(self.scene, self.version, upto=since)
        return self._limited

    def _publish(self, follower: Follower, head: Head, lease: Lease, *, anew: bool = False) -> Revision:
        revision = self._home.registry.publish(
            self.scene.name, self.version.version, head, lease=lease, keep=self._home.settings.learner.keep_revisions
        )
        self._upto, self._trusted = head.upto, head.sequence
        if self._guard is not None:
            self._guard.trust(follower, head, anew=anew)
            for each in self._follower.tasks:
                self._home.holds.keep(self.scene.name, each.task.task_name, each.held)
        return revision

    def keep_up(self) -> bool:
        """Take in what is new and embed what lacks features, without a head of it; whether there is more to do."""
        self._follower.catch_up()
        self._embed_missing()
        return self.behind

    @property
    def behind(self) -> bool:
        """Whether examples still wait for features."""
        return bool(self._follower.missing - self._unavailable)

    @property
    def published(self) -> int:
        """The last label event that the newest head may include; 0 where there is none."""
        return self._trusted

    @property
    def conflicts(self) -> int:
        """Examples that do not count because annotators tie."""
        return len(self._follower.conflicts)

    @property
    def standing(self) -> int:
        """Examples in the head, or, of several tasks, in any of theirs."""
        return len(self._follower.standing)

    @property
    def held(self) -> dict[str, int]:
        """How many examples wait, by reason."""
        counts = {"second_opinion": 0, "quarantine": 0, GUARD: self._doubted}
        for each in self._follower.tasks:
            for why in each.held.values():
                counts[why.reason] += 1
        return counts

    def _last_published(self) -> int:
        """Sequence of the newest revision, where that is the very head of its rows; -1 where it must be solved anew."""
        latest = self._home.registry.latest_revision(self.scene.name, self.version.version)
        self._trusted = 0 if latest is None else latest.head.sequence
        if latest is None:
            self._follower.catch_up()
            return -1
        self._upto = latest.head.upto
        hold = self._home.holds.of(self.scene.name)
        self._follower.catch_up(latest.head.sequence if hold is None else hold.base)
        head = self._follower.head(self._fallback())
        assert head is not None, "a fallback always serves"
        if self._guard is not None:
            self._guard.trust(self._follower, head)
        if hold is None and self._alike(head, latest.head):
            return latest.head.sequence
        self._follower.catch_up()  # what is held is questioned again
        return -1

    def _alike(self, one: Head, other: Head) -> bool:
        return all(_same(one.of(each.task_name), other.of(each.task_name)) for each in self.scene.tasks)

    def _embed_missing(self) -> int:
        changed = self._take_from_log()
        wanted = self._wanted(self._at_once)
        if not wanted:
            return changed
        if self._extractor is None:
            bundle = self._home.bundle(self.version.version)
            session = Session(bundle.model)
            self._extractor = session, self._home.preprocessor(bundle, session)
        done = embed(self._home.evidence, *self._extractor, self._follower.extractor, wanted)
        self._unavailable |= set(done.unavailable)
        self._late.extend(done.unavailable)
        if done.unavailable:
            logger.warning(
                "scene %s: %d labelled examples have no readable input any more and cannot be learned by version %s",
                self.scene.name,
                len(done.unavailable),
                self.version.version[:12],
            )
        return changed + (self._follower.catch_up() if done.done else 0)

    def _wanted(self, most: int) -> list[str]:
        return sorted(self._follower.missing - self._unavailable)[:most]

    def _take_from_log(self) -> int:
        """Features that this version computed when it answered, as a shadow for one; returns how many rows changed."""
        sought = [*self._wanted(EMBED_AT_ONCE), *(self._follower.missing & set(self._late))]
        if not sought:
            return 0
        try:
            found = self._home.predictions.features(self._follower.extractor, sought)
        except SQLAlchemyError:  # the log only saves work: what stands is learned without it
            logger.exception("scene %s: the prediction log could not be read", self.scene.name)
            return 0
        self._home.evidence.keep(
            [Evidence(example=e, features={self._follower.extractor: f}) for e, f in found.items()]
        )
        return self._follower.catch_up() if found else 0

    def _fallback(self) -> Head:
        first = self._home.registry.first_head(self.scene.name, self.version.version)
        return first or blank(self.scene, self._follower.width)


def _same(one: Head, other: Head) -> bool:
    return one.labels == other.labels and np.array_equal(one.weight, other.weight)
