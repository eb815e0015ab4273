"""Trainers as real processes, two at a time: a real adaptation that is cancelled, and one whose trainer is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from core.config import Settings
from core.database import leases
from core.home import Home, open_home
from core.jobs import ENDED, Job
from core.lease import TRAINER
from tests import pico, rows
from tests.processes import Running, environment, lepton
from tests.waiting import until
from training import filing

PATIENCE = 120.0  # seconds that a step may take on a busy machine
QUICK = {
    "LEPTON_TRAINER_LEASE_SECONDS": "3",
    "LEPTON_TRAINER_POLL_SECONDS": "0.05",
    "LEPTON_TRAINER_RETRY_SECONDS": "0",
    "LEPTON_TRAINER_NICE": "0",
}
CANCELLED_SECONDS = 5.0  # one or two on a machine with nothing else to do


@contextmanager
def trainers(folder: Path, *more: dict[str, str]) -> Iterator[Sequence[Running]]:
    """A trainer for each set of variables."""
    made = [
        Running(lepton("trainer"), environment(folder / "home", **QUICK, **each), folder / f"trainer-{number}.log")
        for number, each in enumerate(more)
    ]
    try:
        yield made
    finally:
        for each in made:
            each.stop()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with closing(open_home(Settings(home=tmp_path / "home"))) as made:
        yield made


def adapt(home: Home, folder: Path) -> Job:
    data = rows.csv(*rows.table_of(60), folder / "loans.csv")
    return filing.file(home, "adapt", {"scene": "loans", "data": str(data), "backbones": ["table_linear"]})


def wait_for(home: Home, job: Job, condition: Callable[[Job], object]) -> Job:
    def come() -> Job | None:
        found = home.jobs.find(job.id)
        return found if condition(found) else None

    found = until(come, PATIENCE)
    assert found is not None
    return found


def at_work(home: Home) -> Callable[[Job], object]:
    """Whether a job has told of its first stage."""
    return lambda job: job.state == "running" and home.progress.stages(job.id)


def processes_of(job: Job) -> list[psutil.Process]:
    """What runs for a job anywhere on this machine."""
    found = []
    for process in psutil.process_iter():
        try:
            if job.id in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def nothing_is_left(home: Home, job: Job) -> None:
    until(lambda: not processes_of(job))
    with home.ledger.database.read() as connection:
        alive = sa.select(leases).where(leases.c.name != TRAINER)  # its sign of life runs out by itself
        assert connection.execute(alive).all() == []
    assert list((home.settings.home / "jobs").glob("*/*/tmp")) == []


@pytest.mark.slow
def test_an_adaptation_is_cancelled_and_the_next_one_outlives_its_trainer(home: Home, tmp_path: Path) -> None:
    with trainers(tmp_path, {}, {}) as pair:
        first = adapt(home, tmp_path)
        wait_for(home, first, at_work(home))
        assert home.jobs.cancel(first.id).state == "running"
        asked = time.time()
        first = wait_for(home, first, lambda job: job.state in ENDED)
        assert (first.state, first.result) == ("cancelled", {})
        assert first.ended_at is not None and first.ended_at - asked < CANCELLED_SECONDS
        nothing_is_left(home, first)

        second = adapt(home, tmp_path)
        wait_for(home, second, at_work(home))
        owner = home.jobs.attempts(second.id)[0].owner
        (victim,) = [each for each in pair if f":{each.pid}:" in owner]
        os.kill(victim.pid, signal.SIGKILL)  # the trainer alone: its child must not go on
        second = wait_for(home, second, lambda job: job.state in ENDED)
        assert (second.state, second.attempts) == ("done", 2), second.reason
    assert [attempt.outcome for attempt in home.jobs.attempts(second.id)] == ["lost", "done"]
    assert len({attempt.owner for attempt in home.jobs.attempts(second.id)}) == 2
    (version,) = home.registry.versions("loans")
    alias = home.registry.champion("loans")
    assert alias is not None and alias.version == version.version == second.result["version"]
    assert (alias.generation, version.job) == (1, second.id)
    nothing_is_left(home, second)


def test_a_trainer_that_is_killed_anywhere_is_followed_by_another(home: Home, tmp_path: Path) -> None:
    pico.register(home)
    with home.ledger.database.write() as connection:
        connection.execute(sa.delete(leases))
    job = filing.file(home, "export", {"scene": "shapes", "out": str(tmp_path / "out")})
    places = ("trainer.claimed", "trainer.started", "trainer.ended")
    for number, place in enumerate(places, start=1):
        with trainers(tmp_path, {"LEPTON_FAILPOINT": f"{place}:{tmp_path / place}"}) as (one,):
            assert one.process.wait(PATIENCE) == -signal.SIGKILL, one.told()
        assert len(home.jobs.attempts(job.id)) == number
    job = home.jobs.find(job.id)
    assert (job.state, job.attempts) == ("done", 3)
    assert [attempt.outcome for attempt in home.jobs.attempts(job.id)] == ["lost", "lost", "done"]
    until(lambda: not processes_of(job))
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


def test_a_trainer_that_is_stopped_gives_its_job_back(home: Home, tmp_path: Path) -> None:
    with trainers(tmp_path, {}) as (one,):
        job = adapt(home, tmp_path)
        wait_for(home, job, lambda job: job.state == "running")
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(PATIENCE) == 0, one.told()
    job = home.jobs.find(job.id)
    assert (job.state, job.attempts, job.most_attempts) == ("queued", 1, home.settings.trainer.attempts + 1)
    assert [attempt.outcome for attempt in home.jobs.attempts(job.id)] == ["returned"]
    until(lambda: not processes_of(job))
