"""A learner of one scene, and the revisions that it publishes: what tests of learner and guard are told in."""

from __future__ import annotations

from core.follow import Follower
from core.home import Home
from core.types import Head
from learner.loop import Learner

SCENE, VERSION = "s", "v" * 64


def step(teacher: Learner) -> None:
    """The learner's step, which leads."""
    assert teacher.lead()
    teacher.step()


def newest(home: Home) -> tuple[int, Head]:
    """The number of the newest revision, and its head."""
    revision = home.registry.latest_revision(SCENE, VERSION)
    assert revision is not None
    return revision.number, revision.head


def followed(home: Home, upto: int | None = None, leaving: str | None = None, version: str = VERSION) -> Follower:
    """The ledger, read from its beginning."""
    scene, asked = home.registry.scene(SCENE), home.registry.version(SCENE, version)
    made = home.follower(scene, asked, upto=upto, leaving=leaving)
    made.catch_up()
    return made


def scratch(home: Home, upto: int | None = None, leaving: str | None = None, version: str = VERSION) -> Head:
    """The head of it."""
    head = followed(home, upto, leaving, version).head()
    assert head is not None
    return head


def same(one: Head, other: Head) -> bool:
    """Whether two heads are alike to the bit."""
    return one.weight.tobytes() == other.weight.tobytes() and one.bias.tobytes() == other.bias.tobytes()
