"""A bundle's model in ONNX Runtime: the one extractor, of which every feature of the program comes.

Promises features exactly on the 16-bit grid, a head that can be swapped per call, and a BrokenBundle for bytes that
are no model of ours. Built from bytes, never from a path: ONNX Runtime then refuses weights in other files, so the
digest of the bytes covers all that runs. Safe to call from several threads. Knows nothing of bundles on disk, digests
or pictures.

Legend: B batch, D features, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from core.errors import BadConfiguration, BrokenBundle, InvalidInput
from core.statistics import GRID
from core.types import Floats, GridRows, Head, Task

Device = Literal["cpu", "cuda", "auto"]

_SILENT = 4  # only fatal messages: overridable heads would otherwise warn twice a session
_TYPES: dict[str, type[np.generic]] = {
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(float)": np.float32,
}


@dataclass(frozen=True)
class Input:
    """One input of the model: its shape without the batch axis (None where it may vary) and its element type."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Output:
    """Answers to a batch.

    Attributes:
        outputs: (B, K) float32 probabilities, or (B, 1) float32 values for regression.
        features: (B, D) int16 on the grid.
    """

    outputs: Floats
    features: GridRows


class Session:
    """A model ready to run.

    Attributes:
        inputs: name to shape and type, without the head.
        width: D. task: what the output means. device: ``cpu`` or ``cuda``, as chosen.
    """

    def __init__(self, model: bytes, threads: int = 1, device: Device = "cpu") -> None:
        """Build from the bytes of ``model.onnx`` with ``threads`` compute threads.

        Raises:
            BrokenBundle: not a composed model; BadConfiguration: no such device.
        """
        self._session, self.device = _build(model, threads, device)
        self._options = ort.RunOptions()
        if self.device == "cuda":  # on the CPU the arena stays: malloc would keep more, in pieces, and every run slower
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "gpu:0")
        self.inputs = {argument.name: _input(argument) for argument in self._session.get_inputs()}
        head = {argument.name: argument.shape for argument in self._session.get_overridable_initializers()}
        outputs = {argument.name for argument in self._session.get_outputs()}
        answers = outputs & {"probabilities", "value"}
        if "features" not in outputs or len(answers) != 1 or not {"head.weight", "head.bias"} <= head.keys():
            raise BrokenBundle(
                f"the model has outputs {sorted(outputs)} and replaceable inputs {sorted(head)}; expected features, "
                "one of probabilities and value, and head.weight and head.bias",
                "use a model.onnx written by lepton export",
            )
        self._answer = answers.pop()
        self.task: Task = "regression" if self._answer == "value" else "classification"
        self.width = int(head["head.weight"][0])

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
        if head is not None:
            feeds |= self._head(head)
        answer, features_BD = self._session.run([self._answer, "features"], feeds, self._options)
        return Output(outputs=answer, features=_on_grid(features_BD))

    def features(self, inputs: Mapping[str, NDArray[Any]]) -> GridRows:
        """Features alone: (B, D) int16 on the grid. Raises as ``predict``."""
        (features_BD,) = self._session.run(["features"], self._checked(inputs), self._options)
        return _on_grid(features_BD)

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
        rows, columns = head.weight.shape
        if rows != self.width or head.bias.shape != (columns,) or (self.task == "regression" and columns != 1):
            raise BrokenBundle(
                f"a head of {head.weight.shape} with bias {head.bias.shape} does not fit {self.width} features of a "
                f"{self.task} model",
                "use a head that was solved on this version's features",
            )
        return {"head.weight": head.weight, "head.bias": head.bias}


def _build(model: bytes, threads: int, device: Device) -> tuple[ort.InferenceSession, Literal["cpu", "cuda"]]:
    if threads < 1:
        raise BadConfiguration(f"threads is {threads}; expected at least 1", "give each worker one thread or more")
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # Python threads share these cores
    if device != "cpu" and _has_gpu():
        session = _open(model, options, ["CUDAExecutionProvider", "CPUExecutionProvider"])
        if session.get_providers()[0] == "CUDAExecutionProvider":
            return session, "cuda"
    if device == "cuda":
        raise BadConfiguration(
            "device is cuda, but ONNX Runtime finds no usable NVIDIA GPU here",
            "install the driver and onnxruntime-gpu[cuda,cudnn], or set device to auto or cpu",
        )
    return _open(model, options, ["CPUExecutionProvider"]), "cpu"


def _open(model: bytes, options: ort.SessionOptions, providers: list[str]) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=False)
    except Exception as error:  # ONNX Runtime has a class of its own for each way in which bytes can be wrong
        raise BrokenBundle(
            f"the {len(model)} bytes of the model cannot be loaded: {str(error)[:300]}",
            "fetch the bundle again, or roll back to a version that loads",
        ) from error


def _has_gpu() -> bool:
    """Whether an NVIDIA device is in sight. The CUDA provider is listed on machines without one, too."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return False
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    ort.preload_dlls()
    return True


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
    grid_BD: GridRows = np.nan_to_num(steps_BD).clip(-GRID, GRID - 1).astype(np.int16)
    if not np.array_equal(grid_BD, steps_BD):  # NaN became 0, which NaN does not equal
        raise BrokenBundle(
            "the model's features are not finite multiples of 2**-15 in [-1, 1)",
            "compose the model with exporters.compose, and check the backbone on these inputs",
        )
    return grid_BD
