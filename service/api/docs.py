"""``/docs``: the API as a page that works offline.

Swagger UI (Apache-2.0) comes with BentoML; its files are served from there, none from a network. Knows nothing of the
routes that it shows.
"""

from __future__ import annotations

from pathlib import Path

import bentoml
from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, RedirectResponse, Response

from core.errors import NotFound

router = APIRouter(include_in_schema=False)

FOLDER = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"
FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-light-32x32.png": "image/png",
}


@router.get("/")
async def root(request: Request) -> Response:
    """Where people arrive who try the address of the server."""
    return RedirectResponse(request.scope.get("root_path", "").rstrip("/") + "/docs")


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The page; it reads ``/openapi.json``."""
    root = request.scope.get("root_path", "").rstrip("/")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Lepton",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon-light-32x32.png",
    )


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """A file of the page."""
    if name not in FILES or not (FOLDER / name).is_file():
        raise NotFound(f"the page has no file {name[:80]!r}", "open /docs")
    return FileResponse(FOLDER / name, media_type=FILES[name])
