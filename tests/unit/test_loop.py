"""The training loop: what stops it, what it keeps, and that halves of a batch change nothing but rounding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.errors import InvalidInput
from exporters.backbone import Backbone, Normalised
from tests.tuning import Tiny, backbone, example, noisy, picture, rows, same, weights
from training.adapt import finetune
from training.adapt.finetune import Config
from training.recipe import Epoch, Rows, TooFew, Tuned
from training.tune.layers import layers
from training.tune.network import Network, torch_body
from training.tune.prepare import feeds
from training.tune.scores import loss_and_score

SHORT = Config(epochs=2, rate=3e-3, batch=16, augment=False, dropout=0.0)
HELD = rows(8, 4)  # 32 training rows: two steps an epoch


class Odd(Tiny):
    """Multiplies its features by what ``fault`` gives for the number of the pass in training, and of its rows."""

    fault: Callable[[int, int], float]
    passes = 0

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(planes)
        self.passes += 1
        return super().forward(planes) * self.fault(self.passes, len(planes))


def odd(fault: Callable[[int, int], float]) -> Backbone:
    net = Odd()
    net.fault = fault
    return replace(backbone(), body=Normalised(net, (128.0,) * 3, (64.0,) * 3).eval())


def short_of_memory(most: int) -> Callable[[int, int], float]:
    def fault(_: int, count: int) -> float:
        if count > most:
            raise torch.OutOfMemoryError
        return 1.0

    return fault


def tune(base: Backbone, config: Config = SHORT, held: Rows = HELD, **more: object) -> Tuned:
    return finetune.tune(base, held, config, replace(noisy(base, held), **more))  # type: ignore[arg-type]


def test_epochs_are_told_as_they_end_by_the_callers_clock() -> None:
    told: list[Epoch] = []
    ticks = itertools.count()
    made = tune(backbone(), told=told.append, clock=lambda: float(next(ticks)))
    assert [epoch.number for epoch in told] == [0, 1, 2] and tuple(told) == made.history
    assert math.isnan(told[0].loss) and told[0].seconds < told[1].seconds < told[2].seconds < made.seconds
    assert told[1].left > told[2].left == 0.0


def test_nothing_better_for_a_while_ends_it_and_the_backbone_stays() -> None:
    base = backbone()
    made = tune(base, replace(SHORT, epochs=50, rate=10.0, patience=2, average=0.0, clip=0.0))
    assert made.stopped.startswith("no better for 2 epochs") and made.best == 0
    assert made.backbone is base and not made.moved


def test_the_weights_of_the_best_epoch_are_what_comes_back() -> None:
    """From the fifth pass on the features point elsewhere while it learns, so that later epochs are worse."""
    made = tune(odd(lambda number, _: 1.0 if number <= 4 else -30.0), replace(SHORT, epochs=6))
    losses = [epoch.validation_loss for epoch in made.history]
    assert made.best == losses.index(min(losses)) and 0 < made.best < 6, losses
    assert made.head is not None
    context = noisy(made.backbone, HELD)
    _, held = feeds(made.backbone, HELD, SHORT, context, None)
    network = Network(torch_body(made.backbone), context.transform, made.head).eval()
    with torch.no_grad():
        scores_NK = network(held.batch(range(len(held))).inputs).scores_BK
    assert loss_and_score("classification", scores_NK, held.targets_NK)[0] == pytest.approx(losses[made.best], abs=1e-5)


@pytest.mark.parametrize(("patience", "rate"), [(1, 3e-3), (2, 10.0)])
def test_the_last_weights_need_no_validation_row(patience: int, rate: float) -> None:
    """Neither better nor worse losses of other validation rows change what comes back, or when it ends."""
    plan = replace(SHORT, epochs=4, rate=rate, patience=patience, keep="last", average=0.0, clip=0.0)
    made = tune(backbone(), plan)
    assert (made.best, made.history[-1].number, made.stopped) == (4, 4, "after 4 epochs")
    other = Rows(train=HELD.train, validation=rows(8, 9).validation[1::2])
    again = tune(backbone(), plan, other)
    assert [epoch.validation_loss for epoch in again.history] != [epoch.validation_loss for epoch in made.history]
    assert same(weights(again.backbone), weights(made.backbone))


def test_of_weights_that_go_wrong_the_last_sound_ones_are_kept() -> None:
    made = tune(odd(lambda number, _: math.nan if number == 6 else 1.0), replace(SHORT, epochs=9, keep="last"))
    assert made.stopped == "the loss was no number in epoch 3, step 2" and made.best == 2 and made.moved
    assert all(tensor.isfinite().all() for tensor in weights(made.backbone).values())


def test_a_loss_that_is_no_number_stops_it_with_the_best_so_far() -> None:
    made = tune(odd(lambda number, _: math.nan if number == 4 else 1.0), replace(SHORT, epochs=9))
    assert made.stopped == "the loss was no number in epoch 2, step 2"
    assert len(made.history) == 2 and made.best in {0, 1}
    assert all(tensor.isfinite().all() for tensor in weights(made.backbone).values())


def test_features_that_are_no_numbers_stop_it_at_once() -> None:
    base = backbone()
    assert isinstance(base.body, Normalised) and isinstance(base.body.model, Tiny)
    with torch.no_grad():
        base.body.model.first.weight.fill_(math.nan)
    made = tune(base)
    assert made.stopped == "the validation loss was no number after epoch 0" and made.backbone is base


def test_memory_for_fewer_rows_halves_the_passes_and_not_the_step() -> None:
    notes: list[str] = []
    whole = tune(odd(short_of_memory(16)))
    halves = tune(odd(short_of_memory(5)), noted=notes.append)
    assert [note.split()[-5] for note in notes] == ["8", "4"] and halves.notes == tuple(notes)
    for one, other in zip(whole.history, halves.history, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-3)
    for name, tensor in weights(whole.backbone).items():
        assert torch.allclose(tensor, weights(halves.backbone)[name], atol=1e-3), name


def test_memory_for_not_even_one_row_keeps_the_backbone() -> None:
    base = odd(short_of_memory(0))
    made = tune(base)
    assert made.stopped == "memory does not suffice for one row" and made.backbone is base


def test_statistics_of_batch_norm_stay_and_its_scale_is_trained() -> None:
    made = tune(backbone(), replace(SHORT, epochs=4))
    before, after = weights(backbone()), weights(made.backbone)
    assert made.moved
    assert torch.equal(before["model.norm.running_mean"], after["model.norm.running_mean"])
    assert not torch.equal(before["model.norm.weight"], after["model.norm.weight"])
    moving = weights(tune(backbone(), replace(SHORT, epochs=4, batch_norm="batch")).backbone)
    assert not torch.equal(before["model.norm.running_mean"], moving["model.norm.running_mean"])


def test_frozen_layers_keep_every_bit() -> None:
    base = backbone()
    assert isinstance(base.body, torch.nn.Module)
    lowest, *_, highest = layers(base.body)
    made = tune(base, replace(SHORT, epochs=4, frozen=0.5))
    before, after = weights(base), weights(made.backbone)
    assert made.moved
    assert all(torch.equal(before[name], after[name]) for name in lowest)
    assert not all(torch.equal(before[name], after[name]) for name in highest)


def test_a_stronger_pull_keeps_weights_nearer_to_where_they_began() -> None:
    base, before = backbone(), weights(backbone())

    def way(pull: float) -> float:
        after = weights(tune(base, replace(SHORT, epochs=4, average=0.0, pull=pull)).backbone)
        return float(sum((after[name].float() - tensor.float()).square().sum() for name, tensor in before.items()))

    assert 0 < way(300.0) < way(0.0)


def test_a_budget_for_fewer_epochs_is_planned_for() -> None:
    ticks = itertools.count()
    made = tune(backbone(), replace(SHORT, epochs=40), budget=60.0, clock=lambda: float(next(ticks)))
    assert made.notes and made.notes[0].startswith("the time allows")
    assert made.stopped.endswith("as the time allowed")
    assert made.history[-1].rate < 0.5 * max(epoch.rate for epoch in made.history)


def test_classes_of_one_example_are_left_out_and_said() -> None:
    held = rows(8, 4, ("left", "top"))
    lone = Rows(train=(*held.train, example(picture("right", 0), "train", "right")), validation=held.validation)
    context = noisy(backbone(), held)
    made = finetune.tune(backbone(), lone, SHORT, context)
    assert made.notes[0].startswith("1 training rows are left out")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (rows(8, 4, ("left",)), "one class"),
        (Rows(train=HELD.train, validation=()), "0 validation rows"),
        (Rows(train=(), validation=HELD.validation), "0 training rows"),
    ],
)
def test_too_few_rows_are_told_apart_from_other_errors(held: Rows, said: str) -> None:
    with pytest.raises(TooFew, match=said):
        finetune.tune(backbone(), held, SHORT, noisy(backbone(), HELD))


def test_labels_of_noise_are_trained_to_an_end() -> None:
    wrong = {"left": "top", "top": "right", "right": "bottom", "bottom": "left"}
    held = Rows(train=HELD.train, validation=tuple(replace(e, label=wrong[e.label or ""]) for e in HELD.validation))
    made = tune(backbone(), replace(SHORT, epochs=12, patience=3), held)
    assert made.stopped and len(made.history) >= 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"rate": -1}, "rate is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"augment": 1}, "augment is 1"),
        ({"class_weights": "some"}, "choose none or balanced"),
        ({"costs": {"left": 3}}, "costs is"),
        ({"costs": {"left": {"top": -1}}}, "costs\\['left'\\]\\['top'\\] is -1"),
        ({"adversarial": "all"}, "adversarial is 'all'"),
        ({"adversarial": "pgd", "align": "dan"}, "choose one of them"),
        ({"frozen": 2}, "frozen is 2"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings: dict[str, object], said: str) -> None:
    from training import recipe

    with pytest.raises(InvalidInput, match=said):
        recipe.configure("finetune", settings)


def test_costs_name_labels_that_are_there() -> None:
    with pytest.raises(InvalidInput, match=r"'sideways'.*bottom, left"):
        tune(backbone(), replace(SHORT, costs={"left": {"sideways": 2.0}}))
