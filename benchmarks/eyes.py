"""What a way makes of pictures: the features that a head is solved on, and what that head then knows.

Promises one measure for every way, a head in closed form: of the target's labels on pictures that were not taught,
whole and gone wrong, and of the source's own labels on others of the source. Features are those of torch, a rounding
away from what would be served.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.pairs import HURT, Draw, Pictures
from core.blocks import whole
from core.head import HeadState, Row
from core.statistics import from_grid, to_grid
from core.types import Block, Example, GridRows, Head
from exporters.backbone import Backbone
from exporters.transform import Transform, apply
from training.tune.network import Tensors, torch_body


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Pictures to (N, D) features; ``blocks`` where members have heads of their own. Equal only to itself."""

    see: Callable[[list[Tensors]], GridRows] = field(repr=False)
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One way on one draw: balanced accuracy in %, and seconds.

    Attributes:
        target, hurt: on test pictures of the target, whole and gone wrong (the mean over the kinds of damage).
        source: of a head of the source's own labels.
    """

    target: float
    hurt: float
    source: float
    seconds: float = 0.0


def eye(backbone: Backbone) -> Eye:
    """Of one backbone."""
    body = torch_body(backbone).eval()
    return Eye(see=lambda batches: seen(body, backbone, batches))


@torch.inference_mode()
def seen(body: torch.nn.Module, backbone: Backbone, batches: Sequence[Tensors]) -> GridRows:
    """(N, D) features, scaled as the backbone's are."""
    raw_ND = np.concatenate([body(**batch).float().numpy() for batch in batches])
    return to_grid(apply(Transform(kind=backbone.transform), raw_ND))


def measured(eye: Eye, pictures: Pictures, drawn: Draw) -> Figures:
    """What heads on these features know of both scenes."""
    head = solved(eye, eye.see(pictures.taught), drawn.taught)
    damaged = [balanced(head, eye.see(batches), drawn.tested[:HURT]) for batches in pictures.hurt.values()]
    before = solved(eye, eye.see(pictures.before), drawn.before)
    return Figures(
        target=balanced(head, eye.see(pictures.tested), drawn.tested),
        hurt=float(np.mean(damaged)),
        source=balanced(before, eye.see(pictures.asked), drawn.asked),
    )


def solved(eye: Eye, rows_ND: GridRows, examples: Sequence[Example]) -> Head:
    """The closed form of labelled rows."""
    width = rows_ND.shape[1]
    state = HeadState(width, key=b"lepton", blocks=eye.blocks or whole(width))
    state.add(
        Row(each.digest, features_D, each.label or "", None, 1)
        for each, features_D in zip(examples, rows_ND, strict=True)
    )
    head = state.solve()
    assert head is not None, "some class has two examples"
    return head


def balanced(head: Head, rows_ND: GridRows, examples: Sequence[Example]) -> float:
    """Mean over the classes of the share of right answers, in %."""
    scores_NK = from_grid(rows_ND) @ head.weight + head.bias
    said = np.array(head.labels)[scores_NK.argmax(axis=1)]
    truth = np.array([each.label for each in examples])
    return 100 * float(np.mean([(said[truth == label] == label).mean() for label in np.unique(truth)]))
