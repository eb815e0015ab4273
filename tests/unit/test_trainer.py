"""A trainer in this process with real children: what becomes of a job, and of one whose child dies at a named place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.bundle import read
from core.config import Settings
from core.database import leases
from core.home import Home, open_home
from core.job_files import folder_of, log_of
from core.job_settings import TrainerSettings
from core.jobs import Job
from tests import pico, rows
from training import filing
from training.assignment import Assignment, Teller
from training.jobs import adapt
from training.metrics import Metrics
from training.pipeline import Request
from training.worker import Trainer, tidy

SCENE = "shapes"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    settings = TrainerSettings(retry_seconds=0.0, poll_seconds=0.05, nice=0)
    made = open_home(Settings(home=tmp_path / "home", trainer=settings))
    pico.register(made)
    yield made
    made.close()


def step(home: Home, metrics: Metrics | None = None) -> Job:
    job = Trainer(home, "here", metrics or Metrics()).step(threading.Event())
    assert job is not None
    return job


def export(home: Home, out: Path) -> Job:
    return filing.file(home, "export", {"scene": SCENE, "out": str(out)})


def left(home: Home, job: Job) -> tuple[int, list[Path]]:
    """Leases of the job, and temporary files of its attempts."""
    with home.ledger.database.read() as connection:
        held = connection.execute(sa.select(leases).where(leases.c.name == job.id)).all()
    return len(held), list((home.settings.home / "jobs").glob("*/*/tmp"))


def test_a_job_is_done_in_a_process_of_its_own_and_tells_what_it_made(home: Home, tmp_path: Path) -> None:
    filed, metrics = export(home, tmp_path / "out"), Metrics()
    job = step(home, metrics)
    alias = home.registry.champion(SCENE)
    assert alias is not None and read(tmp_path / "out", alias.version)
    assert (job.id, job.state, job.result["version"]) == (filed.id, "done", alias.version)
    assert [stage.title for stage in home.progress.stages(job.id)] == [f"copying the bundle to {tmp_path / 'out'}"]
    assert "copying the bundle" in log_of(folder_of(home.settings.home, job.id, 1))
    assert left(home, job) == (0, [])
    assert metrics.registry.get_sample_value("lepton_jobs", {"kind": "export", "state": "done"}) == 1.0
    assert metrics.registry.get_sample_value("lepton_job_seconds_count", {"kind": "export", "state": "done"}) == 1.0
    assert metrics.registry.get_sample_value("lepton_trainer_busy") == 0.0


def test_what_no_attempt_can_mend_fails_at_once_with_the_remedy(home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    export(home, tmp_path / "out")
    job = step(home)
    assert (job.state, job.attempts) == ("failed", 1)
    assert f"{tmp_path / 'out'} is not empty → name another one" in job.reason
    home.jobs.file("fly", SCENE, {"scene": SCENE})
    job = step(home)
    assert (job.state, job.attempts) == ("failed", 1)
    assert "'fly'" in job.reason and "export" in job.reason


def test_a_child_that_is_killed_anywhere_is_followed_by_another_attempt(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed, states = export(home, tmp_path / "out"), []
    for place in ("attempt.opened", "attempt.worked", "attempt.finished"):
        monkeypatch.setenv("LEPTON_FAILPOINT", f"{place}:{tmp_path / place}")
        states.append(step(home).state)
        assert (tmp_path / place).exists()
    assert states == ["queued", "queued", "done"]
    attempts = home.jobs.attempts(filed.id)
    assert [attempt.outcome for attempt in attempts] == ["failed", "failed", "done"]
    assert "it was killed" in attempts[0].reason
    assert sorted(tmp_path.glob(".*")) == [] and left(home, filed) == (0, [])


def test_an_adaptation_that_finds_its_version_registered_tells_of_it(home: Home) -> None:
    made = rows.register(home)
    job = home.jobs.file("adapt", made.scene.name, {})
    given = Assignment(home=home, job=job, reporter=Teller(home, job.id), versions=(made.version.version,))
    told = adapt.work(given, Request(scene=made.scene.name, data=Path("/nowhere")))
    assert (told["version"], told["number"]) == (made.version.version, 1)


@pytest.mark.slow
def test_an_adaptation_that_died_after_it_registered_registers_no_second_version(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows.csv(*rows.table_of(60), tmp_path / "loans.csv")
    asked = {"scene": "loans", "data": str(data), "backbones": ["table_linear"]}
    filed = filing.file(home, "adapt", asked)
    monkeypatch.setenv("LEPTON_FAILPOINT", f"version.registered:{tmp_path / 'died'}")
    assert step(home).state == "queued"
    (version,) = home.registry.versions("loans")
    assert version.job == filed.id
    job = step(home)
    assert (job.state, job.attempts, job.result["version"]) == ("done", 2, version.version)
    assert home.registry.versions("loans") == [version]
    alias = home.registry.champion("loans")
    assert alias is not None and (alias.version, alias.generation) == (version.version, 1)
    assert Path(job.result["report"]).is_file()


@pytest.mark.slow
def test_an_adaptation_that_died_before_it_registered_is_made_once(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rows.csv(*rows.table_of(60), tmp_path / "loans.csv")
    filing.file(home, "adapt", {"scene": "loans", "data": str(data), "backbones": ["table_linear"]})
    monkeypatch.setenv("LEPTON_FAILPOINT", f"version.written:{tmp_path / 'died'}")
    assert step(home).state == "queued"
    assert home.registry.versions("loans") == []
    job = step(home)
    assert job.state == "done"
    assert [version.version for version in home.registry.versions("loans")] == [job.result["version"]]


def test_old_jobs_and_what_killed_trainers_left_are_tidied_away(home: Home, tmp_path: Path) -> None:
    old, taken_over = export(home, tmp_path / "a"), export(home, tmp_path / "b")
    hold = home.jobs.claim("here", 60.0)
    assert hold is not None
    home.jobs.finish(hold, {})
    for seconds in (0.0, 60.0):
        hold = home.jobs.claim("here", seconds)
        assert hold is not None and hold.job.id == taken_over.id
    places = [
        folder_of(home.settings.home, job, number) / "tmp"
        for job, number in ((old.id, 1), (hold.job.id, 1), (hold.job.id, 2))
    ]
    for place in places:
        place.mkdir(parents=True)
    tidy(home, time.time())
    assert [place.exists() for place in places] == [False, False, True]
    tidy(home, time.time() + 91 * 86400.0)
    assert home.jobs.listed() == [home.jobs.find(taken_over.id)]
    assert [place.parents[1].exists() for place in places] == [False, True, True]
