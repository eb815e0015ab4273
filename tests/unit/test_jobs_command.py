"""The commands about jobs: filed, listed, shown, followed, cancelled, done; and the policy of a scene."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core import config
from core.home import Home, open_home
from lepton.main import run
from tests import pico, rows


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEPTON_TRAINER_METRICS_PORT", "0")
    monkeypatch.chdir(tmp_path)
    with closing(open_home(config.load())) as made:
        yield made


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_an_adaptation_is_filed_instead_of_done(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows.csv(*rows.table_of(30), tmp_path / "loans.csv")
    job = told(capsys, "adapt", "loans", "loans.csv", "--backbone", "table_linear", "--queue")
    assert (job["kind"], job["scene"], job["state"]) == ("adapt", "loans", "queued")
    assert job["request"]["data"] == str(tmp_path / "loans.csv")
    assert told(capsys, "jobs") == told(capsys, "jobs", "--scene", "loans") == [job]
    assert told(capsys, "jobs", "--scene", "other") == [] and home.registry.scenes() == []
    assert told(capsys, "cancel", job["id"][-12:])["state"] == "cancelled"
    assert run(["cancel", job["id"]]) == 1
    assert "is cancelled already" in capsys.readouterr().err


def test_a_fusion_is_filed_with_the_versions_that_it_takes(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    pico.register(home)
    job = told(capsys, "fuse", "shapes", "1", "2", "--method", "logits", "--queue")
    assert (job["kind"], job["request"]["versions"], job["request"]["method"]) == ("fuse", ["1", "2"], "logits")
    assert job["state"] == "queued"


def test_a_job_is_shown_with_all_that_it_told(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    made = home.jobs.file("adapt", "loans", {"scene": "loans", "seed": 3}, cause="loans: a new camera")
    assert home.jobs.claim("ann", 60.0) is not None
    home.progress.stage(made.id, "reading and checking the data")
    home.progress.advance(made.id, 3, 9)
    home.progress.metric(made.id, "loss", 1, 0.125)
    assert run(["jobs"]) == run(["job", made.id]) == 0
    out = capsys.readouterr().out
    for word in ("reading and checking the data (3 of 9)", "loans: a new camera", "ann", "0.125", "seed 3"):
        assert word in out
    shown = told(capsys, "job", made.id[-12:])
    assert (shown["state"], shown["stages"][0]["done"], shown["metrics"][0]["value"]) == ("running", 3, 0.125)
    assert [attempt["owner"] for attempt in shown["attempted"]] == ["ann"]
    assert run(["cancel", made.id]) == 0 and "is being stopped" in capsys.readouterr().out
    assert run(["job", "nothing"]) == 1 and "lepton jobs" in capsys.readouterr().err


def test_a_job_that_ended_is_followed_to_its_end(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    ends = {}
    for state in ("done", "failed"):
        ends[state] = home.jobs.file("adapt", "loans", {"scene": "loans"}).id
        hold = home.jobs.claim("ann", 60.0)
        assert hold is not None
        for title, done in (("reading", 5), ("solving", 2)):
            home.progress.stage(hold.job.id, title)
            home.progress.advance(hold.job.id, done, 5)
        home.progress.metric(hold.job.id, "loss", 2, float("nan"))
        home.jobs.finish(hold, {"version": "abc"}) if state == "done" else home.jobs.fail(hold, "no", again=False)
    assert run(["job", ends["done"], "--follow"]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if "…" in line] == ["… reading", "… solving"]
    assert "loss at 2: nan" in captured.err and "version: abc" in captured.out
    assert run(["job", ends["failed"], "--follow"]) == 1


def test_a_trainer_does_what_is_queued_and_says_by_its_exit_code_whether_it_failed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pico.register(home)
    good = home.jobs.file("export", "shapes", {"scene": "shapes", "out": str(tmp_path / "out")})
    assert run(["trainer", "--once"]) == 0
    assert home.jobs.find(good.id).state == "done" and (tmp_path / "out" / "manifest.json").is_file()
    capsys.readouterr()
    assert run(["job", good.id, "--log"]) == 0
    assert capsys.readouterr().out.startswith("… copying the bundle")
    home.jobs.file("fly", "shapes", {"scene": "shapes"})
    assert run(["trainer", "--once"]) == 1


def test_the_policy_of_a_scene_is_shown_changed_and_reset(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    pico.register(home)
    assert told(capsys, "policy", "shapes")["own"] == {}
    changed = told(capsys, "policy", "shapes", "--labels", "500", "--quiet", "08:00-18:00", "--drift")
    assert changed["own"] == {"labels": 500, "quiet": "08:00-18:00", "drift": True}
    assert (changed["policy"]["labels"], changed["policy"]["minutes_a_day"]) == (500, 240.0)
    assert run(["policy", "shapes"]) == 0 and "this scene" in capsys.readouterr().out
    assert run(["policy", "shapes", "--quiet", "at night"]) == 1
    assert "08:00-18:00" in capsys.readouterr().err
    assert run(["policy", "nowhere"]) == 1
    ways = ("--cron", "0 3 * * 1", "--accepted", "shadow", "--set", "start=champion", "--set", "margin=0.05")
    own = told(capsys, "policy", "shapes", *ways)["own"]
    assert {"cron": "0 3 * * 1", "accepted": "shadow", "start": "champion", "margin": 0.05}.items() <= own.items()
    assert run(["policy", "shapes", "--cron", "every monday"]) == 1
    assert "Mondays at three" in capsys.readouterr().err
    assert told(capsys, "policy", "shapes", "--reset")["own"] == {}
