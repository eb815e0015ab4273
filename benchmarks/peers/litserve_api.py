"""LitServe with dynamic batching: one API server, one inference worker. ``POST /predict``.

It hands requests to a process of its own as JSON or as a form: a picture comes in base64.
"""

from __future__ import annotations

import base64
from typing import Any

import litserve  # type: ignore[import-not-found]

from benchmarks.peers import work


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The model in the inference worker."""

    def setup(self, device: str) -> None:
        """Of LitServe."""
        self.model = work.Model()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # an annotation would change what it is given
        """Of LitServe."""
        return base64.b64decode(request["image"]) if work.PICTURES else request["features"]

    def predict(self, batch: Any) -> Any:
        """Of LitServe."""
        return self.model.pictures(batch) if work.PICTURES else self.model.numbers(batch)

    def encode_response(self, output: Any) -> Any:
        """Of LitServe."""
        return work.told(output)


def main() -> None:
    """Serve until stopped."""
    api = Api(max_batch_size=work.MAX_BATCH, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1",
        port=work.PORT,
        num_api_servers=1,
        generate_client_file=False,
        access_log=False,
        log_level="warning",
        loop="uvloop",
        http="httptools",
    )


if __name__ == "__main__":
    main()
