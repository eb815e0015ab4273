"""Parts of a page that follow what they show: drawn in a thread, and drawn again when there is news.

Promises that a part arrives drawn with its page, that it is drawn again within a second or two of news and sent only
where it has changed, and that a database which is away for a moment leaves the page as it was. Every window has parts
of its own, which end with it; what they show is in the database, so a reload or a second window shows the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from nicegui import Client, ui
from sqlalchemy.exc import SQLAlchemyError

from console.contract import Console
from console.pulse import Pulse, Topic
from core.errors import LeptonError
from core.look.html import Html

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.3
T = TypeVar("T")

_of_client: WeakKeyDictionary[Client, list[_Part]] = WeakKeyDictionary()


async def live(console: Console, draw: Callable[[], Html], *topics: Topic, seconds: float = 1.0) -> ui.html:
    """A part that shows what ``draw`` returns.

    Args:
        topics: whose news may have changed it.
        seconds: at least between two drawings.
    """
    seen = console.pulse.at(topics)
    part = ui.html(await asyncio.to_thread(draw))

    async def changed(drawn: Html) -> None:
        if drawn != part.content:
            part.content = drawn

    _parts().append(_Part(part, console.pulse, draw, changed, topics, seen, seconds))
    return part


async def follow(
    console: Console, read: Callable[[], T], show: Callable[[T], Awaitable[None]], *topics: Topic, seconds: float = 1.0
) -> None:
    """A part with buttons and fields in it: ``show`` puts it together from what ``read`` returns, and anew where that
    has changed. Arguments as ``live`` takes them."""
    part, seen = ui.element("div"), console.pulse.at(topics)
    held = await asyncio.to_thread(read)
    with part:
        await show(held)

    async def changed(found: T) -> None:
        nonlocal held
        if found != held:
            held = found
            part.clear()
            with part:
                await show(found)

    _parts().append(_Part(part, console.pulse, read, changed, topics, seen, seconds))


def anew() -> None:
    """Look at all of this window's page again, news or not: somebody has chosen to see something else."""
    for part in _parts():
        part.anew = True


def start() -> None:
    """Follow from now on; called once a page is put together, because NiceGUI sends a page with its first timer."""
    parts = _parts()

    async def look() -> None:
        parts[:] = [part for part in parts if not part.element.is_deleted]
        for part in list(parts):
            await part.look()

    ui.timer(LOOK_SECONDS, look)


@dataclass(eq=False)
class _Part:
    """A part of a page.

    Attributes:
        seen: where its topics stood before the last drawing, so that no news is missed.
        anew: whether to draw it again without news.
    """

    element: ui.element
    pulse: Pulse
    read: Callable[[], Any]
    changed: Callable[[Any], Awaitable[None]]
    topics: tuple[Topic, ...]
    seen: tuple[int, ...]
    seconds: float
    looked: float = field(default_factory=time.monotonic)
    anew: bool = False

    async def look(self) -> None:
        now = self.pulse.at(self.topics)
        if not self.anew and (now == self.seen or time.monotonic() - self.looked < self.seconds):
            return
        self.anew = False
        try:
            found = await asyncio.to_thread(self.read)
        except (LeptonError, SQLAlchemyError) as error:
            logger.warning("a part of a page could not be drawn again: %s", error)
            self.anew = True
            return
        self.seen, self.looked = now, time.monotonic()
        if not self.element.is_deleted:
            await self.changed(found)


def _parts() -> list[_Part]:
    """The parts of this window's page."""
    return _of_client.setdefault(ui.context.client, [])
