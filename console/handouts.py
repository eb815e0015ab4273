"""Parts of inputs, and labels as files, as browsers fetch them.

Promises that a part is sent as the kind of thing that it is found to be, and that a file of labels is downloaded, not
shown. Knows nothing of pages.
"""

from __future__ import annotations

import base64
import json

from fastapi import APIRouter
from starlette.responses import Response

from console.contract import Console
from console.files import FRAMELESS, KEPT, input_of, media_of, refused
from core import label_studio
from core.errors import LeptonError, NotFound
from core.home import Home
from core.label_files import as_csv, inputs_of, said_of
from core.tasks import task_of

LABELS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}  # JSON as Label Studio has it


def router(console: Console) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/inputs/{example}/{part}")
    def given(example: str, part: str) -> Response:
        whole = input_of(console.home, example)
        data = None if whole is None else part_of(whole, part)
        if data is None:
            return refused(NotFound("there is no such part of an input", "its input has gone, or never had it"))
        return Response(data, media_type=media_of(data), headers=KEPT | FRAMELESS)

    @routes.get("/scenes/{scene}/labels.{form}")
    def labels(scene: str, form: str, task: str | None = None) -> Response:
        try:
            name, text = labels_as(console.home, scene, form, task)
        except LeptonError as error:
            return refused(error)
        told = {"content-disposition": f'attachment; filename="{name}"'} | FRAMELESS
        return Response(text.encode(), media_type=LABELS[form], headers=told)

    return routes


def part_of(data: bytes, part: str) -> bytes | None:
    """A file that is a part of a mixture's input; None where there is no such part, or it is no file.

    >>> part_of(b'{"image":{"b64":"AAE="},"text":"a"}', "image"), part_of(b"{}", "image")
    (b'\\x00\\x01', None)
    """
    try:
        return base64.b64decode(json.loads(data)[part]["b64"], validate=True)
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def labels_as(home: Home, scene: str, form: str, task: str | None) -> tuple[str, str]:
    """A file's name, and the labels of feedback in it.

    Raises:
        NotFound: no such scene or form. InvalidInput: no such task.
    """
    if form not in LABELS:
        raise NotFound(f"labels are not written as {form[:40]!r}", f"ask for one of: {', '.join(LABELS)}")
    asked = task_of(home.registry.scene(scene), task)
    said = said_of(home, asked)
    name = "-".join(word for word in (scene, asked.task_name, "labels") if word)
    text = as_csv(said) if form == "csv" else label_studio.written(asked, said, inputs_of(home, asked, said))
    return f"{name}.{form}", text
