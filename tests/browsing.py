"""Chromium, driven by Playwright, for tests that look at pages as a person does.

Promises that whatever a page asks of another place than the one it came from is caught and told, as is every error
that it prints. Knows nothing of what pages show.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from PIL import Image
from playwright.sync_api import Page, Playwright, sync_playwright

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip
DESK, PHONE = (1280, 860), (390, 844)
SECONDS = 20.0


def chromium() -> str | None:
    """Debian's Chromium, where it is installed."""
    return shutil.which("chromium")


@dataclass
class Window:
    """A page in a window, what it asked of other places, and what it complained of."""

    page: Page
    origin: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to a path, and wait until the page can be used."""
        self.page.goto(self.origin + path)
        self.page.wait_for_selector("h1")
        self.page.wait_for_function("() => window.did_handshake === true")
        return self.page

    def clean(self) -> None:
        """Nothing was asked of other places, and nothing went wrong."""
        assert self.foreign == []
        assert self.errors == []


class Browser:
    """The browser; ``with`` starts and ends it. ``heard`` is a WAV file that its microphone hears, over and over."""

    def __init__(self, program: str, heard: Path | None = None):
        self._program = program
        self._arguments = [*ARGUMENTS] + [f"--use-file-for-fake-audio-capture={heard}"] * (heard is not None)
        self._driver: Playwright | None = None

    def __enter__(self) -> Browser:
        self._driver = sync_playwright().start()
        self._made = self._driver.chromium.launch(executable_path=self._program, args=self._arguments)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._driver is not None
        self._made.close()
        self._driver.stop()

    @contextmanager
    def window(
        self, origin: str, size: tuple[int, int] = DESK, scheme: Literal["light", "dark"] = "light"
    ) -> Iterator[Window]:
        """A window of its own, without cookies or storage of others."""
        context = self._made.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        made = Window(page, origin)
        own = (origin, origin.replace("http", "ws", 1), "data:", "blob:", "about:")
        page.on("request", lambda request: None if request.url.startswith(own) else made.foreign.append(request.url))
        page.on("websocket", lambda socket: None if socket.url.startswith(own) else made.foreign.append(socket.url))
        page.on("pageerror", lambda error: made.errors.append(str(error)))
        page.on("console", lambda told: made.errors.append(told.text) if told.type == "error" else None)
        try:
            yield made
        finally:
            context.close()


def shoot(window: Window, file: Path) -> None:
    """The whole page as a picture of 256 colours, which these pages hardly need."""
    file.parent.mkdir(parents=True, exist_ok=True)
    taken = window.page.screenshot(full_page=True, animations="disabled")
    drawn = Image.open(io.BytesIO(taken)).convert("RGB")
    drawn.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def pictures(otherwise: Path) -> Path:
    """The folder that pictures are wanted in, which ``LEPTON_PICTURES`` names; another one where it names none."""
    return Path(os.environ.get("LEPTON_PICTURES", otherwise)).absolute()
