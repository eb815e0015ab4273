"""``DELETE /v1/subjects/{subject}``: a person is forgotten.

Knows nothing of how; ``core/erasure.py`` says what is promised.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from core.erasure import erase
from service.api.access import context_of
from service.context import Context

router = APIRouter(tags=["subjects"])


@router.delete("/v1/subjects/{subject:path}")
async def subjects(subject: str, request: Request) -> dict[str, Any]:
    """Erase a person's inputs, features and labels; names the versions that were tuned on them."""
    context = context_of(request)
    return await context.store(_erase, context, subject)


def _erase(context: Context, subject: str) -> dict[str, Any]:
    context.log.flush()  # what is not written yet could not be erased
    return {"subject": subject} | asdict(erase(context.home, subject))
