"""A student learns what a teacher says of rows, keeps what it was where nothing helps, and the same bits come twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.modality.image import preprocessor
from core.preprocess import Limits
from core.types import Example, Head, Scene
from exporters.backbone import Backbone
from exporters.transform import Transform
from tests import pico
from training import zoo
from training.backbone import timm
from training.fuse import distill
from training.recipe import Context
from training.tune.batches import Batch, Feed
from training.tune.network import Network
from training.zoo import Setting

SCENE = Scene(name="shapes", task="classification", modality="image", labels=pico.LABELS)
EACH = 4


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    (name, _), *_ = timm.examples(tmp_path_factory.mktemp("timm"))
    return zoo.load(f"timm:{name}", Setting(size=32))


def feed(student: Backbone, first: int) -> Feed:
    labels = [label for label in pico.LABELS for _ in range(EACH)]
    shown = [pico.picture(label, first + number, side=32) for number, label in enumerate(labels)]
    rows = [
        Example(digest=f"{first + number}", path="", split="train", label=label, content=data)
        for number, (label, data) in enumerate(zip(labels, shown, strict=True))
    ]
    targets_NK = torch.eye(3)[[pico.LABELS.index(label) for label in labels]]
    return Feed(rows, targets_NK, torch.ones(len(rows)), preprocessor(student.inputs, {}, Limits()))


def lesson(student: Backbone, turn: int = 0) -> distill.Lesson:
    """A teacher that is sure, and says what ``turn`` classes further is."""
    train = feed(student, 0)
    features_ND = torch.randn(3 * EACH, 5, generator=torch.Generator().manual_seed(0))
    said_NK = 6 * train.targets_NK.roll(turn, dims=1)
    return distill.Lesson(train=train, held=feed(student, 500), logits_NK=said_NK, features_ND=features_ND)


def context(student: Backbone) -> Context:
    zeros = np.zeros((student.dimension, 3), np.float32)
    head = Head(weight=zeros, bias=np.zeros(3, np.float32), labels=pico.LABELS)
    return Context(scene=SCENE, head=head, transform=Transform(kind="sqrt_l2"))


CONFIG = distill.Config(epochs=2, rate=3e-3, head_rate=20.0, batch=12, average=0.5, augment=False)


def test_a_student_learns_from_its_teacher_and_the_same_bits_come_twice(student: Backbone) -> None:
    assert isinstance(student.body, torch.nn.Module)
    before = {name: tensor.clone() for name, tensor in student.body.state_dict().items()}
    (one, fitted), (other, _) = (distill.fuse(student, lesson(student), context(student), CONFIG) for _ in range(2))
    assert fitted.best > 0 and one.digest == other.digest != student.digest and one.recipe == "distill"
    assert fitted.history[fitted.best].validation_loss < fitted.history[0].validation_loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.body.state_dict().items())


def test_a_student_whose_teacher_is_wrong_stays_as_it_is(student: Backbone) -> None:
    wrong = distill.Config(**{**vars(CONFIG), "soft": 1.0, "epochs": 2})
    kept, fitted = distill.fuse(student, lesson(student, turn=1), context(student), wrong)
    assert fitted.best == 0 and kept is student


def test_the_loss_is_least_where_the_student_says_what_the_teacher_says(student: Backbone) -> None:
    """On a body that gives what it is given, so that scores and features can be set at will."""

    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    head = Head(weight=np.eye(3, dtype=np.float32), bias=np.zeros(3, np.float32), labels=pico.LABELS)
    network = Network(Plain(), Transform(kind="as_is"), head).eval()
    teacher_BK = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.8, 0.2]])
    config = distill.Config(soft=1.0, alike=1.0)
    said_BK = (teacher_BK / config.temperature).softmax(dim=1)
    targets = torch.cat([torch.eye(3)[:2], said_BK, teacher_BK], dim=1)
    taught = distill.Taught("classification", config, 3)

    def loss(scores_BK: torch.Tensor) -> float:
        return float(taught(network, Batch({"x": scores_BK}, targets, torch.ones(2), {})).sum().detach())

    assert loss(teacher_BK) < min(loss(teacher_BK.flip(0)), loss(teacher_BK * 0.5), loss(torch.zeros(2, 3) + 0.1))


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"soft": 1.5}, {"alike": -1.0}, {"layer_decay": 2.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        distill.Config(**wrong)  # type: ignore[arg-type]
