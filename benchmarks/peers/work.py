"""What every peer does with a request: the same ONNX file, the same options, the same decoding.

Promises one session a process, with the threads that ``PEER_THREADS`` says. Imports nothing of this project, because it
runs in the peers' own environments. Knows nothing of HTTP.

Legend: B batch, N numbers, K classes, H height, W width.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

MODEL = os.environ.get("PEER_MODEL", "")
PORT = int(os.environ.get("PEER_PORT", "3000"))
THREADS = int(os.environ.get("PEER_THREADS", "1"))
CORES = int(os.environ.get("PEER_CORES", "2"))
PICTURES = os.environ.get("PEER_KIND", "tiny") == "image"
MAX_BATCH = 16

Floats = NDArray[np.float32]


class Model:
    """The session: rows in, probabilities out."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        (given,) = self._session.get_inputs()
        self._pool = ThreadPoolExecutor(CORES)
        self._name = given.name
        self.shape = tuple(given.shape[1:])

    def numbers(self, rows_BN: Sequence[Sequence[float]] | Floats) -> list[list[float]]:
        """(B, K) probabilities of rows of numbers."""
        told: list[list[float]] = self.run(np.asarray(rows_BN, np.float32)).tolist()
        return told

    def pictures(self, files: Sequence[bytes | BinaryIO]) -> list[list[float]]:
        """(B, K) probabilities of JPEG files."""
        decoded = map(self.decode, files) if len(files) == 1 else self._pool.map(self.decode, files)
        told: list[list[float]] = self.run(np.stack(list(decoded))).tolist()
        return told

    def run(self, batch: NDArray[Any]) -> Floats:
        """(B, K) probabilities of arrays as the model takes them."""
        (answer,) = self._session.run(["probabilities"], {self._name: batch})
        return answer  # type: ignore[no-any-return]

    def decode(self, data: bytes | BinaryIO) -> NDArray[np.uint8]:
        """A JPEG file as (H, W, 3): scaled in the DCT to three times the size or more, then resized, as ours is."""
        height, width = int(self.shape[0]), int(self.shape[1])
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=("JPEG",)) as image:
            assert isinstance(image, JpegImageFile)
            image.draft(None, (width * 3, height * 3))
            rgb = image.convert("RGB")
            return np.asarray(rgb.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0))


def told(probabilities_K: Sequence[float]) -> dict[str, Any]:
    """An answer in JSON."""
    best = max(range(len(probabilities_K)), key=probabilities_K.__getitem__)
    return {"label": best, "confidence": probabilities_K[best], "probabilities": list(probabilities_K)}
