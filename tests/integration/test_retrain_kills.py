"""kill -9 at every step of the cycle and of the promotion: one champion, always complete, and the job goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.failpoint import VARIABLE
from core.home import Home
from core.jobs import Hold
from core.promotion import prepare
from tests import halves, towns
from tests.homes import copied, home_at
from tests.towns import SCENE
from training import attempt, filing

# In the order in which a cycle comes by; the first four leave nothing that could go on, the others a version. One that
# moves weights comes by TUNED, too, and one whose version has to challenge first ends at CHALLENGING.
BEFORE = ("attempt.opened", "retrain.prepared", "retrain.decided", "version.written")
AFTER = ("version.registered", "retrain.registered", "champion.moved", "retrain.promoted", "attempt.worked")
TUNED, CHALLENGING = "retrain.tuned", "retrain.challenging"
PATIENCE = 120.0

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["training.attempt", "training.jobs.retrain"])


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a version of the old towns and labels of new ones, to be copied."""
    made = towns.adapted(tmp_path_factory.mktemp("adapted"))
    with closing(home_at(made)) as home:
        towns.say(home)
    return made


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose backbone can be tuned, and labels of new pictures, to be copied."""
    made = halves.adapted(tmp_path_factory.mktemp("drawn"))
    with closing(home_at(made)) as home:
        halves.say(home, 45)
    return made


@pytest.fixture
def home(adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    with copied(adapted, tmp_path) as made:
        yield made


def work(home: str, job: str, owner: str, token: str, place: str) -> None:
    """An attempt as a trainer's process makes it."""
    os.environ |= {"LEPTON_HOME": home, VARIABLE: place}
    attempt.attempt(job, owner, token)


def attempted(home: Home, place: str) -> int:
    """Begin the job that waits, or whose trainer is silent; the exit code of the process."""
    hold = home.jobs.claim("trainer", 0.0)  # silent at once, so that nobody waits for the end of a lease
    assert isinstance(hold, Hold)
    told = (str(home.settings.home), hold.job.id, hold.lease.owner, str(hold.lease.token), place)
    child = forks.Process(target=work, args=told)
    child.start()
    child.join(PATIENCE)
    assert child.exitcode is not None
    return child.exitcode


def complete(home: Home, scene: str = SCENE) -> str:
    """The champion, after it was seen to be whole: its files, its head, and features for all that stands."""
    alias = home.registry.champion(scene)
    assert alias is not None
    home.bundle(alias.version)
    version = home.registry.version(scene, alias.version)
    latest = home.registry.latest_revision(scene, alias.version)
    assert latest is not None and latest.head.weight.shape[0] == version.manifest["features"]
    follower = home.follower(home.registry.scene(scene), version)
    follower.catch_up()
    assert version.number == 1 or not follower.missing
    return alias.version


@pytest.mark.slow
@pytest.mark.parametrize("place", [*BEFORE, *AFTER])
def test_a_cycle_that_is_killed_anywhere_leaves_one_whole_champion_and_goes_on(
    home: Home, tmp_path: Path, place: str
) -> None:
    first, said = complete(home), home.ledger.last_sequence(SCENE)
    job = filing.file(home, "retrain", {"scene": SCENE})
    assert attempted(home, f"{place}:{tmp_path / 'died'}") == -signal.SIGKILL
    promoted = place in {"retrain.promoted", "attempt.worked"}
    assert (complete(home) != first) == promoted
    assert len(home.registry.versions(SCENE)) == (2 if place in AFTER else 1)
    assert home.ledger.last_sequence(SCENE) == said
    towns.say(home, 4, first=6000)  # labels go on coming
    assert attempted(home, "") == 0
    job = home.jobs.find(job.id)
    assert (job.state, job.result["outcome"]) == ("done", "promoted"), job.reason
    if promoted:  # what came after the promotion is the learner's
        prepare(home, SCENE, job.result["version"], lambda done, total: None)
    newest = complete(home)
    assert [version.version for version in home.registry.versions(SCENE)] == [first, newest]
    assert home.jobs.versions(job.id) == [newest]
    alias = home.registry.champion(SCENE)
    assert alias is not None and alias.generation == 2, "it was promoted once"
    assert [each.version for each in home.decisions.of(SCENE) if each.version] == [newest]
    assert len(home.ledger.events(SCENE, said)) == 4, "no label was lost"
    watching = home.challenges.of(SCENE)
    assert watching is not None and watching.probation and watching.version == first
    head = home.registry.latest_revision(SCENE, newest)
    assert head is not None and (promoted or head.head.sequence == said + 4)


@pytest.mark.slow
def test_a_cycle_that_is_killed_when_its_version_challenges_leaves_one_challenge_that_goes_on(
    home: Home, tmp_path: Path
) -> None:
    first, said = complete(home), home.ledger.last_sequence(SCENE)
    job = filing.file(home, "retrain", {"scene": SCENE, "challenge": "shadow"})
    assert attempted(home, f"{CHALLENGING}:{tmp_path / 'died'}") == -signal.SIGKILL
    began = home.challenges.of(SCENE)
    assert began is not None and (began.mode, began.judge, began.probation) == ("shadow", "evidence", False)
    assert complete(home) == first
    towns.say(home, 4, first=6000)
    assert attempted(home, "") == 0
    job = home.jobs.find(job.id)
    assert (job.state, job.result["outcome"]) == ("done", "challenging"), job.reason
    assert complete(home) == first and home.jobs.versions(job.id) == [job.result["version"]]
    held = home.challenges.of(SCENE)
    assert held is not None and held.version == job.result["version"] == began.version
    assert held.began_at == began.began_at, "what was labelled meanwhile counts"
    assert [version.version for version in home.registry.versions(SCENE)] == [first, held.version]
    assert [each.version for each in home.decisions.of(SCENE)] == [held.version]
    alias = home.registry.champion(SCENE)
    assert alias is not None and alias.generation == 1
    assert len(home.ledger.events(SCENE, said)) == 4, "no label was lost"


@pytest.mark.slow
def test_a_cycle_that_is_killed_when_weights_have_moved_leaves_nothing_of_them_and_moves_them_again(
    drawn: Path, tmp_path: Path
) -> None:
    asked = {"scene": halves.SCENE, "recipe": "finetune", "settings": halves.SETTINGS, "seed": 3, "budget": 1200.0}
    with copied(drawn, tmp_path) as home:
        first, said = complete(home, halves.SCENE), home.ledger.last_sequence(halves.SCENE)
        job = filing.file(home, "retrain", asked)
        assert attempted(home, f"{TUNED}:{tmp_path / 'died'}") == -signal.SIGKILL
        assert complete(home, halves.SCENE) == first
        assert len(home.registry.versions(halves.SCENE)) == 1 and home.decisions.of(halves.SCENE) == []
        assert [place.name for place in (home.settings.home / "artifacts" / "bundles").iterdir()] == [first]
        assert attempted(home, "") == 0
        job = home.jobs.find(job.id)
        assert (job.state, job.result["outcome"]) == ("done", "promoted"), job.reason
        newest = complete(home, halves.SCENE)
        assert [version.version for version in home.registry.versions(halves.SCENE)] == [first, newest]
        assert home.bundle(newest).manifest.members[0].tuned
        assert home.ledger.last_sequence(halves.SCENE) == said
