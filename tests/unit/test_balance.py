"""Several tasks tuned at once: their columns, what each counts, what that is worth on rows that lack some labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.types import Example, Head
from tests import tuning as halves
from tests.tuning import LABELS, SCENE, Stand, backbone, noisy, rows, stand
from training import judge, select, tuning
from training.adapt import finetune
from training.recipe import Context, Rows
from training.sweep import Line
from training.tune import columns
from training.tune.balance import BALANCES, WEIGHTINGS, Balance, Balanced
from training.tune.batches import Batch
from training.tune.network import Network, torch_body
from training.tune.plan import Plan
from training.tune.prepare import feeds, shares, spreads
from training.tuning import Ask

AXIS, LEVEL = "axis", "level"
FURTHER = (
    replace(SCENE, task_name=AXIS, labels=("across", "along")),
    replace(SCENE, task_name=LEVEL, task="regression", labels=(), offset=1.5, scale=8.0),
)
SCENE_OF_THREE = replace(SCENE, task_name="side", further=FURTHER)
CONFIG = finetune.Config(epochs=8, rate=3e-3, batch=16, augment=False)


def several(held: Rows) -> Rows:
    """The same pictures with two more tasks, of which some rows lack one: which axis it is, and a number."""

    def one(number: int, example: Example) -> Example:
        axis = "across" if example.label in {"left", "right"} else "along"
        said: dict[str, str | float] = {AXIS: axis, LEVEL: float(LABELS.index(example.label or ""))}
        if number % 5 < 2:
            del said[(AXIS, LEVEL)[number % 5]]
        return replace(example, further=said)

    train, validation = (tuple(map(one, range(len(side)), side)) for side in (held.train, held.validation))
    return Rows(train=train, validation=validation)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return stand(tmp_path_factory.mktemp("ground"), backbone(), several(rows(16, 8)), SCENE_OF_THREE)


def parts(ground: Stand, balance: str) -> tuple[Network, Balanced, Batch]:
    """A network, the objective, and all training rows as one batch."""
    laid = columns.lay(ground.context.scene, ground.context.head)
    made = Balanced(laid, shares(ground.rows, ground.context), cast("Balance", balance), 0.0)
    network = Network(
        torch_body(ground.base),
        ground.context.transform,
        ground.context.head,
        spreads=spreads(ground.rows, ground.context),
    ).eval()
    train, _ = feeds(ground.base, ground.rows, Plan(), ground.context, None)
    return network, made, train.batch(range(len(train)))


def test_heads_side_by_side_come_apart_to_the_bit() -> None:
    chance = np.random.default_rng(0)

    def head(*labels: str) -> Head:
        weight_DK = chance.standard_normal((5, len(labels))).astype(np.float32)
        return Head(weight=weight_DK, bias=chance.standard_normal(len(labels)).astype(np.float32), labels=labels)

    whole = replace(head("a", "b", "c"), further={AXIS: head("x", "y"), LEVEL: head("value")})
    again = columns.apart(*columns.side_by_side(whole, (1.0, 1.0, 2.0)), whole, (1.0, 1.0, 2.0))
    for name in ("", AXIS, LEVEL):
        assert np.array_equal(again.of(name).weight, whole.of(name).weight)
        assert np.array_equal(again.of(name).bias, whole.of(name).bias)


def test_a_row_has_a_one_a_value_or_nothing_in_the_columns_of_each_task(ground: Stand) -> None:
    table_NK = columns.targets(ground.rows.train[:3], ground.context.scene, ground.context.head, (1.0, 1.0, 1.0))
    side, axis, level = columns.lay(ground.context.scene, ground.context.head)
    assert table_NK.shape == (3, 7) and (side.stop, axis.stop, level.stop) == (4, 6, 7)
    assert columns.known(table_NK, axis).tolist() == [False, True, True]
    assert columns.known(table_NK, level).tolist() == [True, False, True]
    assert side.of(table_NK).sum(dim=1).tolist() == [1, 1, 1]
    assert float(level.of(table_NK)[2]) == pytest.approx((LABELS.index(ground.rows.train[2].label or "") - 1.5) / 8)


@pytest.mark.parametrize("balance", BALANCES)
def test_a_task_costs_what_its_labelled_rows_cost_and_slopes_reach_the_backbone(ground: Stand, balance: str) -> None:
    network, made, batch = parts(ground, balance)
    with torch.no_grad():
        answer = network(batch.inputs)
        losses_TB = made.of(answer.scores_BK, batch.targets_BK)
    for each, loss, losses_B in zip(made.laid, made.losses, losses_TB, strict=True):
        known_B = columns.known(batch.targets_BK, each)
        assert not losses_B[~known_B].any(), "a row without a label costs nothing"
        alone = loss.of(each.of(answer.scores_BK)[known_B], each.of(batch.targets_BK)[known_B]).mean()
        assert float(losses_B.mean()) == pytest.approx(float(alone), rel=1e-4)
    network.zero_grad()
    total = made(network, batch).mean()
    total.backward()
    slopes = [parameter.grad for parameter in network.body.parameters()]
    assert all(slope is not None and slope.isfinite().all() for slope in slopes)
    if balance == "equal":
        assert total.item() == pytest.approx(float(losses_TB.mean()), rel=1e-5)
    if balance == "uncertainty":
        assert made.doubt_T is not None and made.doubt_T.grad is not None
        sure, half = made.doubt_T.grad[0], 0.5 / len(made.laid)
        assert float(sure) == pytest.approx(half - float(losses_TB[0].mean()) / len(made.laid), rel=1e-3)


@given(st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=2, max_size=4))
def test_upgrad_makes_no_task_worse(slopes: list[list[float]]) -> None:
    """By definition; and where no two tasks are in each other's way it is the mean."""
    slopes_TF = torch.tensor(slopes, dtype=torch.float64)
    products_TT = slopes_TF @ slopes_TF.T
    share_T = WEIGHTINGS["upgrad"]()(products_TT)
    scale = max(float(products_TT.diagonal().mean()), 1e-12)
    assert float((products_TT @ share_T).min()) > -1e-2 * scale * max(1.0, float(share_T.abs().max()))
    if bool((products_TT >= 0).all()) and scale > 1e-6:
        assert torch.allclose(share_T, torch.full_like(share_T, 1 / len(slopes)), atol=1e-6)


