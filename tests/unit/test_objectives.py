"""Losses, attacks and alignment: what they are by definition, and what training by them is worth."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import InvalidInput
from core.types import Example
from exporters.transform import Transform, apply
from tests.pico import png
from tests.tuning import backbone, example, noisy, picture, rows, sentences, weights
from training.adapt import finetune
from training.adapt.finetune import Config
from training.recipe import Epoch, Rows, Tuned
from training.tune import losses
from training.tune.adversary import Method
from training.tune.alignment import Aligned, mean_discrepancy, turned
from training.tune.attack import fgsm, pgd
from training.tune.average import Average
from training.tune.batches import Batch
from training.tune.choice import last_unharmed, least_loss
from training.tune.layers import groups, layers
from training.tune.network import Answer, Network, Scale, torch_body
from training.tune.objective import Supervised
from training.tune.prepare import feeds

SHORT = Config(epochs=3, rate=3e-3, batch=16, augment=False, dropout=0.0)
HELD = rows(8, 4)


@pytest.mark.parametrize("kind", ["sqrt_l2", "l2", "as_is", "standardised"])
def test_the_transform_in_torch_is_that_of_the_graph(kind: str) -> None:
    raw_BD = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32) * 3
    raw_BD[0] = 0
    told = {"mean_D": raw_BD.mean(axis=0), "deviation_D": raw_BD.std(axis=0)} if kind == "standardised" else {}
    transform = Transform(kind=kind, **told)  # type: ignore[arg-type]
    assert np.abs(Scale(transform)(torch.from_numpy(raw_BD)).numpy() - apply(transform, raw_BD)).max() < 1e-5


def test_the_slope_of_the_square_root_is_finite_at_nothing() -> None:
    raw_BD = torch.zeros(2, 4, requires_grad=True)
    Scale(Transform(kind="sqrt_l2"))(raw_BD).sum().backward()
    assert raw_BD.grad is not None and raw_BD.grad.isfinite().all()


def test_cross_entropy_is_torchs_own_with_its_smoothing() -> None:
    scores_BK = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    at_B = torch.arange(6) % 4
    ours_B = losses.cross_entropy(scores_BK, losses.smoothed(torch.eye(4)[at_B], 0.1))
    theirs_B = torch.nn.functional.cross_entropy(scores_BK, at_B, label_smoothing=0.1, reduction="none")
    assert torch.allclose(ours_B, theirs_B, atol=1e-6)


def test_the_expected_cost_is_the_cost_of_the_answer_where_it_is_sure() -> None:
    table_KK = losses.cost_table({"sick": {"well": 10.0}, "well": {"sick": 1.0}}, ("sick", "well"))
    sure_BK = torch.tensor([[50.0, -50.0], [-50.0, 50.0], [-50.0, 50.0]])
    truth_BK = torch.eye(2)[torch.tensor([1, 0, 1])]
    assert losses.expected_cost(sure_BK, truth_BK, table_KK).tolist() == pytest.approx([1.0, 10.0, 0.0])


def test_weights_and_costs_move_what_is_learned() -> None:
    base = backbone()
    plain = weights(finetune.tune(base, HELD, SHORT, noisy(base, HELD)).backbone)
    fewer = replace(HELD, train=HELD.train[4:])
    for config, held in (
        (replace(SHORT, costs={"left": {"top": 5.0}}), HELD),
        (replace(SHORT, class_weights="balanced"), fewer),
    ):
        made = finetune.tune(base, held, config, noisy(base, held))
        assert made.moved and not torch.equal(weights(made.backbone)["model.first.weight"], plain["model.first.weight"])


@pytest.mark.parametrize("steps", [1, 7])
def test_an_attack_stays_in_its_box_and_raises_the_loss(steps: int) -> None:
    pixels = torch.randint(0, 256, (5, 4, 4, 3), generator=torch.Generator().manual_seed(0)).float()
    pixels[0], pixels[1] = 0, 255
    direction = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return (x * direction).flatten(1).sum(dim=1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = fgsm(pixels, loss, 3.0) if steps == 1 else pgd(pixels, loss, 3.0, steps)
    assert (found - pixels).abs().max() <= 3.0 + 1e-4 and found.min() >= 0 and found.max() <= 255
    assert (loss(found) > loss(pixels)).all() and not found.requires_grad
    if steps == 7:
        best = (pixels + 3.0 * direction.sign()).clamp(0, 255)
        assert torch.allclose(found, best, atol=1e-3)  # of a linear loss the best corner is known


@pytest.mark.parametrize("method", ["fgsm", "pgd", "trades"])
def test_training_against_an_attack_is_worth_something_against_it(method: str) -> None:
    base, held = backbone(), rows(12, 8)
    config = replace(SHORT, epochs=8, epsilon=6.0, attack_steps=3)
    context = noisy(base, held)
    plain = finetune.tune(base, held, config, context)
    against = finetune.tune(base, held, replace(config, adversarial=cast("Method", method)), context)
    assert against.moved and plain.moved
    assert _left(against, held, 10.0) > _left(plain, held, 10.0)


def _left(made: Tuned, held: Rows, epsilon: float) -> float:
    """Loss under attack of the trained network, negated: more is better."""
    context = noisy(made.backbone, held)
    assert made.head is not None
    network = Network(torch_body(made.backbone), context.transform, made.head).eval()
    _, feed = feeds(made.backbone, held, SHORT, context, None)
    batch = feed.batch(range(len(feed)))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return losses.cross_entropy(network({"image": x}).scores_BK, batch.targets_BK)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return -loss(pgd(batch.inputs["image"].float(), loss, epsilon, 5)).mean().item()


def test_attacks_on_anything_but_classes_of_pictures_are_refused_with_a_reason() -> None:
    held = sentences()
    text = replace(backbone(), modality="text")
    with pytest.raises(InvalidInput, match="only pixels have a scale"):
        finetune.tune(text, held, replace(SHORT, adversarial="pgd"), noisy(text, held))


def test_the_discrepancy_of_sets_that_differ_is_larger() -> None:
    chance = torch.Generator().manual_seed(0)
    one, same, other = torch.randn(60, 8, generator=chance), torch.randn(60, 8, generator=chance), None
    other = torch.randn(60, 8, generator=chance) + 1.0
    assert 0 <= mean_discrepancy(one, same) < 0.2 * mean_discrepancy(one, other)


def test_a_gradient_is_turned_round() -> None:
    features = torch.ones(3, requires_grad=True)
    turned(features).sum().backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None and features.grad.tolist() == [-1.0] * 3


class Plane(torch.nn.Module):
    """Two linear features of rows whose first number says the class and whose second says the scene."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2)

    def forward(self, inputs: dict[str, torch.Tensor]) -> Answer:
        features = self.body(inputs["x"])
        return Answer(features, self.head(features))


