"""Parts of ONNX graphs that hear: spectra as convolutions, pooling over time, the mean of a sound's windows.

Promises plain nodes that run on every provider (STFT is slow on CPUs and has no CUDA kernel, so a spectrum is a
convolution with cosines and sines), batch rows that know nothing of each other, no weight for silence that only fills
up (frames and windows of exact zeros), and zeros for a sound that is silent throughout. Knows nothing of where weights
come from.

Legend: B batch, W windows of a sound, N = B W, S samples of a window, L samples of a frame, T frames, F frequencies,
M mel bands, D features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from core.modality.audio import KEY, Windows
from core.types import Doubles, Floats
from exporters.compose import OPSET

_IR = 10
_TINY = 1e-9  # smallest sum of weights that is divided by


class Graph:
    """A graph in the making; every method adds nodes and returns the name of the tensor that they make."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """One node of one output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: object, kind: type[np.generic] = np.float32) -> str:
        """A stored array."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=kind), name))
        return name

    def axes(self, *axes: int) -> str:
        """Axes, sizes or permutations as ONNX wants them."""
        return self.constant(axes, np.int64)

    def windows(self, samples: int) -> str:
        """The input, (B, W, S), as windows (N, S)."""
        return self.add("Reshape", KEY, self.axes(-1, samples))

    def spectrum(self, windows: str, cosines_FL: Floats, sines_FL: Floats, hop: int) -> str:
        """Power of each frequency in each frame: (N, S) to (N, F, T)."""
        wave = self.add("Unsqueeze", windows, self.axes(1))
        parts = []
        for basis_FL in (cosines_FL, sines_FL):
            part = self.add("Conv", wave, self.constant(basis_FL[:, None, :]), strides=[hop])
            parts.append(self.add("Mul", part, part))
        return self.add("Add", *parts)

    def frames(self, spectrum: str, bands_FM: Floats) -> str:
        """Power in bands, time first: (N, F, T) to (N, T, M)."""
        return self.add("MatMul", self.add("Transpose", spectrum, perm=[0, 2, 1]), self.constant(bands_FM))

    def sounding(self, windows: str, size: int, hop: int) -> str:
        """(N, T): 1 for a frame of ``size`` samples that holds a sample other than 0, else 0."""
        loud = self.add("Unsqueeze", self.add("Abs", windows), self.axes(1))
        peaks = self.add("MaxPool", loud, kernel_shape=[size], strides=[hop])
        above = self.add("Greater", self.add("Squeeze", peaks, self.axes(1)), self.constant(0.0))
        return self.add("Cast", above, to=TensorProto.FLOAT)

    def shares(self, weights: str) -> str:
        """Weights (N, T) divided by their sum; zeros where all are."""
        total = self.add("ReduceSum", weights, self.axes(1), keepdims=1)
        return self.add("Div", weights, self.add("Max", total, self.constant(_TINY)))

    def mean(self, values: str, shares: str) -> str:
        """Weighted mean over time: (N, T, D) and (N, T) to (N, D)."""
        row = self.add("Unsqueeze", shares, self.axes(1))
        return self.add("Squeeze", self.add("MatMul", row, values), self.axes(1))

    def deviation(self, values: str, shares: str) -> str:
        """Weighted standard deviation over time: (N, T, D) and (N, T) to (N, D)."""
        centre = self.add("Unsqueeze", self.mean(values, shares), self.axes(1))
        apart = self.add("Sub", values, centre)
        return self.add("Sqrt", self.mean(self.add("Mul", apart, apart), shares))

    def course(self, values: str, shares: str, frames: int, waves: int) -> str:
        """How values run over the sounding part: (N, T, D) to (N, waves D), by 0, 1, 2 … half waves of a cosine.

        A frame's place is the share of sound before its middle, so that slow and quick speech look alike.
        """
        before_TT = np.triu(np.ones((frames, frames)), 1) + 0.5 * np.eye(frames)
        places = self.add("MatMul", shares, self.constant(before_TT))
        parts = []
        for wave in range(waves):
            turned = self.add("Cos", self.add("Mul", places, self.constant(np.pi * wave)))
            parts.append(self.mean(values, self.add("Mul", shares, turned)))
        return self.add("Concat", *parts, axis=1)

    def sound(self, features: str, dimension: int) -> str:
        """Windows (N, D) to sounds (B, D): the mean of those windows that hold anything but zeros."""
        peaks = self.add("ReduceMax", self.add("Abs", KEY), self.axes(2), keepdims=0)
        held = self.add("Cast", self.add("Greater", peaks, self.constant(0.0)), to=TensorProto.FLOAT)
        shape = self.add("Concat", self.add("Shape", held), self.axes(dimension), axis=0)
        return self.mean(self.add("Reshape", features, shape), self.shares(held))

    def member(self, raw: str, windows: Windows, dimension: int) -> bytes:
        """The member graph: ``audio`` float32 [batch, windows, S] in, ``raw`` float32 [batch, D] out."""
        self.nodes.append(helper.make_node("Identity", [raw], ["raw"]))
        entry = helper.make_tensor_value_info(KEY, TensorProto.FLOAT, ["batch", "windows", windows.samples])
        leave = helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", dimension])
        graph = helper.make_graph(self.nodes, "member", [entry], [leave], self.constants)
        model: ModelProto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR, producer_name="lepton"
        )
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def fourier(size: int, length: int) -> tuple[Floats, Floats]:
    """Cosines and sines (F, L) of a Fourier transform of ``size`` under a Hann window of ``length``, in the middle."""
    hann_L = np.zeros(size)
    first = (size - length) // 2
    hann_L[first : first + length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    phase_FL = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    return (np.cos(phase_FL) * hann_L).astype(np.float32), (np.sin(phase_FL) * hann_L).astype(np.float32)


def mel(size: int, rate: int, bands: int, lowest: float, highest: float) -> Floats:
    """Triangular bands (F, M), evenly spaced on the mel scale of O'Shaughnessy (1987), each of height 1; Hz."""
    first, last = (2595 * math.log10(1 + edge / 700) for edge in (lowest, highest))
    return triangles(size, rate, 700 * (10 ** (np.linspace(first, last, bands + 2) / 2595) - 1))


def triangles(size: int, rate: int, edges: Doubles) -> Floats:
    """Bands (F, M) that rise from edge to edge and fall to the next one; ``edges`` are M + 2 frequencies in Hz."""
    frequency_F1 = (np.arange(size // 2 + 1) * rate / size)[:, None]
    rising = (frequency_F1 - edges[:-2]) / np.diff(edges[:-1])
    falling = (edges[2:] - frequency_F1) / np.diff(edges[1:])
    bands_FM: Floats = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return bands_FM


def count(samples: int, size: int, hop: int) -> int:
    """T: frames of ``size`` samples in a window."""
    return (samples - size) // hop + 1