@pytest.mark.parametrize("balance", ["equal", "uncertainty", "upgrad"])
def test_tasks_are_tuned_together_and_each_is_judged(ground: Stand, balance: str) -> None:
    config = replace(CONFIG, balance=cast("Balance", balance))
    ask = Ask(name="finetune", config=config, budget=1e6)
    made = tuning.attempt(ground.floor.assembly, ground.floor.parity, ground.rows, ground.bench, ask)
    assert made.tuned is not None and made.tuned.moved and made.decision is not None
    assert made.judged is not None and made.decision.candidate > ground.floor.score, made.words
    assert made.tuned.head is not None and set(made.tuned.head.further) == {AXIS, LEVEL}
    assert made.tuned.settings["balance"] == balance
    line = Line(ground.floor.assembly, made.tuned.backbone, ground.rows, ground.context.scene, 0)
    assert line.best() > 0, "on the line between the weights the tuned ones are the better ones, of the mean of all"
    told = judge.outcomes(ground.context.scene, made.judged.head, ground.rows.validation, made.judged.features)
    assert select.score(*told) == pytest.approx(made.judged.score)
    assert {name.split("\0")[0] for name in told[1]} == {"side", AXIS, LEVEL}


def test_one_task_among_several_is_judged_as_if_it_were_alone(ground: Stand, tmp_path: Path) -> None:
    alone = halves.stand(tmp_path, ground.base, ground.rows, replace(SCENE, task_name="side"))
    assert np.array_equal(ground.floor.head.weight, alone.floor.head.weight)
    mine_N = np.array([name.startswith("side\0") for name in ground.floor.groups_N])
    assert np.array_equal(ground.floor.outcomes_N[mine_N] > 0, alone.floor.outcomes_N > 0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"class_weights": "balanced"}, "class_weights is for a scene with one task"),
        ({"costs": {"left": {"top": 2.0}}}, "costs is for a scene with one task"),
        ({"mix": 0.5}, "mix is for a scene with one task"),
        ({"adversarial": "fgsm"}, "adversarial=fgsm is for a scene with one task"),
        ({"align": "dan"}, "align=dan is for a scene with one task"),
    ],
)
def test_settings_that_speak_of_one_task_are_refused(ground: Stand, setting: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        finetune.tune(ground.base, ground.rows, replace(CONFIG, **setting), ground.context)  # type: ignore[arg-type]


def test_an_unknown_balance_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="balance is 'fair'; choose equal, uncertainty, upgrad, mgda or pcgrad"):
        Plan(balance="fair")  # type: ignore[arg-type]


def test_with_one_task_the_balance_changes_nothing() -> None:
    held, base = rows(8, 4), backbone()
    context: Context = noisy(base, held)
    first, second = (
        finetune.tune(base, held, replace(CONFIG, epochs=1, balance=name), context) for name in ("equal", "uncertainty")
    )
    assert halves.same(halves.weights(first.backbone), halves.weights(second.backbone))
