"""The console's process: pages, files and the guard before them, put together and run.

One process and one event loop. Everything that it shows it reads from the databases, so it may be stopped and started
at any time; nothing is kept in it but what is being typed. Knows no page by name: a file of ``console/pages`` is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

from console import files, handouts
from console.contract import Console, Page, pages
from console.guard import Guard, Nonces
from console.pulse import Pulse
from console.uploads import Uploads
from core.config import Settings
from core.home import Home, open_home

ICON = Path(__file__).with_name("static") / "mark.svg"
READERS = 4  # threads that read and act for pages; each keeps connections, with what they have read of the databases
HEAD = (
    '<link rel="stylesheet" href="/look/style.css"><link rel="stylesheet" href="/look/console.css">'
    '<script src="/look/console.js" defer></script>'
)


def build(home: Home) -> Guard:
    """The whole application over a home; one a process, because NiceGUI keeps its pages in the process."""
    from nicegui import ui

    from console.frame import missing

    console = Console(home, Pulse(home), Uploads(home))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(READERS, "reader"))
        await asyncio.to_thread(console.uploads.sweep, time.time())
        looking = asyncio.create_task(console.pulse.run())
        yield
        looking.cancel()
        console.pulse.close()

    outer = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    outer.include_router(files.router(console))
    outer.include_router(handouts.router(console))
    shown = pages()
    for page in shown:
        _register(console, page, shown)
    ui.add_head_html(HEAD, shared=True)
    _adjust()

    async def nowhere() -> None:
        await missing(shown)

    ui.run_with(
        outer,
        root=nowhere,
        title="Lepton",
        favicon=ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=10.0,
        show_welcome_message=False,
        binding_refresh_interval=None,
    )
    serve = home.settings.console
    return Guard(
        outer, [serve.host.lower(), *(name.strip().lower() for name in serve.names.split(",") if name.strip())]
    )


def run(settings: Settings) -> None:
    """Run the console until it is told to stop.

    Raises:
        BadConfiguration: the home cannot be opened.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ["NICEGUI_STORAGE_PATH"] = str(
        settings.home / "cache" / "console"
    )  # it keeps nothing; else it looks here
    home = open_home(settings)
    try:
        told = settings.console
        config = uvicorn.Config(
            build(home),
            host=told.host,
            port=told.port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        uvicorn.Server(config).run()
    finally:
        home.close()


def _register(console: Console, page: Page, shown: Sequence[Page]) -> None:
    from nicegui import ui

    from console.frame import framed

    async def built(request: Request) -> None:
        await framed(console, page, shown, request.path_params)

    ui.page(page.ROUTE, response_timeout=30.0)(built)


def _adjust() -> None:
    """NiceGUI's own template gets our nonces, and its sockets take messages of this origin alone (see Guard)."""
    from nicegui import client, core

    environment: Any = client.templates.env
    environment.add_extension(Nonces)
    core.app.config.socket_io_js_transports = ["websocket"]
