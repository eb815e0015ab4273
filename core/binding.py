"""Runs a session with buffers that stay where they are: inputs, head and outputs of each batch size, used again and
again, so that a GPU copies no more than it must and can replay a captured run.

Promises the very answers of a plain run, whatever sizes and heads follow each other and whichever threads ask. One run
at a time, all of them in one thread of its own: ONNX Runtime keeps captured graphs by thread. Knows nothing of lost
devices. Every axis of an input but that of the batch is fixed.

Legend: B batch, K classes, D features, T tasks. A bucket is a batch size that is run: 1, 2, 4, 8 … up to the largest.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from core.execution import NO_GRAPH
from core.tasks import head_names
from core.types import Floats, Head

CLASS_COUNTS = 4  # whose buffers and graphs are kept at a time; each new class makes another

Arrays = Mapping[str, NDArray[Any]]
Counts = tuple[int, ...]  # K of every task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is bound, and where.

    Attributes:
        inputs: name to shape (without the batch axis) and type, without the head.
        answers: task to the name of its output, the first task, whose name is empty, first.
        width: D.
        where: ``cuda``, or ``cpu`` in tests. index: of the device.
        graphs: whether runs are captured and replayed.
        max_batch: the largest bucket.
    """

    inputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    answers: Mapping[str, str]
    width: int
    where: Literal["cpu", "cuda"]
    index: int
    graphs: bool
    max_batch: int


@dataclass(eq=False)
class _Entry:
    """The inputs of one bucket: on the host, where rows are padded, and on the device."""

    host: dict[str, NDArray[Any]]
    device: dict[str, Any]
    features: Any


@dataclass(eq=False)
class _Weights:
    """The heads' buffers for one number of classes of each, by name, and whose numbers are in them."""

    buffers: dict[str, Any]
    holder: Head | None = None


@dataclass(eq=False)
class _Lane:
    """One bucket with one number of classes of each task: what is bound, and the options that name its graph."""

    binding: Any
    answers: list[Any]
    options: ort.RunOptions
    graph: int


