"""The versions of a scene: side by side, where each comes from, what was done to them; and what serves is changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from nicegui import ui

from console import lineage
from console.contract import Console
from console.deeds import decided, history
from console.health import health, warnings
from console.live import follow, live
from console.pieces import Button, confirmed, drawn, notice
from console.serving import Standing, controls, standing
from console.words import ago, interval, metric_name
from core.bundle import metrics_of
from core.holds import Hold
from core.look.html import Html, joined, tag
from core.registry import short
from core.types import Version

ROUTE, TITLE, PLACE = "/scenes/{scene}/versions", "Versions", 60
HELD = "Answers go on with the last good one. Withdraw the labels that moved it, or let it through."
COLUMNS = 5  # metrics that are shown beside each other
ROWS = 40  # of the history


async def show(console: Console, scene: str) -> None:
    """Controls above, then tables that follow the registry."""
    home = console.home
    home.registry.scene(scene)

    def alive() -> Html:
        return warnings(health(home), "service")

    def compared() -> Html:
        held = standing(home, scene)
        return joined(
            (
                tag("h2", "Side by side"),
                table(held),
                tag("h2", "Where they come from"),
                tag("div", lineage.draw(lineage.nodes(held.versions, held.champion, held.challenger)), class_="scroll"),
            )
        )

    def told() -> Html:
        rows, found, now = home.registry.history(scene, ROWS), home.registry.versions(scene), time.time()
        judged = home.decisions.of(scene, ROWS)
        gate = joined((tag("h2", "What the gate decided"), decided(judged, found, now))) if judged else None
        return joined((gate, tag("h2", "What was done"), history(rows, found, now)))

    await live(console, alive, "clock")
    await follow(console, lambda: home.holds.of(scene), partial(_held, console), "scenes", "labels")
    await follow(console, lambda: standing(home, scene), partial(controls, console), "scenes")
    await live(console, compared, "scenes")
    await live(console, told, "scenes")
    if not home.registry.versions(scene):
        drawn(tag("p", "The first version appears here as soon as a training has ended.", class_="soft"))


async def _held(console: Console, hold: Hold | None) -> None:
    """What is to be done about a head that the guard holds back."""
    if hold is None:
        return

    async def accept() -> None:
        words = tag("p", hold.words)
        if await confirmed("Serve the head that is held back?", words, "Serve it all the same", "danger"):
            await asyncio.to_thread(console.home.holds.accept, hold.scene)
            notice("the learner serves it at its next look")

    with ui.element("section").classes("panel"):
        drawn(joined((tag("h2", "The newest head is held back"), tag("p", hold.words), tag("p", HELD, class_="soft"))))
        if hold.accepted:
            drawn(tag("p", "It was let through; the learner serves it at its next look.", class_="soft"))
        else:
            Button("Serve it all the same", accept, "danger")


def table(held: Standing) -> Html:
    """A line for each version, newest first; the figures are those measured when it was made."""
    versions = sorted(held.versions, key=lambda version: -version.number)
    if not versions:
        return tag("p", "There is no version yet.", class_="soft")
    measured = {version.version: metrics(version) for version in versions}
    names = list(dict.fromkeys(name for told in measured.values() for name in told))[:COLUMNS]
    heads = [
        tag("th", "version"),
        tag("th", "made of"),
        *(tag("th", metric_name(name), class_="n") for name in names),
        tag("th", "made"),
    ]
    lines = [
        tag(
            "tr",
            tag("td", name(version), " ", _state(version, held)),
            tag("td", backbones(version), tag("br"), tag("small", _recipe(version), class_="soft")),
            *(tag("td", _metric(name, measured[version.version].get(name)), class_="n") for name in names),
            tag("td", ago(version.created_at, time.time())),
            class_="chosen" if version.version == held.champion else None,
        )
        for version in versions
    ]
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines)),
        tag(
            "p",
            "Figures with 95 % intervals, measured on held-out rows when the version was made.",
            class_="soft small",
        ),
        class_="scroll",
    )


def name(version: Version) -> Html:
    """A version's number and the beginning of its digest, leading to its page."""
    return tag(
        "a",
        f"{version.number} ",
        tag("small", short(version.version), class_="soft"),
        href=f"/scenes/{version.scene}/versions/{version.version}",
    )


def metrics(version: Version) -> dict[str, Mapping[str, Any]]:
    """The metrics of all tasks, named by the task where there are several."""
    told = metrics_of(version.manifest)
    return {f"{task} {name}".strip(): each for task, of in told.items() for name, each in of.items()}


def backbones(version: Version) -> str:
    """What a version's features come from, and the shares where several heads were fused."""
    members, shares = version.manifest.get("members"), version.manifest.get("alphas")
    if not isinstance(members, list) or not isinstance(shares, list):
        return ""
    weights = [f" ({share:.2f})" for share in shares] if len(shares) > 1 else [""] * len(members)
    return " + ".join(f"{member['name']}{weight}" for member, weight in zip(members, weights, strict=False))


def _recipe(version: Version) -> str:
    told = version.manifest
    fusion = told.get("fusion")
    fused = f", fused by {fusion['method']}" if isinstance(fusion, dict) else ""
    precision = f", {told['precision']}" if told.get("precision", "fp32") != "fp32" else ""
    return f"{str(told.get('recipe', '')).replace('_', ' ')}{fused}{precision}"


def _metric(name: str, metric: Mapping[str, Any] | None) -> Html | str:
    return "" if metric is None else interval(name, metric)


def _state(version: Version, held: Standing) -> Html | None:
    if version.version == held.champion:
        return tag("span", "champion", class_="chip first")
    if version.version == held.challenger:
        return tag("span", "challenger", class_="chip")
    if version.state == "quarantined":
        return tag("span", "quarantined", class_="chip bad", title=version.reason)
    return None
