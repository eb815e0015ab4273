"""One scene as the learner holds it under one version, champion or challenger: followed, and its heads published.

Promises that a revision is published whenever the ledger has moved, and only then. Knows nothing of leases' timing.
"""

from __future__ import annotations

import logging
from collections import deque

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from core.embed import embed
from core.evidence import Evidence
from core.follow import Follower, blank
from core.home import Home
from core.lease import Lease
from core.preprocess import Preprocessor
from core.session import Session
from core.types import Head, Revision, Scene, Version

logger = logging.getLogger(__name__)

EMBED_AT_ONCE = 64  # examples embedded between two looks at the ledger
LATE = 64  # examples without a readable input, whose shadow may still be logged


class Lesson:
    """Follows one scene under one version.

    Args:
        home: where everything lies.
        scene, version: what is followed.
        at_once: examples embedded between two looks at the ledger; others wait for as long as they take.
    """

    def __init__(self, home: Home, scene: Scene, version: Version, at_once: int = EMBED_AT_ONCE):
        self.scene = scene
        self.version = version
        self._home = home
        self._follower: Follower = home.follower(scene, version)
        self._extractor: tuple[Session, Preprocessor] | None = None
        self._unavailable: set[str] = set()
        self._at_once = at_once
        self._late: deque[str] = deque(maxlen=LATE)
        self._published = self._last_published()

    def study(self, lease: Lease) -> Revision | None:
        """Take in what is new and publish the head; None where there is nothing new.

        Raises:
            LeadershipLost: another learner leads.
        """
        changed = self._follower.catch_up()
        changed += self._embed_missing()
        if changed == 0 and self._follower.sequence <= self._published:
            return None
        head = self._follower.head(self._fallback())
        assert head is not None, "a fallback always serves"
        revision = self._home.registry.publish(
            self.scene.name, self.version.version, head, lease=lease, keep=self._home.settings.learner.keep_revisions
        )
        self._published = head.sequence
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
    def conflicts(self) -> int:
        """Examples that do not count because annotators tie."""
        return len(self._follower.conflicts)

    @property
    def standing(self) -> int:
        """Examples in the head, or, of several tasks, in any of theirs."""
        return len(self._follower.standing)

    def _last_published(self) -> int:
        """Sequence of the newest revision, where that is the very head of its rows; -1 where it must be solved anew."""
        latest = self._home.registry.latest_revision(self.scene.name, self.version.version)
        self._follower.catch_up()
        head = self._follower.head(self._fallback())
        if latest is None or head is None:
            return -1
        same = all(_same(head.of(each.task_name), latest.head.of(each.task_name)) for each in self.scene.tasks)
        return latest.head.sequence if same else -1

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
