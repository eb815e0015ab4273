"""The BentoML service: lifecycle and mounts, nothing else.

Promises one listener, no typed endpoint and no pickle: everything that clients send is read by our own routes.
"""

from __future__ import annotations

import logging

import bentoml
from _bentoml_impl.serde import ALL_SERDE  # type: ignore[import-untyped]
from bentoml._internal.server.http import traffic

from service.api.application import application
from service.api.direct import Predictions
from service.bootstrap import build, end_with_parent, listen_by, put_requests_first, settings
from service.context import Context
from service.protocol import protocol

SETTINGS = settings()
logging.getLogger("service").setLevel(logging.INFO)  # BentoML shows warnings only, of others
ALL_SERDE.pop("application/vnd.bentoml+pickle", None)
# BentoML's timeout keeps a timer for a minute after every answer, and ends honest uploads over slow lines.
setattr(traffic, "TimeoutMiddleware", lambda app, timeout: app)  # noqa: B010  # a class is expected


def _build() -> Context:
    return build(SETTINGS, bentoml.server_context.worker_index or 1)


APP = application(_build, SETTINGS.serve.max_body_bytes)
DESK = Predictions(APP, SETTINGS.serve.max_body_bytes)
listen_by(protocol(SETTINGS.serve, APP, DESK), SETTINGS.serve.max_connections)  # uvicorn is configured after this


@bentoml.asgi_app(APP, path="/")
@bentoml.service(
    name="Lepton",
    workers=SETTINGS.serve.workers,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Lepton:
    """Serves scenes; see ``/docs``."""

    def __init__(self) -> None:
        end_with_parent()
        put_requests_first()

    def __is_ready__(self) -> bool:
        """Whether what is registered is served."""
        context = getattr(APP.state, "context", None)
        return isinstance(context, Context) and context.ready()

    def __is_alive__(self) -> bool:
        """Whether all threads run."""
        context = getattr(APP.state, "context", None)
        return isinstance(context, Context) and context.alive()