def buckets(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4, 8 … and ``max_batch`` itself.

    >>> buckets(12)
    (1, 2, 4, 8, 12)
    """
    powers = itertools.takewhile(lambda size: size < max_batch, (2**n for n in itertools.count()))
    return (*powers, max_batch)


class Bound:
    """A session with its buffers."""

    def __init__(self, session: ort.InferenceSession, plan: Plan) -> None:
        self._session = session
        self._plan = plan
        self._buckets = buckets(plan.max_batch)
        self._entries: dict[int, _Entry] = {}
        self._weights: OrderedDict[Counts, _Weights] = OrderedDict()
        self._lanes: dict[tuple[int, Counts, bool], _Lane] = {}
        self._graphs = itertools.count(1)
        self._stored: Counts = ()  # K of each head in the model; empty where it was not needed yet
        self._thread = ThreadPoolExecutor(1, "device")

    def run(self, feeds: Arrays, head: Head | None) -> list[Floats]:
        """Answers (B, K) and features (B, D), by ``head`` or by the one stored in the model; then answers of further
        tasks."""
        return self._thread.submit(self._in_parts, feeds, head).result()

    def _in_parts(self, feeds: Arrays, head: Head | None) -> list[Floats]:
        rows, most = len(next(iter(feeds.values()))), self._plan.max_batch
        parts = [
            self._run({name: array[start : start + most] for name, array in feeds.items()}, head)
            for start in range(0, rows, most)
        ]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def _run(self, feeds: Arrays, head: Head | None) -> list[Floats]:
        rows = len(next(iter(feeds.values())))
        bucket = next(size for size in self._buckets if size >= rows)
        if head is None:
            classes = self._classes(feeds)
        else:
            classes = tuple(head.of(task).weight.shape[1] for task in self._plan.answers)
            self._refresh(classes, head)
        lane = self._lane(bucket, classes, stored=head is None)
        entry = self._entries[bucket]
        for name, array in feeds.items():
            entry.device[name].update_inplace(_padded(array, entry.host[name]))
        self._session.run_with_iobinding(lane.binding, lane.options)
        first, *others = lane.answers
        return [value.numpy()[:rows].copy() for value in (first, entry.features, *others)]

    def _classes(self, feeds: Arrays) -> Counts:
        """K of the stored heads, which the graph alone knows: by one run of one row, never captured."""
        if not self._stored:
            options = ort.RunOptions()
            options.add_run_config_entry("gpu_graph_id", NO_GRAPH)
            one = {name: array[:1] for name, array in feeds.items()}
            found = self._session.run(list(self._plan.answers.values()), one, options)
            self._stored = tuple(answer_1K.shape[1] for answer_1K in found)
        return self._stored

    def _refresh(self, classes: Counts, head: Head) -> None:
        """Have this head's numbers in the buffers of its numbers of classes."""
        held = self._weights.get(classes)
        if held is None:
            made: dict[str, Any] = {}
            for task, count in zip(self._plan.answers, classes, strict=True):
                weight, bias = head_names(task)
                made[weight] = self._buffer((self._plan.width, count), np.float32)
                made[bias] = self._buffer((count,), np.float32)
            held = self._weights[classes] = _Weights(made)
            if len(self._weights) > CLASS_COUNTS:
                self._forget(self._weights.popitem(last=False)[0])
        self._weights.move_to_end(classes)
        if held.holder is not head:
            held.holder = None  # half written, should the device fail now
            for task in self._plan.answers:
                for name, array in zip(head_names(task), (head.of(task).weight, head.of(task).bias), strict=True):
                    held.buffers[name].update_inplace(np.ascontiguousarray(array, np.float32))
            held.holder = head

    def _forget(self, classes: Counts) -> None:
        """Let go of a number of classes; a graph's number is never used again, so that none outlives its buffers."""
        for key in [key for key in self._lanes if key[1] == classes and not key[2]]:
            self._session.release_captured_graph(self._lanes.pop(key).graph)

    def _lane(self, bucket: int, classes: Counts, *, stored: bool) -> _Lane:
        lane = self._lanes.get((bucket, classes, stored))
        if lane is not None:
            return lane
        entry = self._entry(bucket)
        binding, answers = self._session.io_binding(), [self._buffer((bucket, k), np.float32) for k in classes]
        for name, value in entry.device.items():
            binding.bind_ortvalue_input(name, value)
        if not stored:
            for name, value in self._weights[classes].buffers.items():
                binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._plan.answers.values(), answers, strict=True):
            binding.bind_ortvalue_output(name, value)
        binding.bind_ortvalue_output("features", entry.features)
        graph, options = next(self._graphs), ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph) if self._plan.graphs else NO_GRAPH)
        lane = self._lanes[bucket, classes, stored] = _Lane(binding, answers, options, graph)
        return lane

    def _entry(self, bucket: int) -> _Entry:
        if bucket not in self._entries:
            shapes = {name: ((bucket, *shape), dtype) for name, (shape, dtype) in self._plan.inputs.items()}
            self._entries[bucket] = _Entry(
                host={name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()},
                device={name: self._buffer(shape, dtype) for name, (shape, dtype) in shapes.items()},
                features=self._buffer((bucket, self._plan.width), np.float32),
            )
        return self._entries[bucket]

    def _buffer(self, shape: tuple[int, ...], dtype: Any) -> Any:
        kind = np.dtype(dtype).type
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self._plan.where, self._plan.index)


def _padded(array: NDArray[Any], host: NDArray[Any]) -> NDArray[Any]:
    """The rows as they are where they fill the bucket, else with rows of zeros below."""
    if len(array) == len(host):
        return np.ascontiguousarray(array)
    host[: len(array)] = array
    host[len(array) :] = 0
    return host
