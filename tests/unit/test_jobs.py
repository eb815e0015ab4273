"""The queue: who is next, when again, what is refused, and what a lost or cancelled job can write no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Cancelled, Conflict, InvalidInput, LeadershipLost, NotFound
from core.home import Home
from core.jobs import LOST, Hold, Job, Jobs
from tests.homes import SCENE, declare, evidence_of, feedback_of, head_of, home_at, manifest_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    made = home_at(tmp_path, url)
    declare(made)
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(home: Home, clock: Clock) -> Jobs:
    return Jobs(home.ledger.database, clock)


def file(jobs: Jobs, **more: object) -> Job:
    return jobs.file("adapt", SCENE, {"scene": SCENE}, **more)  # type: ignore[arg-type]


def claim(jobs: Jobs, owner: str = "ann") -> Hold:
    hold = jobs.claim(owner, 5.0)
    assert hold is not None
    return hold


def test_a_job_is_filed_with_the_last_label_of_its_scene(home: Home, jobs: Jobs) -> None:
    assert file(jobs).sequence == 0
    receipt = home.ledger.add(feedback_of("a", "cat"), evidence_of("a"))
    made = file(jobs)
    assert made == jobs.find(made.id)
    assert (made.sequence, made.state, made.attempts, made.cause) == (receipt.sequence, "queued", 0, None)


def test_who_has_waited_longest_is_next_and_then_nobody(jobs: Jobs, clock: Clock) -> None:
    first = file(jobs)
    clock.now += 1
    second = file(jobs)
    assert [claim(jobs).job.id, claim(jobs, "bob").job.id] == [first.id, second.id]
    assert jobs.claim("cy", 5.0) is None


def test_a_job_is_found_by_the_end_of_its_id(jobs: Jobs) -> None:
    made = file(jobs)
    assert jobs.find(made.id[-12:]) == jobs.find(made.id[:20]) == made
    for name in ("nothing", made.id[-3:], ""):
        with pytest.raises(NotFound, match="lepton jobs"):
            jobs.find(name)


def test_one_cause_makes_one_job(jobs: Jobs) -> None:
    made = file(jobs, cause="ward: 5 new labels since version 1")
    with pytest.raises(Conflict, match="5 new labels"):
        file(jobs, cause="ward: 5 new labels since version 1")
    file(jobs, cause="ward: 5 new labels since version 2")
    file(jobs)
    file(jobs)
    assert len(jobs.listed()) == 4 and jobs.find(made.id).cause == made.cause


def test_what_is_no_scene_or_too_large_is_refused(jobs: Jobs) -> None:
    with pytest.raises(InvalidInput, match="scene name"):
        jobs.file("adapt", "../ward", {})
    with pytest.raises(InvalidInput, match="bytes"):
        jobs.file("adapt", SCENE, {"label": "x" * 70000})
    assert jobs.listed() == []


def test_another_attempt_waits_twice_as_long_until_the_cap(jobs: Jobs, clock: Clock) -> None:
    made = file(jobs)
    for wait in (10.0, 20.0):
        job = jobs.fail(claim(jobs), "the disk is full", again=True, wait=10.0)
        assert (job.state, job.reason, job.not_before) == ("queued", "the disk is full", clock.now + wait)
        clock.now += wait - 0.1
        assert jobs.claim("bob", 5.0) is None
        clock.now += 0.2
    job = jobs.fail(claim(jobs), "the disk is full", again=True, wait=10.0)
    assert (job.state, job.attempts, job.ended_at) == ("failed", 3, clock.now)
    assert [attempt.outcome for attempt in jobs.attempts(made.id)] == ["failed"] * 3


def test_a_silent_trainer_is_followed_and_the_last_attempt_ends_the_job(jobs: Jobs, clock: Clock) -> None:
    made = file(jobs, most_attempts=2)
    late = claim(jobs)
    clock.now += 5.0
    second = claim(jobs, "bob")
    assert second.lease.token == late.lease.token + 1 and second.job.attempts == 2
    with pytest.raises(LeadershipLost):
        jobs.heartbeat(late, 5.0)
    clock.now += 5.0
    assert jobs.claim("cy", 5.0) is None
    job = jobs.find(made.id)
    assert job.state == "failed" and LOST in job.reason
    assert [(a.owner, a.outcome) for a in jobs.attempts(made.id)] == [("ann", "lost"), ("bob", "lost")]


def test_a_job_is_held_as_long_as_its_trainer_is_heard_from(jobs: Jobs, clock: Clock) -> None:
    file(jobs)
    assert jobs.held(SCENE, "adapt") is None, "it waits"
    hold = claim(jobs)
    assert jobs.held(SCENE, "adapt") == hold.job
    assert jobs.held(SCENE, "retrain") is None and jobs.held("other", "adapt") is None
    clock.now += 4
    jobs.heartbeat(hold, 5)
    clock.now += 4
    assert jobs.held(SCENE, "adapt") == hold.job
    clock.now += 2
    assert jobs.held(SCENE, "adapt") is None, "its trainer is silent"
    assert jobs.find(hold.job.id).state == "running", "until another trainer takes it over"


def test_a_job_that_is_given_back_is_there_at_once_and_has_lost_no_attempt(jobs: Jobs) -> None:
    file(jobs, most_attempts=1)
    job = jobs.give_back(claim(jobs))
    assert (job.state, job.attempts, job.most_attempts) == ("queued", 1, 2)
    assert jobs.finish(claim(jobs, "bob"), {}).state == "done"


def test_a_cancelled_job_whose_trainer_is_dead_ends_without_a_trainer(jobs: Jobs, clock: Clock) -> None:
    made = file(jobs)
    hold = claim(jobs)
    clock.now += 5.0
    assert jobs.cancel(made.id).state == "cancelled"
    with pytest.raises(LeadershipLost):
        jobs.finish(hold, {})


def test_a_cancelled_job_whose_trainer_dies_is_not_begun_again(jobs: Jobs, clock: Clock) -> None:
    made = file(jobs)
    claim(jobs)
    assert jobs.cancel(made.id).state == "running"
    clock.now += 5.0
    assert jobs.claim("bob", 5.0) is None
    assert jobs.find(made.id).state == "cancelled"


def test_a_version_is_registered_with_its_job_and_by_a_holder_only(home: Home, jobs: Jobs, clock: Clock) -> None:
    made = file(jobs)
    late = claim(jobs)
    home.registry.job, home.ledger.database.fence = made.id, jobs.fence(late)
    first = home.registry.register(SCENE, "a" * 64, manifest_of(), head_of(1.0))
    assert (first.job, jobs.versions(made.id)) == (made.id, ["a" * 64])
    home.ledger.database.fence = None
    clock.now += 5.0
    current = claim(jobs, "bob")
    home.ledger.database.fence = jobs.fence(late)
    with pytest.raises(LeadershipLost):
        home.registry.register(SCENE, "b" * 64, manifest_of(), head_of(2.0))
    home.ledger.database.fence = None
    jobs.cancel(made.id)
    home.ledger.database.fence = jobs.fence(current)
    with pytest.raises(Cancelled, match=made.id):
        home.registry.register(SCENE, "b" * 64, manifest_of(), head_of(2.0))
    assert [version.version for version in home.registry.versions(SCENE)] == ["a" * 64]


def test_time_is_counted_of_jobs_that_were_filed_by_themselves(jobs: Jobs, clock: Clock) -> None:
    for cause in (None, "one"):
        file(jobs, cause=cause)
        hold = claim(jobs)
        clock.now += 4.0
        jobs.finish(hold, {})
    file(jobs, cause="two")
    claim(jobs)
    clock.now += 3.0
    assert jobs.seconds_spent(SCENE, 0.0) == 7.0
    assert jobs.seconds_spent(SCENE, clock.now - 5.0) == 5.0
    assert jobs.seconds_spent("another", 0.0) == 0.0


def test_old_jobs_are_forgotten_with_all_that_they_told(home: Home, jobs: Jobs, clock: Clock) -> None:
    old = file(jobs)
    home.progress.stage(old.id, "reading")
    home.progress.metric(old.id, "loss", 1, 0.5)
    jobs.finish(claim(jobs), {})
    clock.now += 100.0
    waits = file(jobs)
    assert jobs.forget(clock.now - 100.0) == []
    assert jobs.forget(clock.now) == [old.id]
    assert jobs.listed() == [waits]
    assert (jobs.attempts(old.id), home.progress.stages(old.id), home.progress.metrics(old.id)) == ([], [], [])


def test_jobs_are_counted_by_kind_and_state(jobs: Jobs) -> None:
    file(jobs)
    file(jobs)
    claim(jobs)
    assert jobs.counts() == {("adapt", "running"): 1, ("adapt", "queued"): 1}
    assert [job.state for job in jobs.listed(SCENE, "adapt", states=["running"])] == ["running"]
    assert jobs.listed("another") == jobs.listed(SCENE, "export") == []
