"""The way from a request to the parts of its worker."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI, Request

from core.errors import Unavailable
from service.context import Context


def context_of(request: Request) -> Context:
    """The worker's parts.

    Raises:
        Unavailable: the worker is still starting, or stopping.
    """
    return context_in(request.app)


def context_in(app: FastAPI) -> Context:
    """The same, from the application. Raises as ``context_of``."""
    held = getattr(app.state, "context", None)
    if held is None:
        raise Unavailable("this worker is starting or stopping", "send the request again in a second")
    return cast("Context", held)
