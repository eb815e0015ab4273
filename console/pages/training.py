"""The jobs of a scene: what is trained now, and what was."""

from __future__ import annotations

from console.contract import Console
from console.health import health, warnings
from console.live import live
from console.pages.jobs import listed
from console.pieces import drawn
from core.look.html import tag

ROUTE, TITLE, PLACE = "/scenes/{scene}/training", "Training", 20


async def show(console: Console, scene: str) -> None:
    """The list, and the way to more."""
    console.home.registry.scene(scene)
    await live(console, lambda: warnings(health(console.home), "trainer"), "clock")
    drawn(tag("p", tag("a", "Train on more data", href="/new", class_="act"), class_="row"))
    await live(console, lambda: listed(console.home, scene), "jobs", "clock")
