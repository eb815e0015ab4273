"""Versions of one architecture as one set of weights.

Promises weights that are those of the versions: kept ones from their blobs, untouched ones from where they came, by
their digest. BatchNorm's statistics are estimated again on training rows wherever the versions saw different ones and
the weights are those of no version. Choices are made on features by torch, a step of rounding away from what is served;
the evidence is measured on features by ONNX Runtime. Knows nothing of single methods.

Legend: N rows, D features, M models.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch

from core.errors import InvalidInput
from core.head import HeadState, Row
from core.home import Home
from core.statistics import VALUE, to_grid
from core.types import Doubles, GridRows, Head
from exporters.backbone import Backbone
from exporters.parity import Parity
from exporters.transform import Kind, Transform, apply
from training import features, package, rebuilt, tuned, zoo
from training.assemble import Assembly, assemble, measured
from training.merge import batchnorm, members
from training.merge.bench import Bench
from training.merge.information import diagonal
from training.merge.parents import Parent
from training.merge.proposal import Proposal, evidence
from training.merge.weights import Given, Soup, State, check_alike, names
from training.tune.network import Network, Tensors
from training.zoo import Setting

BATCH = 16
INFORMED = 64  # rows on which the Fisher information is estimated
REMEDY = "fuse their features or logits instead (--method features, --method logits)"


def propose(home: Home, bench: Bench, method: str, module: ModuleType, config: Any) -> Proposal:
    """The fusion by a method of weights.

    Raises:
        InvalidInput: versions without weights of one architecture; ParityFailed: the graph is not faithful.
    """
    backbones = [restored(home, parent) for parent in bench.parents]
    order = sorted(range(len(backbones)), key=lambda place: bool(backbones[place].recipe))  # the original goes first
    kind, rows = cast("Kind", bench.parents[0].manifest.transform), bench.given
    kitchen = Kitchen(kind, batches(bench), [backbones[place] for place in order], rows)
    soup: Soup = module.fuse(kitchen.given, config)
    body = kitchen.filled(soup.state)
    fused = tuned.moved(backbones[0], body, method)
    assembly, parity, outcomes_J = measured_by_onnx(home, bench, rows, fused, kind)
    alphas = [soup.alphas[order.index(place)] for place in range(len(order))]
    without = [kitchen.without(order.index(place), module, config) for place in range(len(order))]
    numbers = [bench.parents[place].version.number for place in order]
    tried = {
        re.sub(r"model (\d+)", lambda match: f"version {numbers[int(match[1]) - 1]}", words): found
        for words, found in soup.tried.items()
    }
    fusion = evidence(method, rows, outcomes_J, alphas, without, tried, dict(soup.chosen))
    return Proposal(assembly=assembly, parity=parity, fusion=fusion, transform=kind, slower=False)


def measured_by_onnx(
    home: Home, bench: Bench, rows: members.Given, backbone: Backbone, kind: Kind
) -> tuple[Assembly, Parity, Doubles]:
    """A backbone as it would be served, its parity, and what each judged row counts by it.

    Raises:
        ParityFailed: the graph is not faithful.
    """
    assembly = assemble([backbone], kind, bench.scene, home.cache, bench.examples, os.cpu_count() or 1, home.limits)
    parity = package.check_parity(assembly, bench.examples)
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, bench.examples, None)
    return assembly, parity, members.outcomes(rows, members.held_out(rows, rows_ND))


def restored(home: Home, parent: Parent) -> Backbone:
    """The backbone of a version, with its weights.

    Raises:
        InvalidInput: it has several, its weights were not kept or are gone, or it is an ONNX graph.
    """
    backbone = rebuilt.backbone(parent.bundle, home.artifacts, f"version {parent.name}", REMEDY)
    if not isinstance(backbone.body, torch.nn.Module):
        raise InvalidInput(f"version {parent.name} is an ONNX graph, whose weights cannot be fused", REMEDY)
    return backbone


@dataclass
class Models:
    """Models of one architecture, and what any weights between them make of rows.

    Args:
        kind: how features are scaled. batches: the rows as the models take them.
        backbones: M models of one architecture, as far as is known.
    """

    kind: Kind
    batches: Sequence[Tensors]
    backbones: Sequence[Backbone]

    def __post_init__(self) -> None:
        """Check that the models are alike."""
        self.states = [_state(backbone) for backbone in self.backbones]
        for number, state in enumerate(self.states[1:], 2):
            check_alike(self.states[0], state, f"model {number}")
        self._moved_norms = batchnorm.differ(self.states)

    def filled(self, state: State) -> torch.nn.Module:
        """A module with these weights, its BatchNorm's statistics right for them."""
        body = self.backbones[0].body
        assert isinstance(body, torch.nn.Module), "restored() lets nothing else pass"
        body = copy.deepcopy(body)
        whose = next((held for held in self.states if _same(held, state)), None)
        body.load_state_dict(dict(whose if whose is not None else state), strict=True)
        if whose is None and self._moved_norms:
            batchnorm.estimate(body, self.batches)
        return body.eval()

    @torch.inference_mode()
    def features(self, body: torch.nn.Module) -> tuple[Transform, GridRows]:
        """The transform, measured where it has to be, and (N, D) features of the rows."""
        raw_ND = np.concatenate([body(**batch).float().numpy() for batch in self.batches])
        transform = measured(self.kind, raw_ND)
        return transform, to_grid(apply(transform, raw_ND))


