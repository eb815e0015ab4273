"""Bare uvicorn, Starlette and ONNX Runtime: the floor that nobody gets below with Python's usual parts.

The tiny model runs in the event loop, pictures in as many threads as there are cores. ``POST /predict``.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers import work


def main() -> None:
    """Serve until stopped."""
    model, pool = work.Model(), ThreadPoolExecutor(work.CORES)

    async def numbers(request: Request) -> JSONResponse:
        asked = await request.json()
        return JSONResponse(work.told(model.numbers([asked["features"]])[0]))

    async def picture(request: Request) -> JSONResponse:
        data = await request.body()
        (answer,) = await asyncio.get_running_loop().run_in_executor(pool, model.pictures, [data])
        return JSONResponse(work.told(answer))

    app = Starlette(routes=[Route("/predict", picture if work.PICTURES else numbers, methods=["POST"])])
    uvicorn.run(app, port=work.PORT, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
