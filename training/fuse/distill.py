"""An ensemble's answers taught to one of its members, which then answers nearly as well in a fraction of the time.

When to use it: a fusion of features or logits is better, and too slow. Limit: minutes of training; a student that is
already as good as its teachers gains nothing, and then it is not registered. It learns from the rows that are compared,
512 at most, of which a third is left aside to judge it.

The teacher's answers to a row are those of heads that have not seen it (leave-one-out), so what is taught is what the
ensemble knows, not what it was told. The loss of a row: cross-entropy with the teacher's answers at a temperature and
with the label, and how unlike the student's features are arranged to the teacher's (rows that are alike to one should
be alike to the other), which needs no features of one width.

Reference: Hinton et al., "Distilling the knowledge in a neural network", arXiv 1503.02531; Tung and Mori,
"Similarity-preserving knowledge distillation", arXiv 1907.09682.

>>> Config().temperature
2.0
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch

from core.types import Task
from exporters.backbone import Backbone
from training import tuned
from training.recipe import Context
from training.tune import losses
from training.tune.batches import Batch, Feed
from training.tune.layers import groups
from training.tune.loop import Course, Fitted, Loop
from training.tune.network import Network
from training.tune.objective import Objective
from training.tune.plan import Plan

SPACE = "student"


@dataclass(frozen=True, kw_only=True)
class Config(Plan):
    """Settings of distillation; those of every training are in ``Plan``."""

    rate: float = 3e-4
    """Learning rate of the last layer."""
    epochs: int = 12
    """Passes over the training rows, at most."""
    temperature: float = 2.0
    """By which both sides' logits are divided: the higher, the more the small answers tell."""
    soft: float = 0.7
    """Share of the teacher's answers in the loss; the labels have the rest."""
    alike: float = 1.0
    """Weight of the arrangement of features."""
    layer_decay: float = 0.8
    """Factor on the rate from a layer to the one below it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 < self.temperature <= 100:
            raise ValueError(f"temperature is {self.temperature}; expected above 0 and up to 100")
        for name, most in (("soft", 1.0), ("alike", 1e6), ("layer_decay", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to {most:g}")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is taught.

    Attributes:
        train, held: N rows to learn from, and others that say when to stop, as the loop takes them.
        logits_NK: the teacher's of ``train``, or its values. features_ND: the teacher's.
    """

    train: Feed
    held: Feed
    logits_NK: torch.Tensor = field(repr=False)
    features_ND: torch.Tensor = field(repr=False)


def examples() -> tuple[Config, ...]:
    """Two epochs, with and without the arrangement."""
    return Config(epochs=2, rate=1e-3, batch=16), Config(epochs=2, rate=1e-3, batch=16, alike=0.0, soft=1.0)


def fuse(student: Backbone, lesson: Lesson, context: Context, config: Config = Config()) -> tuple[Backbone, Fitted]:
    """The student with its weights moved, or as it is where no epoch was better than its start."""
    assert isinstance(student.body, torch.nn.Module), "weights can be moved of a torch model only"
    network = Network(copy.deepcopy(student.body), context.transform, context.head, dropout=config.dropout)
    taught = Taught(context.scene.task, config, lesson.logits_NK.shape[1])
    course = Course(
        train=_with_teacher(lesson, config, context.scene.task),
        held=lesson.held,
        objective=taught,
        groups=groups(network.body, config.layer_decay, config.decay),
    )
    fitted = Loop(network, course, config, context).run()
    if fitted.best == 0:
        return student, fitted
    return tuned.moved(student, network.body.cpu(), "distill"), fitted


class Taught(Objective):
    """The loss of a row; its targets are label, teacher's answer and teacher's features side by side."""

    def __init__(self, task: Task, config: Config, columns: int) -> None:
        super().__init__()
        self.task, self.config, self.columns = task, config, columns

    def forward(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B,)."""
        answer, config = network(batch.inputs), self.config
        label_BK, teacher_BK, features_BD = (
            batch.targets_BK[:, : self.columns],
            batch.targets_BK[:, self.columns : 2 * self.columns],
            batch.targets_BK[:, 2 * self.columns :],
        )
        if self.task == "regression":
            told_B = losses.squared_error(answer.scores_BK, label_BK)
            taught_B = losses.squared_error(answer.scores_BK, teacher_BK)
        else:
            told_B = losses.cross_entropy(answer.scores_BK, losses.smoothed(label_BK, config.smoothing))
            taught_B = losses.cross_entropy(answer.scores_BK / config.temperature, teacher_BK) * config.temperature**2
        unlike_B = (alike(answer.features_BD) - alike(features_BD)).square().mean(dim=1)
        loss_B: torch.Tensor = (1 - config.soft) * told_B + config.soft * taught_B + config.alike * unlike_B
        return loss_B


def alike(features_BD: torch.Tensor) -> torch.Tensor:
    """(B, B): how alike rows are, each row of length 1."""
    return torch.nn.functional.normalize(features_BD @ features_BD.T, dim=1)


def _with_teacher(lesson: Lesson, config: Config, task: Task) -> Feed:
    """The training rows, each with what the teacher says of it."""
    teacher_NK = lesson.logits_NK
    if task == "classification":
        teacher_NK = (teacher_NK / config.temperature).softmax(dim=1)
    made = copy.copy(lesson.train)
    made.targets_NK = torch.cat([lesson.train.targets_NK, teacher_NK, lesson.features_ND], dim=1)
    return made
