"""The peers: what each is called, which environment it runs in, and what a request to it looks like.

Promises requests that carry the same numbers or the same JPEG file to each, in the form that each takes. Knows nothing
of processes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.generator.http1 import json_request, request

PATH = "/predict"
_BOUNDARY = "lepton-benchmark"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server that people would take instead; ``module`` is run with ``environment``'s interpreter."""

    name: str
    environment: str
    module: str
    numbers: Callable[[Sequence[float]], bytes]
    picture: Callable[[bytes], bytes]


def _plain(row: Sequence[float]) -> bytes:
    return json_request(PATH, {"features": list(row)})


def _raw(data: bytes) -> bytes:
    return request(PATH, data, "image/jpeg")


def _coded(data: bytes) -> bytes:
    return json_request(PATH, {"image": base64.b64encode(data).decode()})


def _one_row(row: Sequence[float]) -> bytes:
    return json_request(PATH, {"features": [list(row)]})


def _form(data: bytes) -> bytes:
    head = 'content-disposition: form-data; name="images"; filename="a.jpg"\r\ncontent-type: image/jpeg'
    body = f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return request(PATH, body, f"multipart/form-data; boundary={_BOUNDARY}")


def _tensor(row: Sequence[float]) -> bytes:
    told = {"name": "numeric", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}
    return json_request("/v2/models/peer/infer", {"inputs": [told]})


def _bytes_tensor(data: bytes) -> bytes:
    told = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(data).decode()]}
    return json_request("/v2/models/peer/infer", {"inputs": [told]})


BARE = Peer(
    name="bare uvicorn + Starlette + ONNX Runtime",
    environment="starlette",
    module="starlette_bare",
    numbers=_plain,
    picture=_raw,
)
FASTAPI = Peer(name="FastAPI + ONNX Runtime", environment="fastapi", module="fastapi_ort", numbers=_plain, picture=_raw)
LITSERVE = Peer(name="LitServe", environment="litserve", module="litserve_api", numbers=_plain, picture=_coded)
BENTOML = Peer(
    name="BentoML batchable=True", environment="bentoml", module="bentoml_batchable", numbers=_one_row, picture=_form
)
MLSERVER = Peer(
    name="MLServer", environment="mlserver", module="mlserver_runtime", numbers=_tensor, picture=_bytes_tensor
)
ALL = (BARE, FASTAPI, LITSERVE, BENTOML, MLSERVER)
