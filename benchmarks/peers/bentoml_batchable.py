"""BentoML's own batching: one worker, an endpoint with ``batchable=True``. ``POST /predict``.

A request is a batch of one, as its client would send it; pictures come as a multipart form, opened by BentoML.
``max_latency_ms`` is so long that nothing is cancelled.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import bentoml
import numpy as np
from PIL.Image import Image

from benchmarks.peers import work

if work.PICTURES:

    @bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
    class Peer:
        """Pictures."""

        def __init__(self) -> None:
            self.model = work.Model()

        @bentoml.api(batchable=True, max_batch_size=work.MAX_BATCH, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
        def predict(self, images: list[Image]) -> list[dict[str, Any]]:
            """A batch."""
            files = [getattr(image, "fp", io.BytesIO()) for image in images]
            for file in files:
                file.seek(0)
            return [work.told(row) for row in self.model.pictures(files)]

else:

    @bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
    class Peer:  # type: ignore[no-redef]
        """Numbers."""

        def __init__(self) -> None:
            self.model = work.Model()

        @bentoml.api(batchable=True, max_batch_size=work.MAX_BATCH, max_latency_ms=60_000)  # type: ignore[untyped-decorator]
        def predict(self, features: np.ndarray) -> list[dict[str, Any]]:
            """A batch."""
            return [work.told(row) for row in self.model.numbers(features)]


def main() -> None:
    """Serve until stopped."""
    where = ("--host", "127.0.0.1", "--port", str(work.PORT), "--working-dir", os.getcwd())
    command = [sys.executable, "-m", "bentoml", "serve", "benchmarks.peers.bentoml_batchable:Peer", *where]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
