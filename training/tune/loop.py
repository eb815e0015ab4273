"""The training loop: epochs of steps, measured on validation rows after each, the best or the last weights given back.

Promises the same weights, to the bit, for the same network, rows, plan and seed on one machine with one number of
threads, unless the time runs out; and with several processes the steps of one (what differs is rounding, and what
dropout and augmentation draw). It stops where the loss is no number, where memory does not suffice for one row, where
nothing has become better for a while, and before its time is over: in every case with the weights that it kept so far
(``training.tune.choice``), those of the start among them. Where memory is short a batch is passed through in parts,
which changes nothing but rounding. Knows nothing of where rows come from, of recipes or of files.

Legend: N rows, K classes of all tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch

from training.recipe import Context, Epoch
from training.tune import columns
from training.tune.average import Average
from training.tune.batches import Batch, Feed, order
from training.tune.choice import Rule, least_loss
from training.tune.layers import Group, steady
from training.tune.memory import OutOfRoom, Room
from training.tune.network import Network
from training.tune.objective import Objective
from training.tune.plan import Plan
from training.tune.schedule import factor
from training.tune.scores import of_tasks

_NEW = 10.0  # factor on the rate of what an objective brings along: it begins from nothing, the rest nearly right
_GLANCE = 3  # steps of a range test that tell how long the others will take
_SEEDS = 1009  # a prime, which keeps the seeds of runs, epochs and processes apart


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a network goes through.

    Attributes:
        train, held: rows to learn from, and to be measured on.
        groups: parameters of the network's body with their ``scale`` on the rate.
        vary: changes a batch before it is learned from.
        thaw: called with the number of an epoch and of how many before it begins; may let more parameters be trained.
        chosen: which epoch's weights are kept.
    """

    train: Feed
    held: Feed
    objective: Objective
    groups: Sequence[Group]
    vary: Callable[[Batch, np.random.Generator], Batch] | None = None
    thaw: Callable[[int, int], object] | None = None
    chosen: Rule = least_loss


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What came of it: the state of the network that was kept, after epoch ``best``, and how it went."""

    state: dict[str, torch.Tensor] = field(repr=False)
    history: tuple[Epoch, ...]
    best: int
    seconds: float
    stopped: str


class _Stop(Exception):
    """Why there is no further step."""


class Loop:
    """One training of one network, which it moves and leaves with the weights that it keeps."""

    def __init__(self, network: Network, course: Course, plan: Plan, context: Context) -> None:
        self._network, self._course, self._plan, self._context = network, course, plan, context
        self._device = context.device
        self._laid = columns.lay(context.scene, context.head)
        network.to(self._device.place)
        course.objective.to(self._device.place)
        groups = [*course.groups, {"params": list(network.head.parameters()), "scale": plan.head_rate}]
        if added := list(course.objective.parameters()):
            groups.append({"params": added, "scale": _NEW})
        self._optimiser = torch.optim.AdamW(
            [{"weight_decay": 0.0, **group, "lr": plan.rate} for group in groups], fused=True
        )
        self._parameters = [p for group in self._optimiser.param_groups for p in group["params"]]
        self._start = [parameter.detach().clone() for parameter in self._parameters]
        self._average = Average(self._parameters, plan.average)
        self._room = Room(plan.batch, self._device, context.noted)
        self._epochs, self._step = plan.epochs, 0
        self._history: list[Epoch] = []
        self._best, self._kept = 0, _copy(network)

    def run(self) -> Fitted:
        """Train until something ends it."""
        self._begun = self._context.clock()
        with self._seeded():
            try:
                self._train()
            except _Stop as stop:
                stopped = str(stop)
            except OutOfRoom:
                stopped = "memory does not suffice for one row"
        self._network.load_state_dict(self._kept)
        self._network.eval()
        return Fitted(
            state=self._kept, history=tuple(self._history), best=self._best, seconds=self._seconds(), stopped=stopped
        )

    def ramp(self, rates: Sequence[float], seconds: float, least: int) -> Generator[float]:
        """The losses of one step at each rate, as long as the seconds last and memory does; no more than the first few
        where they show that the seconds do not last for ``least`` steps.
        """
        self._begun = self._context.clock()
        batches = (batch for number in count(1) for batch in self._batches(number))
        with self._seeded():
            for number, (rate, batch) in enumerate(zip(rates, batches, strict=False), 1):
                try:
                    yield self._learn(batch, rate)
                except OutOfRoom:
                    return
                times = least / _GLANCE if number == _GLANCE else 1.0  # as long as so far
                if self._device.any(times * self._seconds() >= seconds):
                    return

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        cuda = [self._device.place] if self._device.place.type == "cuda" else []
        with self._device.repeatable(), torch.random.fork_rng(devices=cuda):
            torch.manual_seed(self._context.seed * _SEEDS + self._device.rank)
            yield

    def _train(self) -> None:
        self._measure(0, math.nan)
        for number in range(1, self._plan.epochs + 1):
            begun = self._seconds()
            if self._course.thaw is not None:
                self._course.thaw(number, self._epochs)
            losses = []
            for batch in self._batches(number):
                losses.append(self._learn(batch, self._rate()))
                if not math.isfinite(losses[-1]):
                    raise _Stop(f"the loss was no number in epoch {number}, step {len(losses)}")
                if self._device.any(self._seconds() >= self._context.budget):
                    raise _Stop(f"the time was over in epoch {number}")
            self._measure(number, sum(losses) / len(losses))
            if number - self._best >= self._plan.patience:
                raise _Stop(f"no better for {self._plan.patience} epochs")
            self._look_ahead(number, self._seconds() - begun)
            if number >= self._epochs:
                raise _Stop(f"after {number} epochs" + ("" if number == self._plan.epochs else ", as the time allowed"))

    def _batches(self, number: int) -> Iterator[Batch]:
        """This process's share of every batch of an epoch."""
        plan, seed, train = self._plan, self._context.seed, self._course.train
        chance = np.random.default_rng([seed + 1, number, self._device.rank])
        others = [place for drawn in order(len(train.unlabelled), plan.batch, seed + 1, number) for place in drawn]
        for step, places in enumerate(order(len(train), plan.batch, seed, number)):
            first = step * plan.batch
            beside = [others[(first + i) % len(others)] for i in range(len(places))] if others else []
            batch = train.batch(self._device.share(places), self._device.share(beside), chance)
            if self._course.vary is not None and len(batch):
                batch = self._course.vary(batch, chance)
            yield batch.to(self._device.place)

    def _rate(self) -> float:
        steps = self._epochs * math.ceil(len(self._course.train) / self._plan.batch)
        return self._plan.rate * factor(self._step, steps, self._plan.warmup)

    def _learn(self, batch: Batch, rate: float) -> float:
        """One step; the loss of the whole batch over all processes, NaN where no step was made."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        self._network.train()
        if self._plan.batch_norm == "frozen":
            steady(self._network)
        weight = float(self._device.total(batch.weights_B.sum()))
        mine = self._room.run(lambda rows: self._backward(batch, weight, rows))
        loss = float(self._device.total(torch.tensor(mine, device=self._device.place)))
        self._device.add_gradients(self._parameters)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._plan.clip or math.inf)
        if not math.isfinite(loss) or not bool(norm.isfinite()):
            return math.nan
        self._optimiser.step()
        self._pull()
        self._average.update()
        self._step += 1
        return loss

    def _backward(self, batch: Batch, weight: float, rows: int) -> float:
        self._optimiser.zero_grad()
        total, apart = 0.0, self._plan.batch_norm == "frozen"
        for _, part in batch.parts(rows, apart):
            with self._device.autocast():
                loss = (self._course.objective(self._network, part) * part.weights_B).sum() / weight
            loss.backward()
            total += float(loss.detach())
        return total

    def _pull(self) -> None:
        """Every weight a little back to where it began, in proportion to its rate, as decoupled weight decay."""
        start = iter(self._start)
        for group in self._optimiser.param_groups:
            held = [parameter.detach() for parameter in group["params"]]
            torch._foreach_lerp_(held, [next(start) for _ in held], min(1.0, group["lr"] * self._plan.pull))

    def _measure(self, number: int, loss: float) -> None:
        """Score the averaged weights on the validation rows, keep them where the plan says so, and tell."""
        with self._average.in_place():
            self._network.eval()
            scores_NK = self._device.total(self._room.run(self._answers)).cpu()
            epoch = self._epoch(number, loss, of_tasks(self._laid, scores_NK, self._course.held.targets_NK))
            if self._history and self._course.chosen(self._history[0], self._history[self._best], epoch):
                self._best, self._kept = number, _copy(self._network)
        self._history.append(epoch)
        self._context.told(epoch)
        if not math.isfinite(epoch.validation_loss):
            raise _Stop(f"the validation loss was no number after epoch {number}")

    def _epoch(self, number: int, loss: float, held: tuple[float, float]) -> Epoch:
        """What is known after an epoch; ``held`` are the loss and the score of the validation rows."""
        seconds = self._seconds()
        each = (seconds - self._history[0].seconds) / number if number else math.nan
        return Epoch(
            number=number,
            loss=loss,
            validation_loss=held[0],
            validation_score=held[1],
            rate=max(group["lr"] for group in self._optimiser.param_groups) if number else 0.0,
            seconds=seconds,
            left=max(0.0, min((self._epochs - number) * each, self._context.budget - seconds)) if number else math.nan,
        )

    @torch.no_grad()
    def _answers(self, rows: int) -> torch.Tensor:
        """(N, K) scores of this process's share of the validation rows; zeros elsewhere."""
        held = self._course.held
        scores_NK = torch.zeros(held.targets_NK.shape, device=self._device.place)
        mine = self._device.share(range(len(held)))
        for start in range(0, len(mine), rows):
            at = torch.tensor(mine[start : start + rows])
            for places, part in held.batch(at.tolist()).to(self._device.place).parts(rows):
                with self._device.autocast():
                    scores_NK[at[places]] = self._network(part.inputs).scores_BK.float()
        return scores_NK

    def _look_ahead(self, number: int, seconds: float) -> None:
        """Plan for as many epochs as the time allows, so that the rate has fallen when they are over."""
        allowed = (
            number + int(max(0.0, self._context.budget - self._seconds()) / max(seconds, 1e-9))
            if (self._context.budget < math.inf)
            else self._epochs
        )
        fewer = int(self._device.least(min(allowed, self._epochs)))
        if fewer < self._epochs:
            self._epochs = fewer
            self._context.noted(f"the time allows {fewer} of {self._plan.epochs} epochs")

    def _seconds(self) -> float:
        return self._context.clock() - self._begun


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
