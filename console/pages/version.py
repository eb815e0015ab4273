"""One version: what it is made of, how good it was, how it came about, its card, and its bundle to take away."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from nicegui import ui

from console.contract import Console
from console.lineage import made_of
from console.live import follow
from console.pages.versions import backbones, metrics
from console.pieces import Button, drawn, row
from console.serving import Standing, release, standing, to_champion
from console.words import ago, figure, metric_name
from core.bundle import CARD, checked
from core.errors import LeptonError
from core.home import Home
from core.look.html import Html, joined, named, tag
from core.types import Version

ROUTE, TITLE, PLACE = "/scenes/{scene}/versions/{version}", "Version", None


async def show(console: Console, scene: str, version: str) -> None:
    """Figures and controls, then the card."""
    chosen = await asyncio.to_thread(console.home.registry.version, scene, version)
    drawn(tag("h2", f"Version {chosen.number}"))
    await follow(console, lambda: standing(console.home, scene), partial(_controls, console, chosen.version), "scenes")
    drawn(joined((_facts(chosen), _measured(chosen), _members(chosen))))
    card = await asyncio.to_thread(_card, console.home, chosen)
    with ui.element("section").classes("panel"):
        drawn(tag("h2", "Model card"))
        ui.markdown(card).classes("markdown")


async def _controls(console: Console, version: str, held: Standing) -> None:
    chosen = next(each for each in held.versions if each.version == version)
    state = "It is champion." if version == held.champion else ""
    state = "It challenges the champion." if version == held.challenger else state
    if chosen.state == "quarantined":
        state = f"It is in quarantine: {chosen.reason}"
    if state:
        drawn(tag("p", state, class_="soft"))
    with row():
        if chosen.state == "quarantined":
            Button("Release from quarantine", lambda: release(console, held, version))
        elif version != held.champion:
            Button("Promote", lambda: to_champion(console, held, version), "main")
        link = f"/scenes/{held.scene}/versions/{version}/bundle.zip"
        drawn(tag("a", "Download the bundle", href=link, class_="act", download=True))


def _facts(version: Version) -> Html:
    told = version.manifest
    lineage = told.get("lineage")
    data = str(lineage.get("data_digest", ""))[:16] if isinstance(lineage, dict) else ""
    facts = {
        "digest": tag("code", version.version),
        "made": ago(version.created_at, time.time()),
        "made of": backbones(version),
        "recipe": str(told.get("recipe", "")).replace("_", " "),
        "precision": told.get("precision", "fp32"),
        "data": tag("code", data),
        "came from": made_of(version) or "data alone",
        "job": tag("a", version.job[-12:], href=f"/jobs/{version.job}") if version.job else None,
    }
    lines = [tag("tr", tag("th", key), tag("td", value)) for key, value in facts.items() if value is not None]
    return tag("section", tag("table", *lines), class_="panel")


def _measured(version: Version) -> Html | None:
    told = metrics(version)
    if not told:
        return None
    lines = [
        tag(
            "tr",
            tag("td", metric_name(name)),
            tag("td", figure(name, metric["value"]), class_="n"),
            tag("td", f"{figure(name, metric['low'])} to {figure(name, metric['high'])}", class_="n"),
            tag("td", f"{metric['rows']:,}", class_="n"),
        )
        for name, metric in told.items()
    ]
    heads = [tag("th", "metric"), *(tag("th", head, class_="n") for head in ("value", "95 % interval", "rows"))]
    shown = tag("div", tag("table", tag("tr", *heads), *lines), class_="scroll")
    return joined((tag("h2", "How good it was when it was made"), shown))


def _members(version: Version) -> Html | None:
    members = version.manifest.get("members")
    if not isinstance(members, list):
        return None
    heads = ("backbone", "source", "licence", "parameters", "features", "tuned here")
    lines = [
        tag(
            "tr",
            tag("td", named(m["name"])),
            tag("td", named(m["source"])),
            tag("td", named(m["licence"])),
            tag("td", f"{m['parameters']:,}", class_="n"),
            tag("td", m["dimension"], class_="n"),
            tag("td", "yes" if m.get("tuned") else "no"),
        )
        for m in members
    ]
    top = [tag("th", head, class_="n" if head in ("parameters", "features") else None) for head in heads]
    return joined((tag("h2", "Members"), tag("div", tag("table", tag("tr", *top), *lines), class_="scroll")))


def _card(home: Home, version: Version) -> str:
    files = version.manifest.get("files")
    if not isinstance(files, dict) or CARD not in files:
        return "The bundle of this version has no card."
    try:
        return checked(home.artifacts.bundle(version.version), CARD, str(files[CARD])).decode("utf-8", "replace")
    except LeptonError as error:
        return f"The card cannot be shown: {error.message}."
