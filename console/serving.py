"""Which version serves, and the controls that change it: promote, roll back, challenge, stop, release.

Promises that what is pressed acts on what was seen: where somebody moved the champion meanwhile, it is refused and the
page shows what is now. Promotions embed what stands first, in a thread. Knows nothing of tables or drawings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from console.contract import Console
from console.live import live
from console.pieces import Button, Choice, Field, confirmed, drawn, notice, row
from console.words import percent
from core.challenges import Challenge, Judge, Mode
from core.errors import Conflict, InvalidInput, LeptonError
from core.fall import Bound, bounds
from core.home import Home
from core.look.html import Html, joined, tag
from core.outcomes import Comparison, Measured, compare_all
from core.promotion import challenge as begin
from core.promotion import prepare, promote
from core.types import Version

MODES = {
    "shadow": "Shadow: it gets a copy of the traffic, nobody gets its answers",
    "split": "Split: it answers its share of the traffic",
}
JUDGES = {"people": "People decide", "evidence": "Evidence decides, as labels come in"}
CONVINCES = 20  # an e-value that is evidence enough, at 5 %


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The versions of a scene, oldest first, and which of them serve; generations are of champion and challenge."""

    scene: str
    versions: tuple[Version, ...]
    champion: str | None
    generation: int
    previous: str | None
    challenge: Challenge | None
    challenged: int

    @property
    def challenger(self) -> str | None:
        """The version that challenges."""
        return self.challenge.version if self.challenge else None

    def number(self, version: str | None) -> str:
        """What people call a version."""
        return next((f"version {each.number}" for each in self.versions if each.version == version), "no version")


def standing(home: Home, scene: str) -> Standing:
    """Look now."""
    alias = home.registry.champion(scene)
    try:
        previous = home.registry.previous_champion(scene) if alias else None
    except LeptonError:
        previous = None
    return Standing(
        scene=scene,
        versions=tuple(home.registry.versions(scene)),
        champion=alias.version if alias else None,
        generation=alias.generation if alias else 0,
        previous=previous,
        challenge=home.challenges.of(scene),
        challenged=home.challenges.generation(scene),
    )


async def controls(console: Console, held: Standing) -> None:
    """What can be done now."""
    if held.challenge is not None:
        await _running(console, held)
    others = [each for each in held.versions if each.version != held.champion]
    if not others:
        return
    with ui.element("section").classes("panel"):
        drawn(tag("h2", "Change what serves"))
        await live(console, lambda: bounded(bounds(console.home, held.scene), held), "labels", "scenes", seconds=3.0)
        ready = {e.version: f"version {e.number}" for e in reversed(others) if e.state == "ready"}
        with row():
            chosen = Choice("Version", ready, next(iter(ready), "")) if ready else None
            if chosen is not None:
                Button("Promote", lambda: to_champion(console, held, chosen.value), "main")
            if held.previous is not None:
                Button(f"Roll back to {held.number(held.previous)}", lambda: _back(console, held))
        if chosen is not None:
            _challenging(console, held, chosen)


async def to_champion(console: Console, held: Standing, version: str) -> None:
    """Promote, after a question."""
    words = tag(
        "p",
        f"{held.number(version)} becomes champion in place of {held.number(held.champion)}, with a head of all "
        "labels that stand now. No request fails meanwhile; you can roll back at once.",
    )
    if await confirmed(f"Promote {held.number(version)}?", words, "Promote"):
        await _move(console, held, version, "promote")


async def release(console: Console, held: Standing, version: str) -> None:
    """Lift a quarantine."""
    await asyncio.to_thread(console.home.registry.release, held.scene, version)
    notice(f"{held.number(version)} is released")


async def _back(console: Console, held: Standing) -> None:
    assert held.previous is not None, "the button is there only then"
    words = tag("p", f"{held.number(held.previous)} takes over from {held.number(held.champion)}, with today's labels.")
    if await confirmed(f"Roll back to {held.number(held.previous)}?", words, "Roll back"):
        await _move(console, held, held.previous, "rollback")


async def _move(console: Console, held: Standing, version: str, action: str) -> None:
    home = console.home
    gone = await _told("features for what stands", partial(prepare, home, held.scene, version))
    await asyncio.to_thread(
        promote, home, held.scene, version, expected_generation=held.generation, action=action, why="by the console"
    )
    notice(f"{held.number(version)} is champion" + (f"; {gone} examples have no input any more" if gone else ""))


def _challenging(console: Console, held: Standing, chosen: Choice) -> None:
    with ui.element("details"):
        TextElement(tag="summary", text="Let it challenge the champion on live traffic")
        with row():
            mode = Choice("How", MODES, "shadow")
            share = Field("Share of the traffic, %", "100", kind="number", min=0, max=100, step=1)
            judge = Choice("Who decides", JUDGES, "people")

            async def start() -> None:
                await _begin(console, held, chosen.value, mode.value, share.value, judge.value)

            Button("Begin", start)


