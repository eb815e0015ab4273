"""A champion whose live accuracy falls below a bound gives way to the one before it, once, and only on evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from console.serving import bounded, standing
from core.config import DatabaseSettings, Settings
from core.errors import BadConfiguration
from core.fall import LEAST, bounds
from core.home import Home, open_home
from core.offers import Lot
from core.promotion import promote, watch_over
from learner.loop import Learner
from learner.metrics import Metrics
from lepton.main import run
from tests.duels import Duel
from tests.homes import home_at


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path, database=DatabaseSettings(url=url)))
    yield opened
    opened.close()


def promoted(home: Home, before: float = 1.0, count: int = LEAST) -> Duel:
    """People promote the second version; so many answers of the first were labelled before, a share of them right."""
    duel = Duel(home, mode=None)
    duel.alone(count, before)
    promote(home, duel.scene, duel.second, expected_generation=1)
    return duel


def looked(duel: Duel) -> Metrics:
    """What the learner has counted, after a look at the traffic."""
    metrics = Metrics()
    Learner(duel.home, "one", metrics).watch_traffic()
    return metrics


def of(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"scene": "shapes", **labels})


def rollbacks(duel: Duel) -> list[Any]:
    return [row for row in duel.home.registry.history(duel.scene) if row["action"] == "rollback"]


def test_a_promotion_after_which_far_fewer_answers_are_right_is_taken_back_once(home: Home) -> None:
    duel = promoted(home)
    duel.alone(2, 0.0)
    metrics = looked(duel)
    fallen = of(metrics, "lepton_accuracy_fallen", bound="fall")
    assert duel.champion == duel.second and fallen is not None and 0 < fallen < 1, "two may be chance"
    duel.alone(17, 0.2)
    assert bounds(home, duel.scene)[0].evidence > 20
    looked(duel)
    assert duel.champion == duel.second, "mistakes are often told first"
    duel.alone(4, 0.25)
    metrics = looked(duel)
    assert duel.champion == duel.first
    assert of(metrics, "lepton_rulings_total", verdict="rollback") == 1
    fallen = of(metrics, "lepton_accuracy_fallen", bound="fall")
    assert fallen is not None and fallen >= 1
    (row,) = rollbacks(duel)
    assert (row["version"], row["previous"]) == (duel.first, duel.second)
    assert "4 of 23 labelled answers since the promotion are right, of 82.9 % at least" in row["detail"]["reason"]
    duel.alone(40, 0.0)
    assert of(looked(duel), "lepton_accuracy_fallen", bound="fall") == 0
    assert duel.champion == duel.first and len(rollbacks(duel)) == 1, "they do not take turns"


def test_a_loss_within_what_is_borne_is_borne(home: Home) -> None:
    duel = promoted(home)
    duel.alone(60, 0.85)
    looked(duel)
    assert duel.champion == duel.second
    (bound,) = bounds(home, duel.scene)
    assert (bound.name, bound.right, bound.count, bound.former) == ("fall", 51, 60, duel.first)
    home.policies.change(duel.scene, {"fall": 1.0})
    assert bounds(home, duel.scene) == ()


def test_a_scene_that_was_as_hard_before_is_no_fall(home: Home) -> None:
    duel = promoted(home, before=0.5)
    duel.alone(60, 0.4)
    looked(duel)
    assert duel.champion == duel.second


def test_a_bound_of_the_policy_holds_however_long_all_was_well(home: Home) -> None:
    duel = promoted(home, count=0)
    home.policies.change(duel.scene, {"least_accuracy": 0.8})
    duel.alone(60, 0.9)
    looked(duel)
    assert duel.champion == duel.second
    duel.alone(40, 0.3)
    looked(duel)
    assert duel.champion == duel.first
    (row,) = rollbacks(duel)
    assert "(least_accuracy)" in row["detail"]["reason"]


def test_where_the_former_champion_watches_pairs_decide_and_no_accuracy(home: Home) -> None:
    duel = promoted(home)
    assert watch_over(home, duel.scene, duel.first) == ""
    duel.alone(40, 0.0)
    looked(duel)
    assert duel.champion == duel.second and bounds(home, duel.scene) == ()
    home.policies.change(duel.scene, {"least_accuracy": 0.5})
    looked(duel)
    assert duel.champion == duel.first and duel.running is None


def test_nobody_takes_over_where_there_is_nobody_who_may(home: Home) -> None:
    duel = Duel(home, mode=None)
    home.policies.change(duel.scene, {"least_accuracy": 0.9})
    duel.alone(40, 0.0)
    assert bounds(home, duel.scene) == (), "it is the first version"
    promote(home, duel.scene, duel.second, expected_generation=1)
    home.registry.quarantine(duel.scene, duel.first, "a test")
    duel.alone(40, 0.0)
    looked(duel)
    assert bounds(home, duel.scene) == () and duel.champion == duel.second


def test_what_a_queue_chose_because_it_was_doubtful_is_no_fall(home: Home) -> None:
    duel = promoted(home)
    duel.alone(60, 0.0)
    (bound,) = bounds(home, duel.scene)
    assert bound.fallen
    examples = [row.example for row in home.predictions.of_version(duel.scene, duel.second, 0.0, 1000)]
    home.offers.draw(duel.scene, "", lambda since: Lot({name: 1.0 for name in examples}, None))
    (bound,) = bounds(home, duel.scene)
    assert (bound.count, bound.fallen) == (0, False)


def test_bounds_are_set_by_the_policy_and_shown_beside_the_challenge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path))
    with closing(home_at(tmp_path)) as home:
        shown_beside(promoted(home), capsys)


def shown_beside(duel: Duel, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", duel.scene, "--set", "least_accuracy=0.7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["policy"]["least_accuracy"] == 0.7 and told["policy"]["fall"] == 0.1
    assert told["own"] == {"least_accuracy": 0.7}
    duel.alone(10, 0.9)
    assert run(["challenge", duel.scene]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "9 of 10 labelled answers since the promotion are right, of 70.0 % at least (least_accuracy)" in shown
    assert f"then {duel.first[:12]} comes back" in shown
    found = bounds(duel.home, duel.scene)
    assert bounded(found, standing(duel.home, duel.scene)).count("then version 1 comes back.") == len(found) == 2
    assert watch_over(duel.home, duel.scene, duel.first) == ""
    assert run(["challenge", duel.scene, "--json"]) == 0
    (bound,) = json.loads(capsys.readouterr().out)["bounds"]
    assert (bound["name"], bound["least"], bound["former"]) == ("least_accuracy", 0.7, duel.first)
    with pytest.raises(BadConfiguration, match="fall"):
        duel.home.policies.change(duel.scene, {"fall": 2.0})
