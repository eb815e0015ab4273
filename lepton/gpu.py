"""What ``doctor`` finds of GPUs: what the driver shows, and whether ONNX Runtime can use it, or why not.

Promises to load libraries at most, and to build no session. Knows nothing of what is served.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from core.execution import DRIVER, devices

_INSTALL = "pip install -c constraints.txt 'onnxruntime-gpu[cuda,cudnn]'"
_CUDNN = "libcudnn.so.9"
_PROVIDERS = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "tensorrt"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``state``: ok, note (works, but know it), wrong."""

    what: str
    state: str
    found: str
    remedy: str = ""


def findings(device: str) -> list[Finding]:
    """GPUs and the providers for them, judged by the ``device`` that is configured."""
    names, needed = devices(), device in {"cuda", "tensorrt"}
    if not names:
        driver = driver_version()
        why = f"the driver (CUDA {driver}) shows no GPU" if driver else "no NVIDIA driver"
        found = f"CPU only: {why}"
        remedy = "install NVIDIA's driver, or set [serve] device to auto or cpu" if needed else ""
        return [Finding("accelerator", "wrong" if needed else "note", found, remedy)]
    shown = ", ".join(f"{index}: {name}" for index, name in enumerate(names))
    return [Finding("accelerator", "ok", f"{shown}; driver for CUDA {driver_version()}"), *_providers(device)]


def driver_version() -> str:
    """The newest CUDA that the installed driver can run, as ``13.0``; empty where there is no driver."""
    version = ctypes.c_int()
    try:
        if ctypes.CDLL(DRIVER).cuDriverGetVersion(ctypes.byref(version)):
            return ""
    except (OSError, AttributeError):
        return ""
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def cudnn_version() -> str:
    """The version of cuDNN that can be loaded, as ``9.10.2``; empty where there is none."""
    try:
        library = ctypes.CDLL(_CUDNN)
        library.cudnnGetVersion.restype = ctypes.c_size_t
        version = int(library.cudnnGetVersion())
    except (OSError, AttributeError):
        return ""
    return f"{version // 10000}.{version % 10000 // 100}.{version % 100}"


def why_not(provider: str) -> str:
    """What the system says when it loads a provider of ONNX Runtime; empty where it loads."""
    folder = Path(str(ort.__file__)).parent / "capi"
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{_PROVIDERS[provider]}.so"))
    except OSError as error:
        return str(error)
    return ""


def _providers(device: str) -> list[Finding]:
    built = f"ONNX Runtime {ort.__version__} is built for CUDA {getattr(ort, 'cuda_version', '') or 'none'}"
    found = []
    for provider, name in _PROVIDERS.items():
        if provider not in ort.get_available_providers():
            why = f"this ONNX Runtime has no {provider}: install onnxruntime-gpu"
        else:
            why = why_not(provider)
        asked = device == name or (device == "auto" and name == "cuda")
        cudnn = cudnn_version() or "not found"
        told = f"{why or 'loads'}; {built}; cuDNN {cudnn}"
        state = "ok" if not why else "wrong" if asked else "note"
        found.append(Finding(name, state, told, _INSTALL if why and name == "cuda" else ""))
    return found
