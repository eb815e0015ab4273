"""A place where one file is dropped or chosen, and read at once.

Promises that what is read is no larger than it may be, that what goes wrong with it is shown with its remedy, and that
nothing of it stays on the disk. Knows nothing of what the file is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from console.contract import Console
from console.pieces import drawn, guarded
from core.errors import InvalidInput
from core.look.html import tag

Act = Callable[[str, bytes], Awaitable[None]]


def drop(console: Console, title: str, help: str, accept: str, most: int, act: Act) -> ui.element:
    """Put the place here, and return it.

    Args:
        accept: kinds of files that the browser offers. most: bytes of a file.
        act: called with the file's name and its bytes.
    """
    upload = console.uploads.begin()
    ui.context.client.on_delete(partial(asyncio.to_thread, console.uploads.drop, upload))
    with ui.element("label").classes("drop one") as place:
        place.props["data-to"] = f"/uploads/{upload}"
        words = drawn(tag("span", tag("b", title), tag("br"), help))
        chooser = ui.element("input")
        chooser.props["type"] = "file"
        chooser.props["accept"] = accept
        chooser.props["aria-label"] = title
        bar = ui.element("progress")
        bar.props["hidden"] = True

    async def take(told: Mapping[str, Any]) -> None:
        if told["refused"]:
            raise InvalidInput(str(told["refused"]), "choose another file")
        name = str(told["first"])
        data = await asyncio.to_thread(console.uploads.taken, upload, name, most)
        words.content = tag("span", tag("b", name[:80]), tag("br"), "drop another one in its place")
        await act(name, data)

    async def sent(event: GenericEventArguments) -> None:
        await guarded(partial(take, event.args["detail"]))

    place.on("sent", sent, args=["detail"])
    return place
