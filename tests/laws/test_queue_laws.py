"""Whatever waits: nothing is lost, snapshots never mix, and no scene can starve another."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.preprocess import Row
from service.engine.queues import FOREVER, Item, Queues
from service.engine.snapshot import Snapshot
from tests.snapshots import snapshot_of

ROW = Row({"image": np.zeros((1, 1, 3), np.uint8)})
SCENES = ("a", "b", "c")
COSTS = st.dictionaries(st.sampled_from(SCENES), st.floats(0.001, 0.1), min_size=2, max_size=3)


def item(snapshot: Snapshot, at: float, deadline: float = FOREVER) -> Item:
    return Item(snapshot, ROW, at, deadline)


@given(st.lists(st.tuples(st.sampled_from(SCENES), st.integers(0, 1)), max_size=60), st.integers(1, 8))
def test_every_item_leaves_once_in_batches_of_one_snapshot_and_in_its_order(
    sent: list[tuple[str, int]], most: int
) -> None:
    snapshots = {(scene, number): snapshot_of(scene) for scene in SCENES for number in (0, 1)}
    queues = Queues(most)
    items = [item(snapshots[key], float(at)) for at, key in enumerate(sent)]
    for each in items:
        queues.add(each)
    left: list[Item] = []
    while queues:
        batch, late = queues.take(0.0)
        assert late == [] and 1 <= len(batch) <= most
        assert len({each.snapshot for each in batch}) == 1
        queues.spend(batch[0].snapshot.scene.name, 0.01)
        left += batch
    assert len(left) == len(items) and {id(each) for each in left} == {id(each) for each in items}
    for snapshot in snapshots.values():
        mine = [each.since for each in left if each.snapshot is snapshot]
        assert mine == sorted(mine)


@given(COSTS, st.integers(1, 8), st.data())
def test_scenes_that_wait_all_the_time_have_the_same_time_of_the_model_to_within_one_run(
    costs: dict[str, float], most: int, data: st.DataObject
) -> None:
    """However many items a scene has waiting, and however long its runs take."""
    queues, spent = Queues(most), Counter[str]()
    snapshots = {scene: snapshot_of(scene) for scene in costs}
    flood = {scene: data.draw(st.integers(1, 500), label=f"waiting of {scene}") for scene in costs}
    for scene, waiting in flood.items():
        for at in range(waiting):
            queues.add(item(snapshots[scene], float(at)))
    for turn in range(100):
        batch, _ = queues.take(0.0)
        scene = batch[0].snapshot.scene.name
        spent[scene] += costs[scene]  # type: ignore[assignment]  # a Counter of seconds
        queues.spend(scene, costs[scene])
        for _ in batch:  # it goes on waiting
            queues.add(item(snapshots[scene], 1000.0 + turn))
        told = [spent[scene] for scene in costs]
        assert max(told) - min(told) <= max(costs.values()) + 1e-9


@given(st.integers(1, 200), st.floats(0.001, 1.0))
def test_a_scene_that_comes_back_has_saved_nothing_up(turns: int, cost: float) -> None:
    queues, busy, idle = Queues(1), snapshot_of("busy"), snapshot_of("idle")
    queues.add(item(idle, 0.0))
    assert queues.take(0.0)[0][0].snapshot is idle
    queues.spend("idle", cost)
    for turn in range(turns):
        queues.add(item(busy, float(turn)))
        queues.add(item(busy, float(turn)))
        queues.take(0.0)
        queues.spend("busy", cost)
    for at in range(3):
        queues.add(item(idle, float(at)))
    runs = [queues.take(0.0)[0][0].snapshot.scene.name]
    queues.spend(runs[0], cost)
    for _ in range(2):
        runs.append(queues.take(0.0)[0][0].snapshot.scene.name)
        queues.spend(runs[-1], cost)
    assert set(runs) == {"busy", "idle"} or turns < 2, "neither has all of the model"


@given(st.lists(st.floats(0, 10), max_size=40), st.floats(0, 10), st.integers(1, 8))
def test_what_is_late_is_never_in_a_batch_and_what_is_not_late_always_is(
    deadlines: list[float], now: float, most: int
) -> None:
    queues, snapshot = Queues(most), snapshot_of("a")
    for at, deadline in enumerate(deadlines):
        queues.add(item(snapshot, float(at), deadline))
    ran, dropped = list[Item](), list[Item]()
    while queues:
        batch, late = queues.take(now)
        ran += batch
        dropped += late
    assert sorted(each.deadline for each in ran) == sorted(d for d in deadlines if d >= now)
    assert sorted(each.deadline for each in dropped) == sorted(d for d in deadlines if d < now)


def test_a_challenger_of_a_flooded_scene_has_its_turn_too() -> None:
    queues, champion, challenger = Queues(2), snapshot_of("a"), snapshot_of("a")
    for at in range(6):
        queues.add(item(champion, float(at)))
    queues.add(item(challenger, 1.5))
    runs = list[Snapshot]()
    while queues:
        runs.append(queues.take(0.0)[0][0].snapshot)
    assert runs.index(challenger) == 1
