"""What pages are given, and what a file of ``console/pages`` offers: the contract between the two.

A page draws what it shows as ``Html`` (``core.look.html``: everything that is not markup already is escaped), hands
the function that draws it to ``console.live.live``, which calls it in a thread and again when there is news, and adds
buttons and fields (``console.pieces``) where something can be done. Knows no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from console.pulse import Pulse
from console.uploads import Uploads
from core import plugins
from core.home import Home

PAGES = "console.pages"


@dataclass(frozen=True)
class Console:
    """What every page is given: where everything lies, the news, and what people hand over."""

    home: Home
    pulse: Pulse
    uploads: Uploads

    @property
    def service(self) -> str:
        """Where the service answers, without a slash at the end."""
        serve = self.home.settings.serve
        here = "127.0.0.1" if serve.host in {"0.0.0.0", "::"} else serve.host
        return (self.home.settings.console.service or f"http://{here}:{serve.port}").rstrip("/")


class Page(Protocol):
    """A file of ``console/pages``.

    Attributes:
        ROUTE: its path; parts in braces are handed to ``show`` by name. One that begins with ``/scenes/{scene}`` is a
            page of a scene.
        TITLE: what it is called.
        PLACE: its place among the tabs of a scene, or in the navigation at the top; None where it is in neither, and
            then, where it is no page of a scene, it draws its own heading.
    """

    ROUTE: str
    TITLE: str
    PLACE: int | None

    async def show(self, console: Console, **parts: str) -> None:
        """Put the page into its frame. Raises LeptonError where there is nothing to show, such as no such scene."""


def pages() -> Sequence[Page]:
    """All pages, in the order of their places."""
    found = [cast("Page", plugins.load(PAGES, name)) for name in plugins.names(PAGES)]
    return sorted(found, key=lambda page: (page.PLACE is None, page.PLACE or 0, page.ROUTE))


def of_scene(page: Page) -> bool:
    """Whether it is a page of a scene."""
    return page.ROUTE.startswith("/scenes/{scene}")
