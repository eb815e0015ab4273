"""A small network that is pretrained on a source table, to be carried to other tables that share columns with it.

    each column's pieces -> sum of the columns' vectors (H) -> ReLU -> H -> ReLU = features -> answer (thrown away)

Numbers come as how far they fill the pieces between quantiles, categories as one place each; the first layer holds a
vector for every piece and place, so that a column can be left out, and is: in training each column is missing in a part
of the rows at random. Promises the same weights for the same rows and seed on the same machine, as safetensors beside
the source's schema. Knows nothing of the tables that it is carried to (exporters.table_transfer does that).

Reference: Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", arXiv 2203.05556
(quantile pieces with a linear layer); the column vectors add up as they do in any first layer.

Legend: B batch, N rows, P pieces and places of all columns, C columns, H width, K classes.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional

from core.errors import InvalidInput
from core.modality.tabular import CATEGORICAL, NUMERIC, RowPreprocessor
from core.preprocess import Inputs, Limits
from core.schema import FILE, Schema, canonical
from core.types import Doubles, Floats
from exporters.table_transfer import TENSORS, WEIGHTS, Place, places
from training.schema import Cell, Rows, infer

_LEAST = 20  # rows

Judge = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Schooling:
    """How the network is trained.

    Attributes:
        width: H. epochs: passes over the rows at most; it stops when ``patience`` of them bring nothing.
        rate: of AdamW. decay: its weight decay. batch: rows a step.
        missing: share of the columns that a row loses. dropout: of hidden units.
        held: share of the rows that tell when to stop.
    """

    width: int = 128
    epochs: int = 200
    patience: int = 20
    rate: float = 1e-3
    decay: float = 1e-2
    batch: int = 64
    missing: float = 0.2
    dropout: float = 0.1
    held: float = 0.2

    def __post_init__(self) -> None:
        """Check ranges."""
        if min(self.width, self.epochs, self.patience, self.batch) < 1:
            raise ValueError("width, epochs, patience and batch are at least 1")
        if not (0 <= self.missing < 1 and 0 <= self.dropout < 1 and 0 < self.held < 1):
            raise ValueError("missing, dropout and held are shares between 0 and 1")


class Network(torch.nn.Module):
    """What the rows show (B, P) to answers (B, K)."""

    def __init__(self, places_P: Sequence[Place], answers: int, plan: Schooling) -> None:
        super().__init__()
        self.first = torch.nn.Linear(len(places_P), plan.width)
        self.second = torch.nn.Linear(plan.width, plan.width)
        self.last = torch.nn.Linear(plan.width, answers)
        self.dropout = torch.nn.Dropout(plan.dropout)

    def forward(self, pieces_BP: torch.Tensor) -> torch.Tensor:
        """Answers; the features are what the last layer takes."""
        hidden_BH = self.dropout(functional.relu(self.first(pieces_BP)))
        answer: torch.Tensor = self.last(self.dropout(functional.relu(self.second(hidden_BH))))
        return answer


def pretrain(
    rows: Rows, targets: Sequence[Cell], folder: Path, *, seed: int = 0, plan: Schooling | None = None
) -> Path:
    """Train on tidied rows and what is to be told of them (words, or numbers); weights and schema into ``folder``.

    Raises:
        InvalidInput: too few rows, or nothing to tell apart.
    """
    plan = plan or Schooling()
    if len(rows) < _LEAST or len(rows) != len(targets) or len(set(targets)) < 2:
        raise InvalidInput(
            f"{len(rows)} rows with {len(set(targets))} different targets are too few to train a network on",
            f"give at least {_LEAST} rows, and two targets",
        )
    schema = infer(rows)
    reader = RowPreprocessor(schema, Limits())
    inputs = reader.batch([reader.read(canonical(row)) for row in rows])
    places_P = places(schema)
    wanted_NK, regression = _wanted(targets)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        pieces_NP = torch.tensor(encoded(schema, inputs), dtype=torch.float32)
        wanted = torch.tensor(wanted_NK, dtype=torch.float32)
        network = _fit(
            pieces_NP, wanted, places_P, functional.mse_loss if regression else functional.cross_entropy, plan
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_evened(network, pieces_NP), folder / WEIGHTS)
    (folder / FILE).write_bytes(schema.to_bytes())
    return folder


def encoded(schema: Schema, inputs: Inputs) -> Doubles:
    """(N, P): what the places of a schema are for rows that its preprocessor has read."""
    parts = [place.of(inputs[NUMERIC if place.number else CATEGORICAL]) for place in places(schema)]
    return np.stack(parts, axis=1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Steps this small lose by more threads, and their sums would depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wanted(targets: Sequence[Cell]) -> tuple[Doubles, bool]:
    """(N, K) one place a class, or (N, 1) standardised values; and which."""
    if all(isinstance(target, int | float) and not isinstance(target, bool) for target in targets):
        values_N = np.array(targets, np.float64)
        return ((values_N - values_N.mean()) / max(float(values_N.std()), 1e-12))[:, None], True
    classes, truth_N = np.unique(np.array([str(target) for target in targets]), return_inverse=True)
    return np.eye(len(classes))[truth_N], False


def _fit(
    pieces: torch.Tensor, wanted: torch.Tensor, places_P: Sequence[Place], judge: Judge, plan: Schooling
) -> Network:
    order = torch.randperm(len(pieces))
    cut = max(2, int(plan.held * len(pieces)))
    held, train = order[:cut], order[cut:]
    network = Network(places_P, wanted.shape[1], plan)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=plan.decay)
    columns = torch.tensor([place.column for place in places_P])
    absent = torch.tensor([float(place.missing) for place in places_P])
    best, kept, waited = float("inf"), copy.deepcopy(network.state_dict()), 0
    for _ in range(plan.epochs):
        network.train()
        for rows in torch.split(train[torch.randperm(len(train))], plan.batch):
            there = (torch.rand(len(rows), int(columns.max()) + 1) >= plan.missing)[:, columns]
            shown = torch.where(there, pieces[rows], absent)
            optimiser.zero_grad()
            judge(network(shown), wanted[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        network.eval()
        with torch.no_grad():
            loss = float(judge(network(pieces[held]), wanted[held]))
        waited += 1
        if loss < best:
            best, kept, waited = loss, copy.deepcopy(network.state_dict()), 0
        if waited >= plan.patience:
            break
    network.load_state_dict(kept)
    return network


def _evened(network: Network, pieces: torch.Tensor) -> dict[str, Floats]:
    """``TENSORS``, the second layer divided so that features have unit length in the mean (ReLU passes a factor on)."""
    held = {
        name: np.ascontiguousarray(value.numpy()) for name, value in network.state_dict().items() if name in TENSORS
    }
    with torch.no_grad():
        features = functional.relu(network.second(functional.relu(network.first(pieces))))
        size = max(float(features.norm(dim=1).mean()), 1e-6)
    return held | {name: held[name] / np.float32(size) for name in ("second.weight", "second.bias")}
