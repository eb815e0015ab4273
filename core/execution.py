"""How ONNX Runtime is set up: threads, GPUs, providers, and how it tells that a GPU is lost.

Promises that a session runs where the settings say or fails with the reason: only ``auto`` takes the CPU instead, and
only when the session is built. Knows nothing of bundles, batches or heads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from core.errors import BadConfiguration, BrokenBundle, DeviceLost, Unavailable

logger = logging.getLogger(__name__)

Device = Literal["cpu", "cuda", "tensorrt", "auto"]
Where = Literal["cpu", "cuda", "tensorrt"]

DRIVER = "libcuda.so.1"
NO_GRAPH = "-1"  # as gpu_graph_id: run without capture or replay
_SILENT = 4  # only fatal messages: overridable heads would otherwise warn twice a session
_ERRORS = 3  # of what belongs to no session: a GPU's buffers would otherwise warn of plug-ins that nobody asked for
_CUDA, _TENSORRT, _CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
_NAME_BYTES = 256
LARGE = 2**20  # bytes of a model that are many
# CUDA's errors that leave a process without its GPU until it is started again: no device or driver, ECC and NVLink
# faults, an illegal access or instruction, a launch that failed or ran too long, a destroyed context. Out of memory
# (2) and an invalid value (1) are none of them. Numbers as in driver_types.h; ONNX Runtime prints "CUDA failure 700".
_FATAL = frozenset({3, 4, 35, 46, 100, 101, 214, 220, 700, 702, 709, 710, *range(714, 720), 999})
_NO_MEMORY, _ARENA_FULL = "2", ("BFCArena", "is smaller than requested bytes")  # the latter of ONNX Runtime's arena
_FAILURE = re.compile(r"\bCUDA (?:failure|error) (\d+)(?:: ([^;\n]*))?")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Which GPU a session takes, and how it computes there.

    Attributes:
        index: of the device, as CUDA counts those that it shows to this process.
        max_batch: largest batch; greater ones run in parts.
        tf32: ten-bit mantissas in matrix products: faster, but features leave the grid that other machines compute.
        graphs: whether runs are captured once and replayed (CUDA graphs).
        nhwc: whether convolutions prefer the channels last.
        engines: folder where TensorRT keeps what it has built.
    """

    index: int = 0
    max_batch: int = 8
    tf32: bool = False
    graphs: bool = True
    nhwc: bool = False
    engines: Path | None = None


@dataclass(frozen=True)
class Opened:
    """A session of ONNX Runtime, where it runs, and whether it can capture graphs."""

    session: ort.InferenceSession
    where: Where
    graphs: bool = False


def open_session(model: bytes, threads: int, device: Device, gpu: Gpu) -> Opened:
    """Build a session of the bytes of a model.

    Raises:
        BrokenBundle: the bytes cannot be loaded. BadConfiguration: no such device, or it cannot be used.
    """
    if threads < 1:
        raise BadConfiguration(f"threads is {threads}; expected at least 1", "give each worker one thread or more")
    if device != "cpu":
        opened, why = _on_gpu(model, threads, "cuda" if device == "auto" else device, gpu)
        if opened is not None:
            return opened
        if device != "auto":
            raise BadConfiguration(
                f"device is {device}, but {why}",
                "see lepton doctor; install the driver and onnxruntime-gpu[cuda,cudnn], or set device to auto or cpu",
            )
        if devices():
            logger.warning("a GPU is in sight, but the CPU is used: %s", why)
    return Opened(_open(model, _options(threads), [_CPU]), "cpu")


def choose_gpu(gpus: str, worker: int) -> int:
    """The device of worker number ``worker`` (from 1): the listed ones, or all in sight, in turn.

    Raises:
        BadConfiguration: ``gpus`` is no list of numbers with commas between.
    """
    try:
        listed = [int(number) for number in gpus.split(",")] if gpus.strip() else list(range(len(devices())))
    except ValueError:
        listed = [-1]
    if any(number < 0 for number in listed):
        raise BadConfiguration(f"serve.gpus is {gpus!r}", "give numbers of GPUs, such as 0,1, or nothing for all")
    return listed[(worker - 1) % len(listed)] if listed else 0


def check_device(device: str, index: int) -> None:
    """Whether a device that was asked for by name is in sight; ``auto`` takes what there is.

    Raises:
        BadConfiguration: it is not.
    """
    if device in {"cuda", "tensorrt"} and index >= len(devices()):
        raise BadConfiguration(
            f"serve.device is {device}, but there is no NVIDIA GPU number {index}: the driver shows {len(devices())}",
            "see lepton doctor; install the driver, correct [serve] gpus, or set device to auto or cpu",
        )


@functools.cache
def devices() -> tuple[str, ...]:
    """Names of the GPUs that NVIDIA's driver shows to this process; none where there is no driver."""
    with contextlib.suppress(OSError, AttributeError):
        driver = ctypes.CDLL(DRIVER)
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return ()
        return tuple(_name(driver, index) for index in range(count.value))
    return ()


def loss(error: BaseException) -> str | None:
    """What ONNX Runtime's error says of the GPU, where it says that the GPU is lost to this process."""
    for code, said in _FAILURE.findall(str(error)):
        if int(code) in _FATAL:
            return f"CUDA failure {code}: {said.strip() or 'no more is said'}"
    return None


