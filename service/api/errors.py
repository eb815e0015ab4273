"""Every way in which a request can fail, in one form: ``{"error": {"code", "message", "remedy"}}``.

Below ``/v2`` the form is that of the Open Inference Protocol: ``{"error": "message (remedy)"}``.

Promises that no traceback and no text of a library's exception reaches a client unasked. Knows nothing of routes.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from core.errors import InvalidInput, LeptonError, MalformedRequest, NotFound

logger = logging.getLogger(__name__)

SHOWN = 5  # of several errors in one request
V2 = "/v2"  # where the Open Inference Protocol has its routes


class WrongMethod(LeptonError):
    """A route that exists, with a method that it does not have."""

    code = "method_not_allowed"
    status = 405


def told(error: LeptonError) -> dict[str, Any]:
    """An error as JSON."""
    return {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}


def response(error: LeptonError, headers: dict[str, str] | None = None, path: str = "") -> Response:
    """An error as an answer, in the form that clients of ``path`` read."""
    more = {"Retry-After": str(getattr(error, "retry_after", 1))} if error.status == 503 else {}
    body = {"error": str(error)} if path == V2 or path.startswith(V2 + "/") else told(error)
    return JSONResponse(body, error.status, {**(headers or {}), **more})


def unexpected() -> LeptonError:
    """What a client is told of an error of ours; the log has the rest."""
    return LeptonError("the request could not be answered, because of an error in the service", "look at its log")


def explain(error: ValidationError | RequestValidationError) -> LeptonError:
    """What does not fit, field by field."""
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        why = faults[0].get("ctx", {}).get("error", faults[0]["msg"])
        return MalformedRequest(f"the body is not valid JSON: {why}", "send one JSON object, in UTF-8")
    if any(fault["loc"] == () for fault in faults):
        return MalformedRequest(f"the body does not fit: {faults[0]['msg']}", "send one JSON object")
    text = "; ".join(_fault(fault) for fault in faults[:SHOWN])
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return InvalidInput(text + more, "correct these fields; /docs shows what is expected")


def install(app: FastAPI) -> None:
    """Give the application its error answers."""
    app.add_exception_handler(LeptonError, _lepton)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"] if part not in {"body", "query", "path"}) or "the body"
    if fault["type"] == "extra_forbidden":
        return f"there is no field {place[:80]!r}"
    if fault["type"] == "missing":
        return f"{place} is missing"
    return f"{place[:80]}: {fault['msg'].removeprefix('Value error, ')}"


async def _lepton(request: Request, error: Exception) -> Response:
    assert isinstance(error, LeptonError)
    if error.status == 500:
        logger.error("%s", error)
    return response(error, path=request.scope["path"])


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response(explain(error), path=request.scope["path"])


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        nothing = NotFound(f"there is nothing at {request.scope['path'][:200]!r}", "/docs lists what there is")
        return response(nothing, path=request.scope["path"])
    if error.status_code == 405:
        wrong = WrongMethod(f"{request.method} is not possible here", "/docs lists what is")
        return response(wrong, dict(error.headers or {}), request.scope["path"])
    fault = LeptonError(str(error.detail), "/docs shows what is expected")
    fault.status = error.status_code
    fault.code = "refused"
    return response(fault, path=request.scope["path"])
