"""The place where one input after the other is labelled: it large, what the model thinks, and a key for each answer.

Promises that every button can be pressed by its key (``data-key``, see ``console/static/console.js``), and that the
next input is there as soon as the label is kept. Knows nothing of the queue, which is the desk's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from nicegui import ui

from console import shown
from console.contract import Console
from console.desk import Desk, Question
from console.inputs import meant
from console.pieces import Button, Choice, Field, drawn, guarded, notice, row
from core.errors import InvalidInput, LeptonError
from core.labelling import BY_LOT
from core.look.html import Html, joined, named, tag
from core.look.html import shown as inert
from core.outcomes import Said
from core.types import Scene

KEYED = 9
GUESSES = 5  # labels that are told with their chances
LETTERS = 40  # of a label on a button
LOT = "it was drawn by lot, so that accuracy can be told without bias"


class Bench:
    """One window's place; ``annotator`` signs what is said here."""

    def __init__(self, console: Console, desk: Desk):
        self.annotator = ""
        self.idle = True
        self._console = console
        self._desk = desk
        self._place = ui.element("section").classes("bench")

    async def turn(self) -> None:
        """Show what is asked about now."""
        refusal: LeptonError | None = None
        try:
            question = await asyncio.to_thread(self._desk.present)
        except InvalidInput as error:
            question, refusal = None, error
        self.idle = question is None
        self._place.clear()
        with self._place:
            if question is None:
                drawn(_nothing(refusal))
                with row():
                    self._keyed(Button("Undo", self._undo), "u")
            else:
                self._ask(question)

    def _ask(self, question: Question) -> None:
        task = self._desk.task
        with ui.element("div").classes("look"):
            drawn(shown.example(task.modality, question.example, question.data))
        with ui.element("div").classes("say"):
            drawn(guess(question))
            if task.task == "regression":
                self._number(question)
            else:
                self._labels(question, task)
            with row():
                self._keyed(Button("Skip", partial(self._skip, question)), "s")
                self._keyed(Button("Undo", self._undo), "u")

    def _labels(self, question: Question, task: Scene) -> None:
        first, others = choices(task, question)
        likely = next(iter(question.chances), question.label)
        with ui.element("div").classes("answers").props('role="group" aria-label="What is it?"'):
            for place, label in enumerate(first, 1):
                button = Button(inert(_short(label)), partial(self._say, question, label))
                button.props["title"] = inert(label)
                button.props["dir"] = "auto"
                if label == likely:
                    button.classes("guessed")
                self._keyed(button, str(place))
        if others:
            with row():
                more = Choice("or another", {label: _short(label) for label in others}, others[0])
                Button("Say it", lambda: self._say(question, more.value))
        if task.new_labels == "accept":
            with row():
                new = Field("or a new label", dir="auto", maxlength=1000)
                Button("Say it", lambda: self._say(question, meant(task, new.value)))

    def _number(self, question: Question) -> None:
        with row():
            field = Field("What is it?", kind="number", step="any", placeholder=f"{question.value or 0.0:.4g}")

            async def said() -> None:
                await self._say(question, meant(self._desk.task, field.value))

            Button("Say it", said, "main")
            field.element.on("keydown.enter", partial(guarded, said), args=[])

    async def _say(self, question: Question, said: Said) -> None:
        await asyncio.to_thread(self._desk.say, question, said, self.annotator.strip())
        await self.turn()

    async def _skip(self, question: Question) -> None:
        await asyncio.to_thread(self._desk.skip, question)
        await self.turn()

    async def _undo(self) -> None:
        if not await asyncio.to_thread(self._desk.undo):
            notice("there is nothing to take back in this window")
            return
        notice("taken back")
        await self.turn()

    @staticmethod
    def _keyed(button: Button, key: str) -> None:
        button.props["data-key"] = key
        button.props["aria-keyshortcuts"] = key


def choices(task: Scene, question: Question) -> tuple[list[str], list[str]]:
    """The labels that have keys, and all others: in the scene's order where nine are enough, else the likely first."""
    known = list(dict.fromkeys([*task.labels, *sorted(question.chances)]))
    if len(known) <= KEYED:
        return known, []
    ranked = sorted(known, key=lambda label: -question.chances.get(label, 0.0)) if question.chances else known
    first = ranked[:KEYED]
    return first, [label for label in known if label not in first]


def guess(question: Question) -> Html:
    """What the model thinks, and why it asks."""
    why = LOT if question.why == BY_LOT else question.why
    if question.value is not None:
        thinks: Sequence[object] = (tag("p", f"{question.value:.4g}", class_="verdict"),)
    elif question.chances:
        top = dict(list(question.chances.items())[:GUESSES])
        thinks = (shown.chances(top, next(iter(top))),)
    else:
        thinks = (tag("p", named(question.label), f" {100 * question.confidence:.1f} %", class_="verdict"),)
    return joined(
        (
            tag("p", "The model's guess now", class_="soft small"),
            *thinks,
            tag("p", "Why it asks: ", why[:1].lower() + why[1:], ".", class_="soft small", aria_live="polite"),
        )
    )


def _nothing(refusal: LeptonError | None) -> Html:
    if refusal is not None:
        return tag(
            "section",
            tag("h2", "The queue cannot be put in this order"),
            tag("p", refusal.message),
            tag("p", refusal.remedy, class_="soft"),
            class_="empty",
        )
    words = "Every recent answer has a label, or was skipped here. Whatever is asked next appears here by itself."
    return tag("section", tag("h2", "Nothing to label"), tag("p", words), class_="empty")


def _short(label: str) -> str:
    return label if len(label) <= LETTERS else label[: LETTERS - 1] + "…"