def _backward(objective: Aligned, network: Plane, batch: Batch) -> None:
    loss: torch.Tensor = objective(cast("Network", network), batch).mean()
    loss.backward()  # type: ignore[no-untyped-call]


def scenes() -> Batch:
    """The second number of a row is 1 here, and -1 there."""
    chance = torch.Generator().manual_seed(0)
    at = torch.arange(64) % 2
    here = torch.stack([2.0 * at - 1, torch.ones(64)], dim=1) + 0.1 * torch.randn(64, 2, generator=chance)
    return Batch({"x": here}, torch.eye(2)[at], torch.ones(64), {"x": here * torch.tensor([1.0, -1.0])})


def test_a_network_that_can_forget_the_scene_forgets_it_and_keeps_the_class() -> None:
    batch = scenes()

    def learned(weight: float) -> tuple[float, bool]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network, objective = Plane(), Aligned(Supervised("classification", 0.0), "dan", weight, 2)
        optimiser = torch.optim.Adam(network.parameters(), 0.01)
        for _ in range(100):
            optimiser.zero_grad()
            _backward(objective, network, batch)
            optimiser.step()
        class_D, scene_D = network.body.weight.detach().T
        right = network(batch.inputs).scores_BK.argmax(dim=1) == batch.targets_BK.argmax(dim=1)
        return float(scene_D.norm() / class_D.norm()), bool(right.all())

    assert learned(1.0)[0] < 0.1 * learned(0.0)[0] and learned(1.0)[1]


def test_the_judge_of_scenes_learns_to_tell_them_and_the_network_to_hide_them() -> None:
    batch, network = scenes(), Plane()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = Aligned(Supervised("classification", 0.0), "dann", 1.0, 2)
    labels = Aligned(Supervised("classification", 0.0), "dann", 0.0, 2)
    slopes = []
    for each in (objective, labels):
        network.zero_grad()
        _backward(each, network, batch)
        assert network.body.weight.grad is not None
        slopes.append(network.body.weight.grad.clone())
    hiding = slopes[0] - slopes[1]
    assert objective.judge is not None
    features = torch.cat([network.body(batch.inputs["x"]), network.body(batch.unlabelled["x"])]) * 2**0.5
    truth = torch.cat([torch.ones(64), torch.zeros(64)])
    told = torch.nn.functional.binary_cross_entropy_with_logits(objective.judge(features).squeeze(1), truth)
    (telling,) = torch.autograd.grad(told, network.body.weight)
    assert torch.allclose(hiding, -telling, atol=1e-6) and telling.abs().max() > 1e-3


