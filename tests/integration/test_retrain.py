"""The cycle by the command line: labels of new towns become a version that the gate lets pass, or that it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.erasure import erase
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home
from core.outcomes import compare
from core.schema import canonical
from learner.referee import judge
from lepton.main import run
from tests import towns
from tests.homes import copied
from tests.towns import SCENE


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return towns.adapted(tmp_path_factory.mktemp("adapted"))


@pytest.fixture
def home(adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    with copied(adapted, tmp_path) as made:
        yield made


def tell(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def champion(home: Home) -> str:
    alias = home.registry.champion(SCENE)
    assert alias is not None
    return alias.version


def manifest(home: Home, version: str) -> Any:
    return home.bundle(version).manifest


def test_labels_of_new_towns_are_learned_promoted_watched_and_told(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = champion(home)
    nothing = tell(capsys, "retrain", SCENE, code=3)
    assert nothing["outcome"] == "refused" and "nothing was said since" in nothing["words"]
    towns.say(home, 20)
    few = tell(capsys, "retrain", SCENE, code=3)
    assert few["reasons"][-1].startswith("fresh: ") and home.decisions.of(SCENE) == []
    towns.say(home, 140, first=1020)
    done = tell(capsys, "retrain", SCENE, "--seed", "5")
    assert done["outcome"] == "promoted" and champion(home) == done["version"] != first
    assert all(check["holds"] for check in done["checks"])
    assert done["holdouts"]["fresh"]["candidate"] == 1.0 and done["holdouts"]["fresh"]["champion"] < 0.7
    told = manifest(home, done["version"])
    assert told.lineage.decision == done["decision"] and told.lineage.parent == first
    assert (told.lineage.start, told.lineage.seed, told.lineage.since) == (
        "base",
        5,
        manifest(home, first).lineage.sequence,
    )
    assert told.lineage.upto == told.lineage.sequence == home.ledger.last_sequence(SCENE)
    assert done["decision"] in (home.artifacts.bundle(done["version"]) / "card.md").read_text()
    watching = home.challenges.of(SCENE)
    assert watching is not None and watching.probation and watching.version == first
    (decision,) = home.decisions.of(SCENE)
    assert decision.accepted and decision.version == done["version"]
    assert "nothing was said since" in tell(capsys, "retrain", SCENE, code=3)["words"]
    assert run(["rollback", SCENE]) == 0 and champion(home) == first
    again = tell(capsys, "retrain", SCENE, "--seed", "5", code=3)
    assert f"made version {done['version'][:12]}" in again["words"], "what was made of these labels is there already"


def test_while_a_trainer_retrains_the_scene_nobody_does_it_by_hand_beside(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    job = home.jobs.file("retrain", SCENE, {"scene": SCENE}, cause=f"{SCENE}: 500 new labels since the champion")
    assert run(["retrain", SCENE]) == 3, "one that only waits keeps nobody from it"
    dead = home.jobs.claim("killed", 0.0)
    assert dead is not None and home.jobs.find(job.id).state == "running"
    assert run(["retrain", SCENE]) == 3, "nor does one whose trainer is silent"
    held = home.jobs.claim("trainer", 60.0)
    assert held is not None
    capsys.readouterr()
    assert run(["retrain", SCENE]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert job.id[-12:] in told and "500 new labels" in told and f"lepton cancel {job.id[-12:]}" in told
    home.jobs.cancel(job.id)


def test_poisoned_labels_are_refused_the_champion_stays_and_the_hold_outs_have_spent(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = champion(home)
    towns.say(home, wrong=True)
    done = tell(capsys, "retrain", SCENE, code=3)
    assert done["version"] is None and champion(home) == first
    assert any(reason.startswith("better on no hold-out") for reason in done["reasons"])
    assert len(home.registry.versions(SCENE)) == 1 and home.challenges.of(SCENE) is None
    features = home.settings.home / "artifacts" / "bundles"
    assert [place.name for place in features.iterdir()] == [first]
    again = tell(capsys, "retrain", SCENE, code=3)
    assert "nothing was said since the last cycle" in again["words"] and again["reasons"] == done["reasons"]
    assert len(home.decisions.of(SCENE)) == 1, "asking again spends nothing"
    towns.say(home, 4, first=5000, wrong=True)
    tell(capsys, "retrain", SCENE, code=3)
    assert [each.record["holdouts"]["fresh"]["uses"] for each in home.decisions.of(SCENE)] == [1, 0]
    capsys.readouterr()
    assert run(["retrain", SCENE, "--seed", "1"]) == 3
    assert "better on no hold-out" in " ".join(capsys.readouterr().out.split())


def test_the_gate_judges_the_values_of_columns_that_the_policy_names(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    towns.say(home, 320)
    assert run(["policy", SCENE, "--set", "slices=town, tonw"]) == 0
    assert run(["retrain", SCENE]) == 1
    assert "slices by 'tonw'; the columns are age, town" in " ".join(capsys.readouterr().err.split())
    assert run(["policy", SCENE, "--set", "slices=town"]) == 0
    done = tell(capsys, "retrain", SCENE)
    named = {check["name"].removesuffix(".not_worse") for check in done["checks"]}
    assert {"anchor.slice town aire", "anchor.slice town brock"} < named
    assert sum(name.startswith("fresh.slice town ") for name in named) >= 2, "those with twenty examples"
    assert (done["outcome"], sum("slice annotator" in name for name in named)) == ("promoted", 2)


def test_where_no_candidate_could_be_better_none_is_made_and_nothing_is_spent(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = champion(home)
    towns.say(home, towns=towns.OLD)
    done = tell(capsys, "retrain", SCENE, code=3)
    assert done["words"].endswith("no candidate could be shown to be better"), "the champion answers all of them right"
    assert [reason.partition(":")[0] for reason in done["reasons"]] == ["better on no hold-out"]
    assert home.decisions.of(SCENE) == [] and champion(home) == first
    towns.say(home, first=2000)
    assert tell(capsys, "retrain", SCENE)["outcome"] == "promoted"


def test_an_accepted_version_may_have_to_challenge_first(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    first = champion(home)
    towns.say(home)
    done = tell(capsys, "retrain", SCENE, "--challenge", "split")
    running = home.challenges.of(SCENE)
    assert done["outcome"] == "challenging" and champion(home) == first
    assert running is not None and (running.version, running.mode, running.judge) == (
        done["version"],
        "split",
        "evidence",
    )
    assert running.share == home.settings.retrain.share
    job = tell(capsys, "retrain", SCENE, "--queue", "--budget", "90s", "--start", "champion")
    assert (job["kind"], job["state"], job["request"]["budget"]) == ("retrain", "queued", 90.0)


def test_a_candidate_of_which_the_gate_cannot_tell_answers_a_copy_of_the_traffic_until_labels_show(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first = champion(home)
    towns.say(home)
    towns.say(home, 8, first=6000, wrong=True)
    for told in ("alpha=1e-6", "undecided=refuse"):
        assert run(["policy", SCENE, "--set", told]) == 0
    refused = tell(capsys, "retrain", SCENE, code=3)
    assert refused["version"] is None and len(home.registry.versions(SCENE)) == 1
    assert run(["policy", SCENE, "--set", "undecided=shadow"]) == 0
    done = tell(capsys, "retrain", SCENE)
    assert (done["outcome"], champion(home)) == ("challenging", first) and "too few examples to tell" in done["words"]
    assert [reason.partition(":")[0] for reason in done["reasons"]] == ["better on no hold-out"]
    running = home.challenges.of(SCENE)
    assert running is not None and (running.version, running.mode, running.share, running.judge) == (
        done["version"],
        "shadow",
        1.0,
        "evidence",
    )
    (decision, _) = home.decisions.of(SCENE)
    assert not decision.accepted and decision.record["undecided"] and decision.version == done["version"]
    compared, seen = compare(home, running, first), decision.record["brought"][""]
    assert sum(rows for rows, _, _ in seen.values()) == done["holdouts"]["fresh"]["rows"]
    assert compared.brought == (sum(won for _, won, _ in seen.values()), sum(lost for _, _, lost in seen.values()))
    assert compared.brought[0] > 20 > compared.brought[1] and compared.paired == 0
    assert compared.evidence["challenger"] > 20, "the gate's level was stricter than a challenge's"
    assert judge(home, running).verdict == "wait", "live traffic has to confirm it"
    assert run(["challenge", SCENE]) == 0
    assert "the same before" in capsys.readouterr().out
    again = tell(capsys, "retrain", SCENE, code=3)
    assert f"made version {done['version'][:12]}" in again["words"]


def test_a_request_that_cannot_be_is_one_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.registry.declare(replace(towns.declare(home), name="empty"))
    towns.say(home)
    for arguments, said in (
        (["none"], "no scene 'none'"),
        (["empty"], "has no version yet"),
        ([SCENE, "--start", "middle"], "start"),
        ([SCENE, "--set", "epochs=5"], "--recipe finetune"),
        ([SCENE, "--recipe", "magic"], "magic"),
        ([SCENE, "--recipe", "finetune"], "ONNX graph"),
    ):
        capsys.readouterr()
        assert run(["retrain", *arguments]) == 1, arguments
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and said in line


def test_somebody_erased_leaves_the_anchor_and_no_trace_but_the_certificate(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    towns.say(home)
    towns.say(home, 4, first=4000, subject="jane")
    tell(capsys, "retrain", SCENE)
    before = home.holdouts.sets(SCENE)[1]
    done = erase(home, "jane")
    assert home.holdouts.sets(SCENE)[1] == before, "none of hers was in it"
    (told,) = tell(capsys, "certificate", "jane")
    assert (told["certificate"], told["examples"], told["events"]) == (done.certificate, 4, 4)
    assert "jane" not in json.dumps(told)
    held = told["scenes"][SCENE]
    assert held["sequence"] == done.sequences[SCENE] and held["tainted"] == [] and held["resolved"] is None
    tell(capsys, "rollback", SCENE)
    (later,) = tell(capsys, "certificate", "jane")
    latest = home.registry.latest_revision(SCENE, champion(home))
    assert latest is not None and latest.head.sequence == held["sequence"]
    assert later["scenes"][SCENE]["resolved"] == {"version": champion(home), "revision": latest.number}
    capsys.readouterr()
    assert run(["certificate", "john"]) == 1
    assert "ever erased" in capsys.readouterr().err


def table(path: Path, columns: Sequence[str]) -> Path:
    """The old towns with a value, a label or both; each town has its own."""
    lines = [",".join(["town", "age", *columns, "split"])]
    for number in range(300):
        town = ("aire", "brock")[number % 2]
        told = {"price": str(2.0 + 3.0 * (number % 2)), "risk": towns.OLD[town]}
        lines.append(",".join([town, str(float(number)), *(told[column] for column in columns), "train"]))
    path.write_text("\n".join(lines) + "\n")
    return path


def say_values(home: Home, scene: str, tasks: Sequence[str]) -> None:
    """Prices of loans in new towns, and of several tasks risks, too."""
    for number in range(1000, 1160):
        told = towns.row(number, tuple(towns.NEW))
        example = home.artifacts.put(canonical(told))
        price, risk = 2.0 + number % 4, towns.NEW[str(told["town"])]
        kept = Evidence(example=example, features={}, media="application/json")
        home.ledger.add(Feedback(scene=scene, example=example, value=price, task=tasks[0]), kept)
        for task in tasks[1:]:
            home.ledger.add(Feedback(scene=scene, example=example, label=risk, task=task), kept)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [("price",), ("price", "risk")])
def test_values_and_several_tasks_are_judged_too(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], columns: tuple[str, ...]
) -> None:
    labels = [word for column in columns for word in ("--label", column)]
    kinds = ["--task", "price=regression"] if len(columns) > 1 else ["--task", "regression"]
    made = ("adapt", "prices", str(table(tmp_path / "prices.csv", columns)), *labels, *kinds)
    tell(capsys, *made, "--backbone", "table_linear", "--recipe", "closed_form")
    tell(capsys, "policy", "prices", "--set", "margin=0.1")
    say_values(home, "prices", columns if len(columns) > 1 else ("",))
    done = tell(capsys, "retrain", "prices")
    assert done["outcome"] == "promoted", done
    assert set(done["holdouts"]) == {
        *("anchor", "fresh"),
        *(f"{task}: {kind}" for task in columns[1:] for kind in ("anchor", "fresh")),
    }
    told = manifest(home, done["version"])
    assert told.metrics["r2"].value > 0.9
    assert all(task.metrics["balanced_accuracy"].value > 0.9 for task in told.further)
