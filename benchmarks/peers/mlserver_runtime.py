"""MLServer with a runtime of our own, in one process. ``POST /v2/models/peer/infer``, the Open Inference Protocol.

Without its adaptive batching, which made the tiny model slower; pictures come as base64, as its codec wants them, and
are worked on in threads.
"""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput  # type: ignore[import-not-found]

from benchmarks.peers import work


class Runtime(MLModel):  # type: ignore[misc]
    """The model."""

    async def load(self) -> bool:
        """Of MLServer."""
        self.model, self.pool = work.Model(), ThreadPoolExecutor(work.CORES)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Of MLServer."""
        asked = payload.inputs[0]
        if work.PICTURES:
            files = [base64.b64decode(text) for text in asked.data]
            rows = await asyncio.get_running_loop().run_in_executor(self.pool, self.model.pictures, files)
        else:
            rows = self.model.numbers(np.array(list(asked.data), np.float32).reshape(asked.shape))
        flat = [number for row in rows for number in row]
        shape = [len(rows), len(rows[0])]
        output = ResponseOutput(name="probabilities", shape=shape, datatype="FP32", data=flat)
        return InferenceResponse(model_name=self.name, outputs=[output])


def main() -> None:
    """Serve until stopped."""
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=work.PORT,
        grpc_port=work.PORT + 1,
        metrics_endpoint=None,
        parallel_workers=0,
        use_structured_logging=False,
        load_models_at_startup=False,
    )
    model = ModelSettings(name="peer", implementation="benchmarks.peers.mlserver_runtime.Runtime")
    asyncio.run(MLServer(settings).start([model]))


if __name__ == "__main__":
    main()