@dataclass
class Kitchen(Models):
    """What a method of weights needs beside the weights: scores and information, on rows.

    Args:
        rows: targets, and who may judge.
    """

    rows: members.Given

    @property
    def given(self) -> Given:
        """As a method takes it."""
        first = self.backbones[0]
        base = first
        if first.recipe:
            size = first.size[0] if "image" in first.inputs else None
            base = zoo.load(first.zoo_name, Setting(size=size, files=first.files))
        return Given(states=self.states, base=_state(base), score=self.score, fisher=self.fisher)

    def score(self, state: State) -> float:
        """The leave-one-out score on the rows that judge."""
        held_NK = members.held_out(self.rows, self.features(self.filled(state))[1])
        return members.score(self.rows, members.outcomes(self.rows, held_NK))

    def fisher(self, state: State) -> State:
        """The information of weights under their own head."""
        body = self.filled(state)
        transform, rows_ND = self.features(body)
        network = Network(body, transform, self.head(rows_ND))
        each = [{n: a[i : i + 1] for n, a in batch.items()} for batch in self.batches for i in range(_count(batch))]
        return diagonal(network, each[:INFORMED], self.rows.seed, self.rows.task)

    def without(self, place: int, module: ModuleType, config: Any) -> float | None:
        """The score of the other models, fused alike; None where the method takes no fewer."""
        rest = [state for other, state in enumerate(self.states) if other != place]
        if len(rest) == 1:
            return self.score(rest[0])
        return self.score(module.fuse(replace(self.given, states=rest), config).state)

    def head(self, rows_ND: GridRows, learned_N: members.Flags | None = None) -> Head:
        """The closed-form head of some rows, all by default; columns as in the targets, zeros where a row lacks."""
        chosen_N = np.ones(len(rows_ND), np.bool_) if learned_N is None else learned_N
        state = HeadState(rows_ND.shape[1], task=self.rows.task)
        state.add(_row(place, rows_ND[place], self.rows) for place in np.flatnonzero(chosen_N).tolist())
        head = state.solve()
        assert head is not None, "classes of a single example are not drawn"
        columns = self.rows.targets_NK.shape[1]
        if self.rows.task == "regression" or len(head.labels) == columns:
            return head
        weight_DK, bias_K = np.zeros((rows_ND.shape[1], columns), np.float32), np.zeros(columns, np.float32)
        known = [int(label) for label in head.labels]
        weight_DK[:, known], bias_K[known] = head.weight, head.bias
        return replace(head, weight=weight_DK, bias=bias_K, labels=tuple(map(_column, range(columns))))


def batches(bench: Bench) -> list[Tensors]:
    """The rows as a network takes them."""
    preprocessor, made = bench.parents[0].preprocessor, list[Tensors]()
    for start in range(0, len(bench.examples), BATCH):
        rows = [features.read(example, preprocessor) for example in bench.examples[start : start + BATCH]]
        made.append({name: torch.from_numpy(array) for name, array in preprocessor.batch(rows).items()})
    return made


def _row(place: int, features_D: GridRows, rows: members.Given) -> Row:
    target_K = rows.targets_NK[place]
    if rows.task == "regression":
        return Row(str(place), features_D, VALUE, int(to_grid(target_K)[0]), 1)
    return Row(str(place), features_D, _column(int(target_K.argmax())), None, 1)


def _column(number: int) -> str:
    """A name that sorts as the number does."""
    return f"{number:09}"


def _state(backbone: Backbone) -> State:
    assert isinstance(backbone.body, torch.nn.Module), "restored() lets nothing else pass"
    return {name: tensor.detach() for name, tensor in backbone.body.state_dict().items()}


def _same(one: State, other: State) -> bool:
    return all(torch.equal(one[name], other[name]) for name in names(one))


def _count(batch: Tensors) -> int:
    return len(next(iter(batch.values())))
