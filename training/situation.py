"""What a method of ``training.transfer`` is given, and the new graph built from what it changed.

Promises that transforms stay those of the source: they were measured on its rows. Knows nothing of methods.

Legend: N source rows, M target rows, D features.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.preprocess import Row
from core.session import Session
from core.types import GridRows, Head, Scene
from exporters import parity
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose, extractor_name
from exporters.transform import Transform
from training import tuned
from training.assemble import Assembly

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Labels there, inputs here.

    Attributes:
        assembly: of the source. head: of the first task, solved there.
        source_ND, target_MD: features of the source's training rows and of the target's inputs, by the assembly.
        target: those inputs, as the preprocessor reads them.
    """

    scene: Scene
    assembly: Assembly
    head: Head = field(repr=False)
    source_ND: GridRows = field(repr=False)
    target_MD: GridRows = field(repr=False)
    target: Sequence[Row] = field(repr=False)
    seed: int = 0

    def order(self, chance: np.random.Generator | None = None) -> list[NDArray[np.intp]]:
        """Places of the target's inputs, a batch at a time: as they lie, or as ``chance`` draws them."""
        places = np.arange(len(self.target)) if chance is None else chance.permutation(len(self.target))
        return [places[start : start + BATCH] for start in range(0, len(places), BATCH)]

    def inputs(self, places: NDArray[np.intp]) -> dict[str, torch.Tensor]:
        """Some of the target's inputs as the backbone takes them."""
        batch = self.assembly.preprocessor.batch([self.target[place] for place in places])
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def bodies(situation: Situation, method: str) -> tuple[Backbone, torch.nn.Module, Transform]:
    """The one backbone, a copy of its torch module to be moved, and its transform.

    Raises:
        InvalidInput: it is an ONNX graph, or there are several.
    """
    if len(situation.assembly.backbones) != 1:
        raise InvalidInput(f"{method} adapts one backbone, and the model has several", "name one with --backbone")
    (backbone,), (transform,) = situation.assembly.backbones, situation.assembly.transforms
    if not isinstance(backbone.body, torch.nn.Module):
        raise InvalidInput(f"{backbone.name} is an ONNX graph, whose weights cannot be moved", "use a torch backbone")
    return backbone, copy.deepcopy(backbone.body), transform


def norms(body: torch.nn.Module, name: str) -> list[torch.nn.BatchNorm1d | torch.nn.BatchNorm2d]:
    """The layers that normalise by statistics of the source.

    Raises:
        InvalidInput: there is none.
    """
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    found = [module for module in body.modules() if isinstance(module, kinds) and module.running_mean is not None]
    if not found:
        raise InvalidInput(
            f"{name} has no batch normalisation", "choose a convolutional backbone, such as timm:resnet18"
        )
    return found


def moved(situation: Situation, backbone: Backbone, body: torch.nn.Module, method: str) -> Assembly:
    """The graph with another body in it, compared with that body on inputs of the target.

    Raises:
        ParityFailed: they differ by more than the backbone's tolerance.
    """
    made = tuned.moved(backbone, body, method)
    (transform,) = situation.assembly.transforms
    scene = situation.scene
    graph = member(made)  # kept nowhere: what was tuned on people's inputs is theirs
    alone = Member(graph=graph, transform=transform)
    model = compose([alone], task=scene.task, offset=scene.offset, scale=scene.scale, further=scene.further)
    assembly = with_model(replace(situation.assembly, backbones=(made,)), model)
    shown = [situation.target[place % len(situation.target)] for place in range(parity.ROWS)]
    parity.check(assembly.parts, model, assembly.preprocessor.batch(shown))
    return assembly


def with_model(assembly: Assembly, model: bytes) -> Assembly:
    """The assembly with another graph of the same inputs."""
    session = Session(model, threads=torch.get_num_threads())
    return replace(assembly, model=model, session=session, extractor=extractor_name(model, assembly.preprocessor.key))
