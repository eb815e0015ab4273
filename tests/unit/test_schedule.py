"""When a scene is retrained by itself: its causes, once each, and what makes a cause wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import cron
from core.config import LearnerSettings, Settings
from core.drift import DriftReading
from core.erasure import erase
from core.errors import BadConfiguration
from core.home import Home, open_home
from core.job_settings import RetrainSettings
from core.jobs import Jobs
from learner import schedule
from learner.loop import Learner
from learner.metrics import Metrics
from tests.homes import SCENE, declare, evidence_of, feedback_of, head_of, manifest_of

DAY = 86400.0
VERSION = "a" * 64
WRONG = (
    {"cron": "every day"},
    {"cron": "61 3 * * *"},
    {"start": "middle"},
    {"accepted": "perhaps"},
    {"distill": 1.5},
    {"alpha": 1.0},
    {"minutes": 0.0},
    {"margin": -0.1},
    {"abstention": 2.0},
)


def at(hour: int, minute: int = 0) -> float:
    """A moment of a day by the clock of this machine."""
    return time.mktime((2030, 1, 7, hour, minute, 0, 0, 0, -1))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path, learner=LearnerSettings(cause_seconds=5.0)))
    declare(made)
    made.registry.register(SCENE, VERSION, manifest_of(), head_of(0.0))
    yield made
    made.close()


def say(home: Home, *names: str) -> None:
    for name in names:
        home.ledger.add(feedback_of(name, "cat"), evidence_of(name))


def due(home: Home, now: float) -> list[str | None]:
    return [job.cause for job in schedule.look(home, now)]


def ended(home: Home, seconds: float = 0.0) -> float:
    """The job that waits is taken and done; when it began."""
    begun = time.time()
    clock = [begun]
    jobs = Jobs(home.ledger.database, lambda: clock[0])
    hold = jobs.claim("ann", 10**6)
    assert hold is not None
    clock[0] += seconds
    jobs.finish(hold, {})
    return begun


def test_nothing_is_filed_by_itself_unless_it_was_asked_for(home: Home) -> None:
    say(home, "a", "b", "c")
    assert due(home, time.time() + 365 * DAY) == []


def test_labels_are_a_cause_by_default_and_none_once_that_is_turned_off(home: Home) -> None:
    assert home.settings.retrain.labels == 500
    say(home, "a", "b", "c")
    home.policies.change(SCENE, {"labels": 0})
    assert due(home, time.time() + 365 * DAY) == []


def test_a_moment_that_comes_round_is_a_cause_once_for_each_time(home: Home) -> None:
    home.policies.change(SCENE, {"cron": "30 3 * * 1", "labels": 0})
    first = cron.following("30 3 * * 1", home.registry.version(SCENE, VERSION).created_at)
    assert first is not None
    told = time.localtime(first)
    assert (told.tm_wday, told.tm_hour, told.tm_min) == (0, 3, 30)
    assert due(home, first - 1) == []
    when = time.strftime("%Y-%m-%d %H:%M", told)
    assert due(home, first) == [f"{SCENE}: 30 3 * * 1 came round at {when}"]
    ended(home)
    (job,) = home.jobs.listed()
    again = cron.following("30 3 * * 1", job.filed_at)
    assert again is not None and due(home, again - 1) == []
    assert len(due(home, again)) == (again != first), "the same moment is one cause, whoever finds it again"


def test_a_champion_that_learned_of_an_erased_person_is_a_cause_once(home: Home) -> None:
    home.ledger.add(feedback_of("a", "cat", subject="jane"), evidence_of("a"))
    tuned = "b" * 64
    home.registry.register(SCENE, tuned, manifest_of(9, tuned=True), head_of(0.0, 9))
    home.registry.promote(SCENE, tuned, expected_generation=1, head=lambda: None)
    assert due(home, time.time()) == []
    erase(home, "jane")
    assert due(home, time.time()) == [f"{SCENE}: version {tuned[:12]} has learned of somebody who was erased"]
    ended(home)
    assert due(home, time.time()) == []


def test_so_many_new_labels_are_a_cause_once(home: Home) -> None:
    home.policies.change(SCENE, {"labels": 3})
    now = time.time()
    say(home, "a", "b")
    assert due(home, now) == []
    say(home, "c")
    assert due(home, now) == [f"{SCENE}: 3 new labels since version {VERSION[:12]}"]
    (job,) = home.jobs.listed()
    assert (job.kind, job.request, job.sequence) == ("retrain", {"scene": SCENE}, 3)
    assert due(home, now) == []
    ended(home)
    assert due(home, now) == []
    say(home, "d", "e", "f")
    assert due(home, now) == [f"{SCENE}: 3 new labels since job {job.id}"]


def test_training_examples_and_waiting_labels_are_no_new_labels(home: Home) -> None:
    home.policies.change(SCENE, {"labels": 1})
    home.evidence.keep([evidence_of("a")])
    home.ledger.teach(SCENE, [feedback_of("a", "dog", source="training")])
    home.ledger.add(feedback_of("b", "cat", example=None, prediction_id=f"{SCENE}:{'0' * 32}"), None)
    assert due(home, time.time()) == []
    (waits,) = home.ledger.waiting()
    home.ledger.join(waits.event_id, evidence_of("b"))
    assert len(due(home, time.time())) == 1


def test_so_much_time_is_a_cause_once_for_each_time(home: Home) -> None:
    home.policies.change(SCENE, {"hours": 24})
    made = home.registry.version(SCENE, VERSION).created_at
    assert due(home, made + DAY - 1) == []
    assert due(home, made + DAY) == [f"{SCENE}: 24 hours since version {VERSION[:12]}"]
    ended(home)
    (job,) = home.jobs.listed()
    assert due(home, job.filed_at + DAY - 1) == []
    assert due(home, job.filed_at + DAY) == [f"{SCENE}: 24 hours since job {job.id}"]


def test_drift_is_a_cause_once_there_is_something_new_to_learn(home: Home) -> None:
    home.policies.change(SCENE, {"drift": True})
    now = time.time()
    say(home, "a")
    assert due(home, now) == []
    home.drift.keep([reading(1, 0.9, now), reading(2, 1.1, now)])
    assert due(home, now) == [f"{SCENE}: drift since version {VERSION[:12]}"]
    ended(home)
    (job,) = home.jobs.listed()
    home.drift.keep([reading(3, 1.2, job.filed_at + 1)])
    assert due(home, now) == []
    say(home, "b")
    assert due(home, now) == [f"{SCENE}: drift since job {job.id}"]


def reading(number: int, value: float, at: float) -> DriftReading:
    return DriftReading(
        scene=SCENE, version=VERSION, detector="inputs", number=number, value=value, words="moved", until=at, at=at
    )


def test_two_learners_that_look_at_the_same_time_file_one_job(home: Home) -> None:
    first = schedule.file(home, SCENE, "a new camera", time.time())
    assert first is not None and first.cause == f"{SCENE}: a new camera"
    ended(home)
    assert schedule.file(home, SCENE, "a new camera", time.time()) is None
    assert schedule.file(home, SCENE, "a new lamp", time.time()) is not None


def test_a_scene_has_one_retraining_at_a_time(home: Home) -> None:
    home.jobs.file("retrain", SCENE, {"scene": SCENE})  # by hand
    assert schedule.file(home, SCENE, "a new camera", time.time()) is None
    ended(home)
    assert schedule.file(home, SCENE, "a new camera", time.time()) is not None


def test_a_cause_waits_for_the_end_of_quiet_hours(home: Home) -> None:
    home.policies.change(SCENE, {"hours": 1, "quiet": "08:00-18:00"})
    assert due(home, at(8)) == due(home, at(17, 59)) == []
    assert len(due(home, at(18))) == 1


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-06:30", [at(22), at(23, 59), at(0), at(6, 29)], [at(6, 30), at(12), at(21, 59)]),
        ("00:00-00:01", [at(0)], [at(0, 1), at(23, 59)]),
        ("", [], [at(0), at(12)]),
    ],
)
def test_quiet_hours_may_go_past_midnight(hours: str, inside: list[float], outside: list[float]) -> None:
    assert [schedule.quiet(hours, now) for now in inside + outside] == [True] * len(inside) + [False] * len(outside)


def test_a_cause_waits_when_the_budget_of_the_day_is_spent(home: Home) -> None:
    home.policies.change(SCENE, {"minutes_a_day": 10})
    assert schedule.file(home, SCENE, "a new camera", time.time()) is not None
    begun = ended(home, 601.0)
    assert schedule.file(home, SCENE, "a new lamp", begun + 700) is None
    assert schedule.file(home, SCENE, "a new lamp", begun + DAY + 2) is not None


def test_a_policy_changes_settings_for_one_scene_and_is_checked(home: Home) -> None:
    declare(home, name="other")
    home.policies.change(SCENE, {"labels": 5})
    home.policies.change(SCENE, {"hours": 2})
    assert home.policies.of(SCENE) == RetrainSettings(labels=5, hours=2.0)
    assert home.policies.of("other") == home.settings.retrain
    for wrong in ({"labels": -1}, {"quiet": "8-18"}, {"labels": "many"}, {"colour": "red"}, *WRONG):
        with pytest.raises(BadConfiguration, match="every|61|" + "|".join(wrong)):
            home.policies.change(SCENE, wrong)
    assert home.policies.changes(SCENE) == {"labels": 5, "hours": 2}
    home.policies.reset(SCENE)
    assert home.policies.of(SCENE) == home.settings.retrain


def test_the_leading_learner_looks_for_causes_now_and_then(home: Home) -> None:
    clock = [time.time()]
    one, other = (Learner(home, owner, Metrics(), lambda: clock[0]) for owner in ("one", "other"))
    assert one.lead() and not other.lead()
    home.policies.change(SCENE, {"labels": 1})
    say(home, "a")
    clock[0] += 4.0
    assert one.lead() and not other.lead() and home.jobs.listed() == []
    clock[0] += 1.0
    assert not other.lead() and home.jobs.listed() == []
    assert one.lead() and len(home.jobs.listed()) == 1
