"""``DELETE /v1/subjects/{subject}``: a person is forgotten; ``GET …/certificate``: what was done, and came of it.

Knows nothing of how; ``core/erasure.py`` and ``core/certificates.py`` say what is promised.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from core.certificates import told
from core.erasure import erase
from core.errors import NotFound
from service.api.access import context_of
from service.context import Context

router = APIRouter(tags=["subjects"])


@router.delete("/v1/subjects/{subject:path}")
async def subjects(subject: str, request: Request) -> dict[str, Any]:
    """Erase a person's inputs, features and labels; names the versions that were tuned on them."""
    context = context_of(request)
    return await context.store(_erase, context, subject)


@router.get("/v1/subjects/{subject:path}/certificate")
async def certificate(subject: str, request: Request) -> dict[str, Any]:
    """Certificates of a person's erasures, oldest first; they name nobody, and say what serves in their stead."""
    context = context_of(request)
    return await context.store(_certificate, context, subject)


def _certificate(context: Context, subject: str) -> dict[str, Any]:
    found = context.home.certificates.of(subject)
    if not found:
        raise NotFound("nothing of this subject was ever erased", "erase it: DELETE /v1/subjects/{subject}")
    return {"certificates": [told(context.home.registry, each) for each in found]}


def _erase(context: Context, subject: str) -> dict[str, Any]:
    context.log.flush()  # what is not written yet could not be erased
    return {"subject": subject} | asdict(erase(context.home, subject))
