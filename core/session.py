"""A bundle's model in ONNX Runtime: the one extractor, of which every feature of the program comes.

Promises features exactly on the 16-bit grid, a head that can be swapped per call, and a BrokenBundle for bytes that
are no model of ours. Built from bytes, never from a path: ONNX Runtime then refuses weights in other files, so the
digest of the bytes covers all that runs. Safe to call from several threads. Knows nothing of bundles on disk, digests
or pictures.

Legend: B batch, D features, K classes, H height, W width.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from core.binding import Bound, Plan, buckets
from core.errors import BrokenBundle, InvalidInput, LeptonError
from core.execution import NO_GRAPH, Device, Gpu, gone, loss, open_session, pulse
from core.statistics import GRID
from core.tasks import ANSWERS, head_names, task_in
from core.types import Floats, GridRows, Head, Input, Task

logger = logging.getLogger(__name__)

_TYPES: dict[str, type[np.generic]] = {
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(float)": np.float32,
}


@dataclass(frozen=True)
class Output:
    """Answers to a batch.

    Attributes:
        outputs: (B, K) float32 probabilities, or (B, 1) float32 values for regression; of the first task.
        features: (B, D) int16 on the grid.
        further: the same as ``outputs`` for every other task, by name.
    """

    outputs: Floats
    features: GridRows
    further: Mapping[str, Floats] = field(default_factory=dict)


class Session:
    """A model ready to run.

    Attributes:
        inputs: name to shape and type, without the head.
        width: D. task: what the output means; of several, the first. further: what the others mean, by name.
        device: ``cpu``, ``cuda`` or ``tensorrt``, as chosen.
        lost: what was said when the GPU was lost to this process; None while it is there. It does not come back.
    """

    def __init__(
        self,
        model: bytes,
        threads: int = 1,
        device: Device = "cpu",
        gpu: Gpu | None = None,
        *,
        _bind: bool = False,
    ) -> None:
        """Build from the bytes of ``model.onnx`` with ``threads`` compute threads.

        Args:
            gpu: which one, and how it computes; the first, as by default, if None.
            _bind: bind buffers on the CPU as on a GPU, for tests.

        Raises:
            BrokenBundle: not a composed model; BadConfiguration: no such device.
        """
        gpu = gpu or Gpu()
        opened = open_session(model, threads, device, gpu)
        self._session, self.device = opened.session, opened.where
        self.lost: str | None = None
        self._index = gpu.index
        self._options = ort.RunOptions()
        if opened.graphs:
            self._options.add_run_config_entry("gpu_graph_id", NO_GRAPH)
        self.inputs = {argument.name: _input(argument) for argument in self._session.get_inputs()}
        head = {argument.name: argument.shape for argument in self._session.get_overridable_initializers()}
        outputs = {argument.name for argument in self._session.get_outputs()}
        answers = {name: kind for name in outputs if (kind := ANSWERS.get(name.partition(".")[0])) is not None}
        tasks = {task_in(name): name for name in answers}
        expected = {name for task in tasks for name in head_names(task)}
        if "features" not in outputs or len(tasks) != len(answers) or "" not in tasks or not expected <= head.keys():
            raise BrokenBundle(
                f"the model has outputs {sorted(outputs)} and replaceable inputs {sorted(head)}; expected features, "
                "one of probabilities and value, and head.weight and head.bias; of further tasks the same with names",
                "use a model.onnx written by lepton export",
            )
        self._answer = tasks.pop("")
        self._further = dict(sorted(tasks.items()))
        self.task: Task = answers[self._answer]
        self.further: dict[str, Task] = {task: answers[name] for task, name in self._further.items()}
        self.width = int(head["head.weight"][0])
        self._bound = self._buffers(gpu, graphs=opened.graphs) if _bind or self.device == "cuda" else None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures that the model takes."""
        image = self.inputs.get("image")
        if image is None or len(image.shape) != 3 or image.shape[0] is None or image.shape[1] is None:
            raise BrokenBundle(f"the model takes {sorted(self.inputs)}; expected image", "use an image model here")
        return image.shape[0], image.shape[1]

    def predict(self, inputs: Mapping[str, NDArray[Any]], head: Head | None = None) -> Output:
        """Answers and features of a batch, by ``head`` or by the one stored in the model.

        Raises:
            InvalidInput: inputs of other names, types or shapes than ``self.inputs``.
            BrokenBundle: the head does not fit, or the features are not on the grid.
        """
        feeds = self._checked(inputs)
        given = {} if head is None else self._head(head)
        answer, features_BD, *others = self._guarded(feeds, given, head)
        further = dict(zip(self._further, others, strict=True))
        return Output(outputs=answer, features=_on_grid(features_BD), further=further)

    def features(self, inputs: Mapping[str, NDArray[Any]]) -> GridRows:
        """Features alone: (B, D) int16 on the grid. Raises as ``predict``."""
        if self._bound is not None:
            return self.predict(inputs).features
        (features_BD,) = self._session.run(["features"], self._checked(inputs), self._options)
        return _on_grid(features_BD)

    def sizes(self, max_batch: int) -> tuple[int, ...]:
        """Batch sizes to run once before serving, since the first run of each is slow."""
        return tuple(sorted({1, max_batch})) if self._bound is None else buckets(max_batch)

    def _guarded(
        self, feeds: dict[str, NDArray[Any]], given: dict[str, NDArray[Any]], head: Head | None
    ) -> Sequence[Floats]:
        """One run, never on a GPU that was lost before."""
        if self.lost is not None:
            raise gone(self.lost)
        try:
            return self._run(feeds, given, head)
        except LeptonError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no public base
            self.lost = loss(error) or (pulse(self._index) if self.device != "cpu" else None)
            if self.lost is None:
                raise
            logger.critical("the GPU is lost to this process: %s", self.lost)
            raise gone(self.lost) from error

    def _run(
        self, feeds: dict[str, NDArray[Any]], given: dict[str, NDArray[Any]], head: Head | None
    ) -> Sequence[Floats]:
        """Answers, features, and answers of the further tasks."""
        if self._bound is not None:
            return self._bound.run(feeds, head)
        wanted = [self._answer, "features", *self._further.values()]
        found: list[Floats] = self._session.run(wanted, feeds | given, self._options)
        return found

    def _buffers(self, gpu: Gpu, *, graphs: bool) -> Bound | None:
        """Buffers that stay, where every axis but that of the batch is fixed."""
        shapes = {
            name: (tuple(axis for axis in each.shape if axis is not None), each.dtype)
            for name, each in self.inputs.items()
        }
        if any(None in each.shape for each in self.inputs.values()):
            return None
        where: Literal["cpu", "cuda"] = "cpu" if self.device == "cpu" else "cuda"
        plan = Plan(
            inputs=shapes,
            answers={"": self._answer, **self._further},
            width=self.width,
            where=where,
            index=gpu.index if where == "cuda" else 0,
            graphs=graphs,
            max_batch=gpu.max_batch,
        )
        return Bound(self._session, plan)

    def _checked(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if inputs.keys() != self.inputs.keys():
            raise InvalidInput(f"inputs are {sorted(inputs)}; expected {sorted(self.inputs)}", "send exactly those")
        for name, value in inputs.items():
            want = self.inputs[name]
            fits = len(value.shape) == len(want.shape) + 1 and len(value) > 0
            fits = fits and all(w is None or w == v for w, v in zip(want.shape, value.shape[1:], strict=True))
            if not fits or value.dtype != want.dtype:
                raise InvalidInput(
                    f"input {name} is {value.dtype} {value.shape}; expected {want.dtype} (batch, {want.shape})",
                    "decode it with core.modality to the session's size",
                )
        return dict(inputs)

    def _head(self, head: Head) -> dict[str, NDArray[Any]]:
        if head.further.keys() != self.further.keys():
            raise BrokenBundle(
                f"the head has the further tasks {sorted(head.further)}, the model {sorted(self.further)}",
                "use a head that was solved for this version",
            )
        self._check(head, self.task)
        given: dict[str, NDArray[Any]] = {"head.weight": head.weight, "head.bias": head.bias}
        for task, other in head.further.items():
            self._check(other, self.further[task])
            given |= zip(head_names(task), (other.weight, other.bias), strict=True)
        return given

    def _check(self, head: Head, task: Task) -> None:
        rows, columns = head.weight.shape
        if rows != self.width or head.bias.shape != (columns,) or (task == "regression" and columns != 1):
            raise BrokenBundle(
                f"a head of {head.weight.shape} with bias {head.bias.shape} does not fit {self.width} features of a "
                f"{task} model",
                "use a head that was solved on this version's features",
            )


def _input(argument: ort.NodeArg) -> Input:
    if argument.type not in _TYPES:
        raise BrokenBundle(
            f"input {argument.name} has type {argument.type}; expected one of {', '.join(_TYPES)}",
            "use a model.onnx written by lepton export",
        )
    shape = tuple(axis if isinstance(axis, int) else None for axis in argument.shape[1:])
    return Input(shape=shape, dtype=np.dtype(_TYPES[argument.type]))


def _on_grid(features_BD: Floats) -> GridRows:
    """float32 multiples of 2**-15 as int16, exactly."""
    steps_BD = features_BD * np.float32(GRID)
    with np.errstate(invalid="ignore"):  # whatever NaN and numbers out of range become, they do not equal it
        grid_BD: GridRows = steps_BD.astype(np.int16)
    if not (grid_BD == steps_BD).all():
        raise BrokenBundle(
            "the model's features are not finite multiples of 2**-15 in [-1, 1)",
            "compose the model with exporters.compose, and check the backbone on these inputs",
        )
    return grid_BD
