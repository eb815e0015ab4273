"""Pages of the console over a large home: how soon each can be used, and what memory that costs.

``python -m benchmarks.console [--quick] [--json FILE]``: 100,000 predictions with features as wide as EfficientNet's,
10,000 labels, 50 versions and 200 jobs in SQLite; the console as a process of its own, opened by a real Chromium on the
same cores. A page counts as open when everything on it is drawn and its buttons work, from the moment its address was
asked for, the browser's cache warm. Memory is that of the console's process after every page was opened so often again.

Promises the median of the repetitions. Knows nothing of what pages show.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks import console_home
from benchmarks.console_home import SCENE
from benchmarks.report import Claim, Row, finish, options
from console.contract import pages
from core.config import Settings
from core.home import open_home
from tests.browsing import Browser, Window, chromium
from tests.processes import House, house

PREDICTIONS, LABELS, VERSIONS = 100_000, 10_000, 50
SECONDS = 1.0
MEGABYTES = 400.0
GROWTH = 60.0  # MB from the first round of pages to the last


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    program = chromium()
    if program is None:
        print("Chromium is not installed (as root: apt-get install chromium)", file=sys.stderr)
        return 1
    times = 5 if given.quick else 15
    with tempfile.TemporaryDirectory() as folder, house(Path(folder) / "home") as running:
        console_home.make(running.home, PREDICTIONS, LABELS, VERSIONS)
        running.start_console()
        assert running.console is not None
        process = psutil.Process(running.console.pid)
        with Browser(program) as browser, browser.window(f"http://127.0.0.1:{running.console_port}") as window:
            paths = _paths(running)
            for path in paths.values():
                _open(window, path)
            before = process.memory_info().rss / 1e6
            rows: list[Row] = [_row(name, path, window, times) for name, path in paths.items()]
            after = process.memory_info().rss / 1e6
            window.clean()
    slowest = max(float(str(row["median s"])) for row in rows)
    claims = [
        Claim(claim=f"seconds until the slowest page is open, {PREDICTIONS:,} predictions, {LABELS:,} labels, "
              f"{VERSIONS} versions", value=slowest, bound=SECONDS, holds=slowest < SECONDS),
        Claim(claim="resident MB of the console", value=after, bound=MEGABYTES, holds=after < MEGABYTES),
        Claim(claim=f"MB more after every page was opened {times} times", value=after - before, bound=GROWTH,
              holds=after - before < GROWTH),
    ]  # fmt: skip
    return finish("Pages of the console over a large home", rows, claims, given.json)


def _paths(running: House) -> dict[str, str]:
    """Every page by its title, with a scene, a version and a job filled in."""
    home = open_home(Settings(home=running.home))
    parts = {
        "scene": SCENE,
        "version": home.registry.versions(SCENE)[0].version,
        "job": home.jobs.listed(most=1)[0].id,
    }
    home.close()
    return {page.ROUTE: page.ROUTE.format(**parts) for page in pages() if page.ROUTE != "/new/{job}"}


def _row(name: str, path: str, window: Window, times: int) -> Row:
    took = [_open(window, path) for _ in range(times)]
    return {
        "page": name,
        "median s": round(statistics.median(took), 3),
        "fastest s": round(min(took), 3),
        "slowest s": round(max(took), 3),
    }


def _open(window: Window, path: str) -> float:
    begun = time.monotonic()
    window.open(path)
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
