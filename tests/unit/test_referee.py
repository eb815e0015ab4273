"""Challenges that evidence judges: promoted when labels speak for them, brought back, ended, and never by chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from core.challenges import Challenge
from core.config import ChallengeSettings, DatabaseSettings, Settings
from core.database import versions
from core.errors import BadConfiguration, InvalidInput
from core.gate import evidence
from core.home import Home, open_home
from core.outcomes import Comparison, Measured, compare
from core.promotion import challenge
from learner.loop import Learner
from learner.metrics import Metrics
from learner.referee import judge, overall, verdict
from tests.duels import Duel
from tests.homes import evidence_of, feedback_of

NOTHING = Measured(count=0, value=None, low=None, high=None)
SETTINGS = ChallengeSettings(probation_labels=40)


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path, database=DatabaseSettings(url=url), challenge=SETTINGS))
    yield opened
    opened.close()


def ruled(duel: Duel) -> str:
    held = duel.running
    assert held is not None
    return judge(duel.home, held).verdict


def test_a_better_challenger_is_promoted_and_watched_by_the_former_champion(home: Home) -> None:
    duel = Duel(home)
    duel.labelled(3, True, False)
    assert ruled(duel) == "wait" and duel.champion == duel.first
    duel.labelled(9, True, False)
    assert ruled(duel) == "promote"
    assert duel.champion == duel.second
    held = duel.running
    assert held is not None
    assert (held.version, held.mode, held.judge, held.probation) == (duel.first, "shadow", "evidence", True)
    row, *_ = [row for row in home.registry.history(duel.scene) if row["action"] == "promote"]
    assert "right alone: the challenger 12 times" in str(row["detail"])


def test_a_promotion_that_was_a_mistake_is_rolled_back(home: Home) -> None:
    duel = Duel(home)
    duel.labelled(12, True, False)
    assert ruled(duel) == "promote"
    duel.labelled(12, True, False)  # the former champion, as a shadow, is right where the new one is wrong
    assert ruled(duel) == "promote"
    assert duel.champion == duel.first and duel.running is None
    assert any(row["action"] == "rollback" for row in home.registry.history(duel.scene))


def test_a_probation_without_news_ends(home: Home) -> None:
    duel = Duel(home)
    duel.labelled(12, True, False)
    assert ruled(duel) == "promote"
    duel.labelled(39, True, True)
    assert ruled(duel) == "wait"
    duel.labelled(1, True, True)
    assert ruled(duel) == "end"
    assert duel.champion == duel.second and duel.running is None


def test_a_worse_challenger_is_sent_away(home: Home) -> None:
    duel = Duel(home)
    duel.labelled(12, False, True)
    assert ruled(duel) == "end"
    assert duel.champion == duel.first and duel.running is None


def test_a_better_challenger_that_may_have_lost_a_class_waits(home: Home) -> None:
    duel = Duel(home)
    duel.labelled(30, True, False)
    duel.labelled(20, False, True, label="square")  # ten more wins than losses, and none of them is a square
    duel.labelled(20, True, False)
    held = duel.running
    assert held is not None
    ruling = judge(home, held)
    assert (ruling.verdict, duel.champion) == ("wait", duel.first)
    assert "evidence" in ruling.words and "live.square: may be worse" in ruling.words
    duel.labelled(400, True, True, label="square")
    assert ruled(duel) == "promote", "of many squares twenty are no loss beyond the margin"


def brings(duel: Duel, champion: str, wins: int, losses: int, task: str = "") -> None:
    """A cycle made the challenger whose gate could not tell it from a champion, and saw so much of 200 circles."""
    home = duel.home
    uses = home.decisions.uses(duel.scene, champion, 1)
    record = {"undecided": True, "brought": {task: {"circle": (200, wins, losses)}}}
    made = home.decisions.write(duel.scene, champion, 1, uses, False, record)
    manifest = dict(home.registry.version(duel.scene, duel.second).manifest)
    lineage = manifest["lineage"]
    assert isinstance(lineage, dict)
    manifest["lineage"] = {**lineage, "decision": made.id}
    with home.registry.database.write() as connection:
        connection.execute(sa.update(versions).where(versions.c.version == duel.second).values(manifest=manifest))


def test_what_the_gate_saw_on_fresh_labels_counts_and_live_traffic_has_to_confirm_it(home: Home) -> None:
    duel = Duel(home)
    brings(duel, duel.first, 30, 10)
    duel.labelled(4, True, False)
    duel.labelled(45, True, True)
    held = duel.running
    assert held is not None
    told = compare(home, held, duel.first)
    assert (told.wins, told.losses, told.brought) == (4, 0, (30, 10))
    assert told.evidence == {"challenger": evidence(34, 10), "champion": evidence(0, 4)}
    ruling = judge(home, held)
    assert ruling.verdict == "wait" and "49 labelled answers of both, of 50 at least" in ruling.words
    duel.labelled(1, True, True)
    ruling = judge(home, held)
    assert ruling.verdict == "promote" and "30 and 10 times on fresh labels that the gate saw" in ruling.words
    watching = duel.running
    assert watching is not None and watching.probation
    assert compare(home, watching, duel.second).brought == (0, 0), "the former champion brings nothing"


def test_a_gain_that_the_gate_saw_and_live_traffic_does_not_show_waits_and_is_sent_away(home: Home) -> None:
    duel = Duel(home)
    brings(duel, duel.first, 60, 10)
    duel.labelled(8, False, True, label="square")
    duel.labelled(44, True, True, label="square")
    held = duel.running
    assert held is not None
    ruling = judge(home, held)
    assert ruling.verdict == "wait" and "live.square: may be worse" in ruling.words
    duel.labelled(5, False, True)
    assert ruled(duel) == "end", "what was seen before excuses nothing"


def test_evidence_against_another_champion_or_of_another_task_is_none(home: Home) -> None:
    duel = Duel(home)
    brings(duel, "another", 60, 10)
    held = duel.running
    assert held is not None
    assert compare(home, held, duel.first).brought == (0, 0)
    brings(duel, duel.first, 60, 10, "severity")
    assert compare(home, held, duel.first).brought == (0, 0)
    brings(duel, duel.first, 60, 10)
    assert compare(home, held, duel.first).brought == (60, 10)
    assert compare(home, replace(held, judge="people"), duel.first).brought == (0, 0)
    assert compare(home, replace(held, mode="split"), duel.first).brought == (0, 0)


def test_what_people_judge_is_left_to_them(home: Home) -> None:
    duel = Duel(home)
    held = duel.running
    assert held is not None
    home.challenges.end(duel.scene)
    challenge(home, duel.scene, duel.second, mode="shadow", share=1.0, expected_generation=held.generation + 1)
    duel.labelled(12, True, False)
    Learner(home, "one", Metrics()).watch_traffic()
    assert duel.champion == duel.first and duel.running is not None


def test_of_a_split_the_answers_are_compared_in_the_order_of_their_labels(home: Home) -> None:
    duel = Duel(home, mode="split")
    held = duel.running
    assert held is not None
    for number in range(12):
        for version, said, role in ((duel.first, "square", "champion"), (duel.second, "circle", "challenger")):
            name = f"{role} {number}"
            duel.answer(version, said, role, name)  # type: ignore[arg-type]
            home.ledger.add(replace(feedback_of(name, "circle"), scene=duel.scene), evidence_of(name))
    told = compare(home, held, duel.first)
    assert (told.paired, told.wins, told.losses) == (0, 12, 0)
    metrics = Metrics()
    Learner(home, "one", metrics).watch_traffic()
    assert duel.champion == duel.second
    counted = metrics.registry.get_sample_value("lepton_rulings_total", {"scene": duel.scene, "verdict": "promote"})
    assert counted == 1


def test_looked_at_after_every_label_no_more_than_alpha_of_equals_are_promoted() -> None:
    held = Challenge(scene="s", version="b", mode="shadow", share=1, generation=1, began_at=0, judge="evidence")
    promoted = 0
    for seed in range(400):
        won_N = np.random.default_rng(seed).random(150) < 0.5
        wins_N = won_N.cumsum()
        for count, wins in enumerate(wins_N.tolist(), 1):
            weighed = {"challenger": evidence(wins, count - wins), "champion": evidence(count - wins, wins)}
            told = Comparison(
                metric="accuracy",
                paired=count,
                champion=NOTHING,
                challenger=NOTHING,
                agreement=None,
                wins=wins,
                losses=count - wins,
                evidence=weighed,
            )
            said = verdict(held, told, 0.05, 500)[0]
            if said != "wait":
                promoted += said == "promote"
                break
    assert promoted <= 32  # of 400 at 5 %: more have a chance below 1 %


def test_unknown_judges_and_settings_out_of_range_are_refused(home: Home) -> None:
    duel = Duel(home)
    with pytest.raises(InvalidInput, match="choose one of: people, evidence"):
        challenge(home, duel.scene, duel.second, mode="shadow", share=1.0, expected_generation=1, judge="dice")  # type: ignore[arg-type]
    for wrong in ({"alpha": 0.0}, {"alpha": 1.5}, {"probation_labels": -1}):
        with pytest.raises(BadConfiguration, match="challenge"):
            ChallengeSettings(**wrong)


def duel_of(challenger: float, champion: float) -> Comparison:
    return Comparison(
        metric="accuracy",
        paired=50,
        champion=NOTHING,
        challenger=NOTHING,
        agreement=None,
        wins=0,
        losses=0,
        evidence={"challenger": challenger, "champion": champion},
    )


@pytest.mark.parametrize(
    ("first", "second", "probation", "want"),
    [
        ((30.0, 0.1), (1.0, 1.0), False, "promote"),
        ((30.0, 0.1), (0.1, 30.0), False, "end"),
        ((1.0, 1.0), (30.0, 0.1), False, "wait"),
        ((1.0, 1.0), (0.1, 30.0), False, "end"),
        ((1.0, 1.0), (30.0, 0.1), True, "promote"),
        ((1.0, 1.0), (0.1, 30.0), True, "wait"),
    ],
)
def test_of_several_tasks_the_first_decides_unless_the_newcomer_is_worse_in_another(
    first: tuple[float, float], second: tuple[float, float], probation: bool, want: str
) -> None:
    held = Challenge(
        scene="s",
        version="v",
        mode="shadow",
        share=1.0,
        generation=1,
        began_at=0.0,
        judge="evidence",
        probation=probation,
    )
    told = {"organ": duel_of(*first), "severity": duel_of(*second)}
    said, words = overall(held, told, 0.05, 100)
    assert said == want and ("severity" in words) is ((said != "wait" and first == (1.0, 1.0)) or want == "end")
