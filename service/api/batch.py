"""``POST /v1/feedback:batch``: one label a line in, one answer a line out, in order.

Promises that a bad line spoils no other, that what was answered is on disk, and that a client which sends everything
before it reads anything is not held up. Knows nothing of labels.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.errors import LeptonError, TooLarge
from service.api.access import context_of
from service.api.body import check_type
from service.api.errors import told, unexpected
from service.api.feedback import answer
from service.api.schemas import FeedbackIn, parse
from service.context import Context
from service.intake import take

logger = logging.getLogger(__name__)
router = APIRouter(tags=["feedback"])

PATH = "/v1/feedback:batch"
MOST_LINES = 100_000
WASTED = 4  # times the largest body: so much may come in one go that is no line
TYPE = "application/x-ndjson"
TAKEN = (TYPE, "application/jsonl", "application/json")
EXTRA = {"requestBody": {"required": True, "content": {TYPE: {"schema": {"type": "string"}}}}}


@router.post(PATH, openapi_extra=EXTRA)
async def batch(request: Request) -> Response:
    """Labels as NDJSON: every line is a body of ``POST /v1/feedback``."""
    check_type(request.headers, *TAKEN)
    return _Answers(context_of(request), request)


class _Answers(Response):
    """Reads lines and answers them at the same time; starlette's own stream would read the request's body itself."""

    def __init__(self, context: Context, request: Request) -> None:
        super().__init__(media_type=TYPE)
        self._context = context
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send answers as they come."""
        answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        working = asyncio.create_task(self._work(answers))
        del self.headers["content-length"]
        try:
            started = False
            while (line := await answers.get()) is not None:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    started = True
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await working
            if not started:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _work(self, answers: asyncio.Queue[bytes | None]) -> None:
        number = 0
        try:
            most = self._context.home.settings.serve.max_body_bytes
            async for line in lines(self._request.stream(), most):
                number += 1
                if number > MOST_LINES:
                    more = TooLarge(f"the batch has more than {MOST_LINES} lines", "send the rest as another batch")
                    answers.put_nowait(_line(told(more)))
                    return
                answers.put_nowait(_line(await self._answer(line)))
        except ClientDisconnect:
            logger.info("a batch broke off after %d lines", number)
        except LeptonError as error:  # of the stream itself: it comes too slowly
            if number == 0:
                raise
            answers.put_nowait(_line(told(error)))
        finally:
            answers.put_nowait(None)

    async def _answer(self, line: bytes | TooLarge) -> dict[str, Any]:
        try:
            if isinstance(line, TooLarge):
                raise line
            asked = await self._context.decode(parse, FeedbackIn, line)
            return answer(await take(self._context, asked))
        except LeptonError as error:
            return told(error)
        except Exception:
            logger.exception("a line of a batch could not be answered")
            return told(unexpected())


async def lines(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes | TooLarge]:
    """Lines of a stream without their ends, empty ones left out; an error in place of one above ``most`` bytes.

    Raises:
        TooLarge: the stream goes on and on without a line that can be used.
    """
    held, skipping, wasted = bytearray(), False, 0
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            held += part
            if skipping or len(held) > most:
                yield TooLarge(f"a line has more than {most} bytes", "send a smaller instance")
            elif held.strip():
                yield bytes(held)
                wasted = 0
            wasted += len(held) + 1
            held, skipping = bytearray(), False
        held += rest
        if len(held) > most:
            wasted += len(held)
            held, skipping = bytearray(), True
        if wasted > WASTED * most:
            raise TooLarge(f"{WASTED * most} bytes held no line that can be used", "send labels, a line each")
    if skipping or len(held) > most:
        yield TooLarge(f"a line has more than {most} bytes", "send a smaller instance")
    elif held.strip():
        yield bytes(held)


def _line(body: dict[str, Any]) -> bytes:
    return json.dumps(body, allow_nan=False).encode() + b"\n"