async def _begin(console: Console, held: Standing, version: str, mode: str, share: str, judge: str) -> None:
    try:
        part = float(share) / 100
    except ValueError:
        raise InvalidInput(f"{share[:20]!r} is no share", "give a number from 0 to 100") from None
    home = console.home
    await _told("features for what stands", partial(prepare, home, held.scene, version))
    await asyncio.to_thread(
        begin,
        home,
        held.scene,
        version,
        mode=cast("Mode", mode),
        share=part,
        expected_generation=held.challenged,
        judge=cast("Judge", judge),
    )
    notice(f"{held.number(version)} challenges the champion")


async def _running(console: Console, held: Standing) -> None:
    challenge = held.challenge
    assert challenge is not None, "it is looked at before"
    home = console.home

    async def stop() -> None:
        if home.challenges.generation(held.scene) != held.challenged:
            raise Conflict("the challenge has changed meanwhile", "look at it again, then decide again")
        await asyncio.to_thread(home.challenges.end, held.scene)
        notice(f"{held.number(challenge.version)} challenges no more")

    def compared() -> Html:
        now, champion = home.challenges.of(held.scene), home.registry.champion(held.scene)
        if now is None or champion is None:
            return Html()
        return joined(comparison(name, told) for name, told in compare_all(home, now, champion.version).items())

    with ui.element("section").classes("panel"):
        how = "gets a copy of" if challenge.mode == "shadow" else "answers"
        judge = "evidence decides" if challenge.judge == "evidence" else "people decide"
        probation = ", in probation of the champion" if challenge.probation else ""
        drawn(
            joined(
                (
                    tag("h2", f"{held.number(challenge.version).capitalize()} challenges {held.number(held.champion)}"),
                    tag(
                        "p", f"It {how} {100 * challenge.share:g} % of the traffic; {judge}{probation}.", class_="soft"
                    ),
                )
            )
        )
        await live(console, compared, "labels", "scenes", seconds=3.0)
        with row():
            Button("Promote it", lambda: to_champion(console, held, challenge.version), "main")
            Button("Stop the challenge", stop)


def bounded(asked: Sequence[Bound], held: Standing) -> Html:
    """Below what the champion's live accuracy must not fall, in words."""
    told = (f"{bound.words}; then {held.number(bound.former)} comes back." for bound in asked)
    return joined(tag("p", words, class_="soft") for words in told)


def comparison(task: str, told: Comparison) -> Html:
    """Both versions on labelled traffic, in words."""

    def figure(measured: Measured) -> str:
        if measured.value is None or measured.low is None or measured.high is None:
            return "no labelled answer yet"
        if told.metric == "accuracy":
            low, high = (percent(bound).removesuffix(" %") for bound in (measured.low, measured.high))
            return f"{percent(measured.value)} ({low} to {high}) of {measured.count}"
        return f"{measured.value:.4g} ({measured.low:.4g} to {measured.high:.4g}) on {measured.count}"

    rows = [
        (f"{told.metric.replace('_', ' ')} of the champion", figure(told.champion)),
        (f"{told.metric.replace('_', ' ')} of the challenger", figure(told.challenger)),
        ("right alone", f"the challenger {told.wins} times, the champion {told.losses} times"),
        (
            "evidence",
            ", ".join(f"for the {name} {value:.3g}" for name, value in told.evidence.items())
            + f"; {CONVINCES} convinces",
        ),
    ]
    if any(told.brought):
        words = f"the challenger {told.brought[0]} times, the champion {told.brought[1]} times"
        rows.insert(3, ("the same before, by the gate", words))
    if told.agreement is not None:
        rows.append(("same answers", percent(told.agreement)))
    lines = [tag("tr", tag("th", name), tag("td", words)) for name, words in rows]
    return joined((tag("h3", task) if task else None, tag("table", *lines)))


async def _told(words: str, work: Callable[[Callable[[int, int], None]], int]) -> int:
    """What work returns that tells how far it is; that is shown at the foot of the window."""
    far = [0, 0]

    def progress(done: int, total: int) -> None:
        far[:] = done, total

    task = asyncio.create_task(asyncio.to_thread(work, progress))
    note = None
    while not (await asyncio.wait({task}, timeout=0.5))[0]:
        note = note or ui.notification(words, timeout=None, spinner=True, position="bottom").classes("notice")
        note.message = f"{words}: {far[0]} of {far[1]}" if far[1] else words
    if note is not None:
        note.dismiss()
    return task.result()
