"""The few things that pages are put together from, beside drawn parts: buttons, fields, dialogs, notices.

They are the browser's own elements in the look of the house, so the keyboard reaches them and a screen reader names
them. Promises that what a button does runs once at a time and off the event loop, and that a refusal is shown with its
remedy. Knows nothing of what is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.events import GenericEventArguments
from sqlalchemy.exc import SQLAlchemyError

from core.errors import LeptonError
from core.look.html import Html, shown, tag

logger = logging.getLogger(__name__)

Kind = Literal["plain", "main", "danger"]
T = TypeVar("T")
UNTOLD = "Something went wrong inside. The console's log has the details."


class Button(TextElement):
    """A button; ``act`` is called when it is pressed, and not again until it has returned."""

    def __init__(self, words: str, act: Callable[[], Awaitable[None]], kind: Kind = "plain") -> None:
        super().__init__(tag="button", text=words)
        self.classes(f"act {kind}").props("type=button")
        self._act = act
        self._busy = False
        self.on("click", self._pressed, args=[])

    def enable(self, able: bool) -> None:
        """Whether it can be pressed."""
        if able:
            self.props(remove="disabled")
        else:
            self.props("disabled")

    async def _pressed(self) -> None:
        if self._busy:
            return
        self._busy = True
        self.enable(False)
        try:
            with self.client:  # not where the button is: news may rebuild that while a question is open
                await guarded(self._act)
        finally:
            self._busy = False
            if not self.is_deleted:
                self.enable(True)


class Field:
    """A named field of a form; ``value`` is what stands in it.

    Args:
        label: what it asks for. help: a line below it.
        kind: of the browser's ``input``, or ``textarea``.
        changed: called with the new value while it is typed or chosen.
        more: attributes, such as ``min``.
    """

    def __init__(
        self,
        label: str,
        value: str = "",
        *,
        kind: str = "text",
        help: str = "",
        changed: Callable[[str], None] | None = None,
        **more: object,
    ) -> None:
        self.value = value
        self._changed = changed
        with ui.element("div").classes("field"):
            named = TextElement(tag="label", text=label)
            self.element = ui.element("textarea" if kind == "textarea" else "input")
            if kind != "textarea":
                self.element.props["type"] = kind
            self.element.props["^value"] = value  # the attribute: what is typed since is never overwritten
            for name, told in more.items():
                self.element.props[name.rstrip("_").replace("_", "-")] = told
            _join(named, self.element, help)
        self.element.on("input", self._typed, js_handler="(event) => emit(event.target.value)")

    def _typed(self, event: GenericEventArguments) -> None:
        self.value = str(event.args)
        if self._changed is not None:
            self._changed(self.value)


class Choice:
    """A named choice of one among several; ``choices`` maps values to words."""

    def __init__(
        self,
        label: str,
        choices: Mapping[str, str],
        value: str,
        *,
        help: str = "",
        changed: Callable[[str], None] | None = None,
    ) -> None:
        self.value = value
        self._choices = choices
        self._changed = changed
        with ui.element("div").classes("field"):
            named = TextElement(tag="label", text=label)
            with ui.element("select") as self.element:
                for key, words in choices.items():
                    option = TextElement(tag="option", text=shown(words))
                    option.props["value"] = key
                    if key == value:
                        option.props["selected"] = True
            _join(named, self.element, help)
        self.element.on("change", self._chosen, js_handler="(event) => emit(event.target.value)")

    def _chosen(self, event: GenericEventArguments) -> None:
        value = str(event.args)
        if value in self._choices:
            self.value = value
            if self._changed is not None:
                self._changed(value)


def drawn(markup: Html) -> ui.html:
    """A part that stays as it is."""
    return ui.html(markup)


def row() -> ui.element:
    """Buttons and fields beside each other, below each other where there is no room."""
    return ui.element("div").classes("row")


async def off_loop(work: Callable[..., T], *given: Any, **named: Any) -> T:
    """The result of work that blocks, done in a thread."""
    return await asyncio.to_thread(work, *given, **named)


async def guarded(act: Callable[[], Awaitable[None]]) -> None:
    """Do it; where it is refused, show why and what to do instead."""
    try:
        await act()
    except LeptonError as error:
        refuse(error)
    except (SQLAlchemyError, OSError, LookupError, ValueError):
        logger.exception("an action failed")
        notice(UNTOLD, bad=True)


def refuse(error: LeptonError) -> None:
    """Show a refusal with its remedy."""
    notice(f"{error.message} → {error.remedy}", bad=True)


def notice(words: str, *, bad: bool = False) -> None:
    """A line at the foot of the window that goes by itself, later where it is bad news."""
    ui.notify(
        shown(words),
        position="bottom",
        timeout=12_000 if bad else 4_000,
        close_button="Close" if bad else False,
        classes=f"notice {'bad' if bad else ''}",
    )


async def confirmed(question: str, words: Html, yes: str, kind: Kind = "main") -> bool:
    """Whether a person says yes to a question; Escape says no."""
    with ui.dialog() as dialog, ui.element("div").classes("dialog").props('role="dialog" aria-modal="true"'):
        drawn(tag("h2", question))
        drawn(words)

        async def answer() -> None:
            dialog.submit(True)

        async def leave() -> None:
            dialog.submit(False)

        with row():
            Button(yes, answer, kind).props("autofocus")
            Button("Cancel", leave)
    said = await dialog
    dialog.delete()
    return bool(said)


def _join(label: ui.element, field: ui.element, help: str) -> None:
    """A field with what names it, and the line that helps, for whoever cannot see that they belong together."""
    label.props["for"] = field.html_id
    if help:
        line = TextElement(tag="small", text=help)
        field.props["aria-describedby"] = line.html_id
