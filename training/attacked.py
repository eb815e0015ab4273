"""How much of the accuracy is left where every picture is changed against the model by at most ε.

Promises that what is measured is what is served: the attack sees the weights (a white box), its pictures are rounded to
whole pixels, as a client could send them, and the served graph answers them. Figures are of one attack of so many
steps: a stronger one leaves less. Knows nothing of training.

Legend: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.bundle import Bundle, Metric
from core.errors import InvalidInput
from core.home import Home
from core.preprocess import Inputs
from core.session import Session
from core.types import Example, Head, Scene
from training import evaluate, rebuilt
from training.assemble import batches
from training.tune.attack import fgsm, pgd
from training.tune.losses import cross_entropy
from training.tune.network import Network

KEY = "image"
ATTACKS = ("fgsm", "pgd")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack: ``epsilon`` is by how much any channel of a pixel may change, in pixel units of 0 to 255."""

    name: str
    epsilon: float
    steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges: the values come from a person."""
        if self.name not in ATTACKS or not 0 <= self.epsilon <= 255 or self.steps < 1:
            raise InvalidInput(
                f"attack {self.name!r} with epsilon {self.epsilon:g} and {self.steps} steps",
                f"choose {' or '.join(ATTACKS)}, epsilon from 0 to 255 and at least one step",
            )


def robust(
    home: Home,
    scene: Scene,
    bundle: Bundle,
    head: Head,
    examples: Sequence[Example],
    attack: Attack,
    progress: Callable[[int, int], None],
) -> Metric:
    """Share of right answers to changed pictures, with its interval.

    Raises:
        InvalidInput: no pictures, no classes, or a version that cannot be rebuilt in torch.
    """
    if scene.modality != "image" or scene.task != "classification" or scene.further:
        raise InvalidInput(
            f"{scene.name} is {scene.modality} ({scene.task}); attacks are for one task with classes of pictures",
            "leave --attack out",
        )
    session = Session(bundle.model, threads=2)
    read = batches(home.preprocessor(bundle, session), examples)
    network = rebuilt.network(bundle, home.artifacts, head, session, read[0])
    right: list[bool] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(attack.seed)
        for inputs in read:
            truths = [example.label or "" for example in examples[len(right) :][: len(inputs[KEY])]]
            changed = _changed(network, inputs, truths, head, attack)
            said = session.predict(changed, head).outputs.argmax(axis=1)
            right += [head.labels[place] == truth for place, truth in zip(said, truths, strict=True)]
            progress(len(right), len(examples))
    right_N = np.array(right, np.float64)
    low, high = evaluate.interval(lambda at: float(right_N[at].mean()), np.zeros(len(right), np.intp), attack.seed)
    return Metric(value=float(right_N.mean()), low=low, high=high, rows=len(right))


def _changed(network: Network, inputs: Inputs, truths: Sequence[str], head: Head, attack: Attack) -> Inputs:
    """Whole pixels, none further than ``epsilon`` from where it was; a class that the head lacks cannot be attacked."""
    pixels = torch.from_numpy(inputs[KEY]).to(torch.float32)
    known = [truth in head.labels for truth in truths]
    at_B = torch.tensor([head.labels.index(truth) if there else 0 for truth, there in zip(truths, known, strict=True)])
    targets_BK = torch.nn.functional.one_hot(at_B, len(head.labels)).float()

    def loss(changed: torch.Tensor) -> torch.Tensor:
        return cross_entropy(network({KEY: changed}).scores_BK, targets_BK)

    if attack.name == "fgsm":
        found = fgsm(pixels, loss, attack.epsilon)
    else:
        found = pgd(pixels, loss, attack.epsilon, attack.steps)
    whole = torch.where(found > pixels, torch.floor(found), torch.ceil(found))  # towards the original: never too far
    return {KEY: whole.to(torch.uint8).numpy()}
