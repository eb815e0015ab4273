"""What the console answers beside pages: its look, inputs of examples, bundles to take away.

Promises that bytes which came from outside are sent as the kind of thing that they are found to be, never as a page,
and that a bundle is checked before it is sent. Knows nothing of pages.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from console.contract import Console
from core import bundle, look
from core.errors import LeptonError, NotFound
from core.home import Home
from core.registry import short

HERE = Path(__file__).with_name("static")
SERVED = {
    "style.css": Path(look.__path__[0]) / "style.css",
    "console.css": HERE / "console.css",
    "console.js": HERE / "console.js",
}
CHUNK = 256 * 2**10
MEDIA = (  # what bytes begin with, and what they are then; anything else is text or is downloaded
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "audio/wav"),
    (b"fLaC", "audio/flac"),
)
KEPT = {"cache-control": "private, max-age=3600, immutable"}  # an example is named by its digest
FRAMELESS = {"content-security-policy": "default-src 'none'; sandbox"}


def router(console: Console) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/look/{name}")
    def served(name: str) -> Response:
        if name not in SERVED:
            return refused(NotFound(f"there is no file {name[:80]!r}", "reload the page"))
        return FileResponse(SERVED[name], headers={"cache-control": "no-cache"})

    @routes.post("/uploads/{name}")
    async def uploaded(request: Request, name: str, path: str) -> Response:
        try:
            await console.uploads.take(name, path, request.stream())
        except LeptonError as error:
            return refused(error)
        return Response(status_code=204)

    @routes.get("/inputs/{example}")
    def given(example: str) -> Response:
        data = input_of(console.home, example)
        if data is None:
            return refused(NotFound("there is no such input any more", "its retention has ended, or it was erased"))
        return Response(data, media_type=media_of(data), headers=KEPT | FRAMELESS)

    @routes.get("/scenes/{scene}/versions/{version}/bundle.zip")
    def bundled(scene: str, version: str) -> Response:
        try:
            chosen = console.home.registry.version(scene, version)
            folder = console.home.artifacts.bundle(chosen.version)
            bundle.read(folder, chosen.version)
        except LeptonError as error:
            return refused(error)
        name = f"{scene}-{chosen.number}-{short(chosen.version)}"
        told = {"content-disposition": f'attachment; filename="{name}.zip"'}
        return StreamingResponse(_parts(_zipped(folder, name)), media_type="application/zip", headers=told)

    return routes


def media_of(data: bytes) -> str:
    """What bytes are, by what they begin with.

    >>> media_of(b"fLaC..."), media_of(b"<script>")
    ('audio/flac', 'application/octet-stream')
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media for start, media in MEDIA if data.startswith(start)), "application/octet-stream")


def input_of(home: Home, example: str) -> bytes | None:
    """The bytes of an example, where they are kept."""
    if not re.fullmatch(r"[0-9a-f]{64}", example):
        return None
    return home.evidence.input(example) or home.predictions.instance(example)


def _zipped(folder: Path, name: str) -> IO[bytes]:
    """The folder in one file, not packed any further: weights do not get smaller."""
    made = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{name}/{file.name}")
    made.seek(0)
    return made


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while part := file.read(CHUNK):
            yield part


def refused(error: LeptonError) -> Response:
    """An error as plain text."""
    return PlainTextResponse(f"{error.message}\n{error.remedy}\n", error.status)
