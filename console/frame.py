"""The frame around every page: the name of the house, the way to other pages, which processes are up.

Promises that a page which cannot be shown says why, and what to do instead, inside the same frame. Knows no page, but
what each says of itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from nicegui import ui

from console.contract import Console, Page, of_scene
from console.health import health, lights
from console.live import live, start
from console.pieces import drawn
from core.errors import LeptonError
from core.look.html import Html, joined, named, tag

logger = logging.getLogger(__name__)

MARK = Html(
    '<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="9.5" fill="none" '
    'stroke="currentColor" stroke-width="1.6"/><circle cx="18.7" cy="5.3" r="2.9" fill="var(--first)"/></svg>'
)


async def framed(console: Console, page: Page, pages: Sequence[Page], parts: Mapping[str, str]) -> None:
    """Put a page together: its frame, then the page itself."""
    scene = parts.get("scene")
    ui.page_title(f"{page.TITLE} · {scene} · Lepton" if scene else f"{page.TITLE} · Lepton")
    drawn(tag("a", "Skip to the page", href="#page", class_="skip"))
    with ui.element("header").classes("top"):
        drawn(_navigation(page, pages))
        await live(console, lambda: lights(health(console.home)), "clock")
    with ui.element("div").props('id="page"'):
        if scene is not None:
            drawn(_scene(page, pages, scene))
        elif page.PLACE is not None:
            drawn(tag("h1", page.TITLE))
        try:
            await page.show(console, **parts)
        except LeptonError as error:
            ui.status_code(error.status)
            drawn(
                tag(
                    "section",
                    tag("h2", "There is nothing to show here"),
                    tag("p", error.message),
                    tag("p", error.remedy, class_="soft"),
                    tag("p", tag("a", "All scenes", href="/")),
                    class_="empty",
                )
            )
    start()


async def missing(pages: Sequence[Page]) -> None:
    """What is shown where there is no page."""
    ui.page_title("Nothing here · Lepton")
    ui.status_code(404)
    with ui.element("header").classes("top"):
        drawn(_navigation(None, pages))
    with ui.element("div").props('id="page"'):
        drawn(tag("h1", "There is no such page"))
        drawn(tag("p", "Check the address, or begin at ", tag("a", "the scenes", href="/"), ".", class_="lead"))


def _navigation(page: Page | None, pages: Sequence[Page]) -> Html:
    links = [
        tag("a", each.TITLE, href=each.ROUTE, aria_current="page" if each is page else None)
        for each in pages
        if not of_scene(each) and each.PLACE is not None
    ]
    return tag("nav", tag("a", MARK, "Lepton", href="/", class_="house"), *links, aria_label="Main")


def _scene(page: Page, pages: Sequence[Page], scene: str) -> Html:
    tabs = [
        tag("a", each.TITLE, href=each.ROUTE.format(scene=scene), aria_current=_current(each, page))
        for each in pages
        if of_scene(each) and each.PLACE is not None
    ]
    return joined(
        (
            tag("p", tag("a", "Scenes", href="/"), " / ", named(scene), class_="crumbs soft"),
            tag("h1", named(scene)),
            tag("nav", *tabs, class_="tabs", aria_label="Of this scene"),
        )
    )


def _current(tab: Page, page: Page) -> str | None:
    """Whether a tab is the page's own, or of the page above it."""
    if tab is page:
        return "page"
    return "true" if page.ROUTE.startswith(f"{tab.ROUTE}/") else None