def test_a_recipe_aligns_features_of_unlabelled_rows() -> None:
    """The other scene is the same pictures, darker."""
    base = backbone()
    there = [example(_darker(label, 500 + n), "train") for label in ("left", "top") for n in range(16)]
    context = replace(noisy(base, HELD), unlabelled=there)
    config = replace(SHORT, epochs=10, average=0.0, pull=0.0)
    apart = finetune.tune(base, HELD, config, context)
    together = finetune.tune(base, HELD, replace(config, align="dan", align_weight=5.0), context)
    assert together.moved and apart.moved
    assert together.best == together.history[-1].number == 10, "its loss on the labelled scene chooses no epoch"
    assert _gap(together, there) < _gap(apart, there)
    with pytest.raises(InvalidInput, match="--unlabelled"):
        finetune.tune(base, HELD, replace(config, align="dan"), noisy(base, HELD))


def test_of_aligned_trainings_the_last_epoch_comes_back_that_does_the_labelled_scene_no_harm() -> None:
    start = Epoch(number=0, loss=1.0, validation_loss=0.5, validation_score=0.8, rate=0.0, seconds=0.0, left=0.0)
    worse = replace(start, number=1, validation_loss=0.9, validation_score=0.76)
    harmed, broken = replace(worse, validation_score=0.74), replace(worse, validation_loss=math.nan)
    assert least_loss(start, worse, start) and not least_loss(start, start, worse)
    assert last_unharmed(start, start, worse)
    assert not last_unharmed(start, start, harmed) and not last_unharmed(start, start, broken)


def test_the_weight_of_dann_rises_and_that_of_dan_stands() -> None:
    batch, network = scenes(), Plane()
    for kind, rises in (("dann", True), ("dan", False)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            objective = Aligned(Supervised("classification", 0.0), kind, 1.0, 2)  # type: ignore[arg-type]
        labels = Supervised("classification", 0.0)(network, batch).mean()
        terms = []
        for number in (1, 2, 4, 8):
            objective.begin(number, 8)
            terms.append(float((objective(network, batch).mean() - labels).detach()))
        assert (terms == sorted(terms) and terms[0] < 0.5 * terms[-1]) if rises else len(set(terms)) == 1


def _darker(label: str, number: int) -> bytes:
    pixels = np.asarray(Image.open(io.BytesIO(picture(label, number))))
    return png((pixels // 3).astype(np.uint8))


def _gap(made: Tuned, there: list[Example]) -> float:
    context = replace(noisy(made.backbone, HELD), unlabelled=there)
    feed, _ = feeds(made.backbone, HELD, SHORT, context, None)
    batch = feed.batch(range(len(feed)), range(len(there)))
    body, scale = torch_body(made.backbone).eval(), Scale(context.transform)
    with torch.no_grad():
        return float(mean_discrepancy(scale(body(**batch.inputs)), scale(body(**batch.unlabelled))))


def test_layers_cover_every_parameter_once_from_the_input_on() -> None:
    body = backbone().body
    assert isinstance(body, torch.nn.Module)
    names = [name for layer in layers(body) for name in layer]
    assert sorted(names) == sorted(name for name, _ in body.named_parameters())
    assert "model.first.weight" in layers(body)[0] and "model.blocks.2.weight" in layers(body)[-1]


def test_the_rate_falls_from_layer_to_layer() -> None:
    body = backbone().body
    assert isinstance(body, torch.nn.Module)
    made = groups(body, 0.5, 0.1)
    scales = [group["scale"] for group in made]
    assert scales == sorted(scales) and scales[-1] == 1.0 and scales[0] == 0.5 ** (len(layers(body)) - 1)
    assert {group["weight_decay"] for group in made if group["params"][0].ndim == 1} == {0.0}


def test_the_average_of_weights_follows_them_and_leaves_them_alone() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    average = Average([weight], 0.9)
    for _ in range(60):
        with torch.no_grad():
            weight.fill_(1.0)
        average.update()
    with average.in_place():
        assert 0.99 < weight.item() < 1.0
    assert weight.item() == 1.0
