"""Engines for tests of versions: started as often as a test likes, with retries that nobody waits for.

Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from core.home import Home
from core.promotion import challenge as begin
from core.promotion import promote
from core.types import Version
from service.engine.engine import Engine, EngineSettings
from service.engine.faults import RETRY_SECONDS
from service.engine.prepare import Trial, refuse
from service.engine.routing import Routed
from service.engine.snapshot import Snapshot
from tests.waiting import until

Start = Callable[..., Engine]


class Clock:
    """Seconds that go on as fast as anybody looks, so that no retry is waited for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += RETRY_SECONDS / 4
        return self.now


class Ears:
    """Hears of swaps; ``deaf``: and fails then."""

    def __init__(self, deaf: bool = False) -> None:
        self.deaf, self.swaps = deaf, list[str]()

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None:
        self.swaps.append(now.version)
        if self.deaf:
            raise OSError("no space left for metrics")


@contextmanager
def engines(home: Home) -> Iterator[Start]:
    """Starts engines that end with the block."""
    with ExitStack() as started:

        def start(trial: Trial = refuse, keep: bool = True, ears: Ears | None = None) -> Engine:
            told = EngineSettings(
                threads=1, device="cpu", max_batch=4, poll_seconds=0.01, keep_previous=keep, trial=trial
            )
            engine = Engine(home, told, ears or Ears(), Clock())
            engine.start()
            started.callback(engine.stop)
            until(engine.ready)
            return engine

        yield start


def move(home: Home, version: Version, action: str = "promote") -> None:
    """Promote as a user does."""
    alias = home.registry.champion("shapes")
    assert alias is not None
    promote(home, "shapes", version.version, expected_generation=alias.generation, action=action)


def challenge(home: Home, version: Version, mode: str, share: float = 1.0) -> None:
    """Let it challenge as a user does."""
    generation = home.challenges.generation("shapes")
    asked = {"mode": mode, "share": share, "expected_generation": generation}
    begin(home, "shapes", version.version, **asked)  # type: ignore[arg-type]


def routed(engine: Engine, key: str | None = None) -> Routed:
    """The way of a request."""
    return engine.route("shapes", key, lambda: "by example")


def serves(engine: Engine, version: Version) -> bool:
    """Whether it is what the champion's share of the traffic is answered by."""
    return engine.snapshot("shapes").version == version.version


def foreign(home: Home, version: Version) -> None:
    """As if another home had made it."""
    with home.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE versions SET origin = 'foreign' WHERE version = ?", (version.version,))
