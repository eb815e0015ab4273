"""The cycle of a scene with two tasks: weights tuned by the labels of both, both judged, both heads solved again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from core.head import HeadState
from lepton.output import Stages
from tests import halves
from tests.halves import ASKED, AXIS, FIRST, SCENE, say
from tests.homes import home_at, told
from training import incremental


@pytest.mark.slow
def test_both_tasks_move_the_weights_and_neither_may_lose(tmp_path: Path) -> None:
    with closing(home_at(halves.adapted(tmp_path, tasks=2, each=77))) as home:
        say(home, 24, tasks=(FIRST, AXIS))
        say(home, 12, first=6000, tasks=(FIRST,))
        say(home, 12, first=7000, tasks=(AXIS,))
        done = incremental.retrain(home, ASKED, Stages(quiet=True))
        assert done.outcome == "promoted" and done.version is not None and done.decision is not None, done
        (member,) = home.bundle(done.version.version).manifest.members
        assert member.tuning is not None and float(member.tuning.settings["share_of_tuned"] or 0) > 0
        kinds = ("anchor", "fresh")
        assert set(done.decision.record["holdouts"]) == {*kinds, *(f"{AXIS}: {kind}" for kind in kinds)}
        asked = {check.name for check in done.checks if check.name.endswith("not_worse")}
        assert {"anchor.not_worse", "fresh.not_worse", f"{AXIS}: anchor.not_worse", f"{AXIS}: fresh.not_worse"} <= asked
        scene, latest = home.registry.scene(SCENE), home.registry.latest_revision(SCENE, done.version.version)
        assert latest is not None
        follower = home.follower(scene, done.version)
        follower.catch_up()
        assert not follower.missing
        for each in follower.tasks:
            state = HeadState(follower.width, task=each.task.task, declared=each.task.labels, key=each.task.hash_key)
            state.add(each.state.rows.values())
            assert told(state.solve(sequence=latest.head.sequence)) == told(latest.head.of(each.task.task_name))