def full(error: BaseException) -> bool:
    """Whether ONNX Runtime's error says that the GPU has no memory left just now."""
    told = str(error)
    return any(code == _NO_MEMORY for code, _ in _FAILURE.findall(told)) or any(said in told for said in _ARENA_FULL)


def gone(lost: str) -> DeviceLost:
    """The error of who needs a GPU that is lost."""
    return DeviceLost(
        f"this worker has lost its GPU: {lost}",
        "start the worker again; look at nvidia-smi and the system's log if it is lost once more",
    )


def pulse(index: int) -> str | None:
    """Ask a GPU for four bytes: what is wrong where it is lost, though the error before named no failure of CUDA."""
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", index).numpy()
    except Exception as error:  # ONNX Runtime's errors share no public base
        return loss(error)
    return None


def _on_gpu(model: bytes, threads: int, where: Literal["cuda", "tensorrt"], gpu: Gpu) -> tuple[Opened | None, str]:
    """A session on the GPU, or the reason why there is none."""
    found = devices()
    wanted = _CUDA if where == "cuda" else _TENSORRT
    if wanted not in ort.get_available_providers():
        return None, f"this build of ONNX Runtime has no {wanted}"
    if gpu.index >= len(found):
        return None, f"there is no usable NVIDIA GPU number {gpu.index}: the driver shows {len(found)}"
    said = _load_libraries()
    if where == "cuda" and gpu.graphs:
        # Capture is refused where an operation has no CUDA kernel; only shapes may be reckoned on the CPU.
        try:
            session = _open(model, _options(threads), [(_CUDA, _cuda(gpu, graphs=True)), _CPU])
        except BrokenBundle as error:
            logger.warning("no CUDA graphs for this model: %s", error.message)
        else:
            if session.get_providers()[0] == _CUDA:
                return Opened(session, "cuda", graphs=True), ""
    providers: list[Any] = [(_CUDA, _cuda(gpu, graphs=False)), _CPU]
    if where == "tensorrt":
        providers.insert(0, (_TENSORRT, _tensorrt(gpu)))
    session = _open(model, _options(threads), providers)
    if session.get_providers()[0] != wanted:
        return None, f"ONNX Runtime {ort.__version__} cannot load its {wanted}{': ' + said if said else ''}"
    return Opened(session, where), ""


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # Python threads share these cores
    return options


def _cuda(gpu: Gpu, *, graphs: bool) -> dict[str, str]:
    return {
        "device_id": str(gpu.index),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",  # a search by the clock may end differently in two workers
        "use_tf32": str(int(gpu.tf32)),
        "prefer_nhwc": str(int(gpu.nhwc)),
        "enable_cuda_graph": str(int(graphs)),
    }


def _tensorrt(gpu: Gpu) -> dict[str, str]:
    told = {"device_id": str(gpu.index), "trt_fp16_enable": "0"}
    if gpu.engines is None:
        return told
    gpu.engines.mkdir(parents=True, exist_ok=True)
    kept = str(gpu.engines)
    told |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": kept}
    return told | {"trt_timing_cache_enable": "1", "trt_timing_cache_path": kept}


def _open(model: bytes, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    try:
        with _held(model) as source:
            return ort.InferenceSession(source, options, providers=providers, enable_fallback=False)
    except Exception as error:  # ONNX Runtime has a class of its own for each way in which bytes can be wrong
        lost = loss(error)
        if lost is not None:
            raise gone(lost) from error
        if _FAILURE.search(str(error)):  # no memory left on it, mostly
            raise Unavailable(f"the GPU does not take the model: {str(error)[:300]}", "it is tried again") from error
        raise BrokenBundle(
            f"the {len(model)} bytes of the model cannot be loaded: {str(error)[:300]}",
            "fetch the bundle again, or roll back to a version that loads",
        ) from error


@contextlib.contextmanager
def _held(model: bytes) -> Iterator[bytes | str]:
    """The bytes of a model as ONNX Runtime takes them: as a file in memory where they are many.

    It copies bytes with the interpreter's lock held, so that no request goes on meanwhile. Yet from bytes it reads no
    other files, and the weights of a file may lie in others: a model that has the word by which it would name them,
    wherever that stands, is given as bytes.
    """
    number = -1
    try:
        if len(model) >= LARGE and not _has(model, b"location"):
            number = os.memfd_create("model", os.MFD_CLOEXEC)
            left = memoryview(model)
            while left:
                left = left[os.write(number, left) :]
            source: bytes | str = f"/proc/self/fd/{number}"
        else:
            source = model
    except (AttributeError, OSError):  # not on every system, and no process may write files without limit
        source = model
    try:
        yield source
    finally:
        if number >= 0:
            os.close(number)


def _has(data: bytes, word: bytes) -> bool:
    """Whether a word is somewhere in the data; other threads go on meanwhile, which they do not with ``in``."""
    find = ctypes.CDLL(None).memmem
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_size_t) * 2
    return find(data, len(data), word, len(word)) is not None


@functools.cache
def _load_libraries() -> str:
    """Load CUDA's libraries from where pip puts them; returns what was said of those that are missing."""
    ort.set_default_logger_severity(_ERRORS)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        ort.preload_dlls()
    return " ".join(said.getvalue().split())[:300]


def _name(driver: ctypes.CDLL, index: int) -> str:
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGet(ctypes.byref(handle), index) or driver.cuDeviceGetName(name, _NAME_BYTES, handle):
        return f"GPU {index}"
    return name.value.decode(errors="replace")
