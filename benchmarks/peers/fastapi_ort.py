"""FastAPI and ONNX Runtime, as tutorials have it, with the faster of its two kinds of route for each model.

The tiny model runs in an ``async def`` route, pictures in as many threads as there are cores. ``POST /predict``.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

from benchmarks.peers import work


class Numbers(BaseModel):
    """A request."""

    features: list[float]


def main() -> None:
    """Serve until stopped."""
    app, model, pool = FastAPI(), work.Model(), ThreadPoolExecutor(work.CORES)

    async def numbers(asked: Numbers) -> dict[str, Any]:
        return work.told(model.numbers([asked.features])[0])

    async def picture(request: Request) -> dict[str, Any]:
        data = await request.body()
        (answer,) = await asyncio.get_running_loop().run_in_executor(pool, model.pictures, [data])
        return work.told(answer)

    app.post("/predict")(picture if work.PICTURES else numbers)
    uvicorn.run(app, port=work.PORT, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
