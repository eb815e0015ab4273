"""What is served now: one current snapshot a scene, kept up to date by a thread of its own.

Promises that a snapshot is replaced as a whole, that a version which cannot be made ready never replaces one that
serves, and that new scenes, revisions and champions appear without a restart. Knows nothing of requests.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from core.database import Watch
from core.errors import BrokenBundle, NotFound, Unavailable
from core.home import Home
from core.registry import short
from core.session import Device, Session
from core.types import Scene
from service.engine.memory import give_back
from service.engine.prepare import check_head, prepare
from service.engine.snapshot import Snapshot

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # until a version that failed for a passing reason is tried again


class Listener(Protocol):
    """Who is told of every swap."""

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None:
        """``now`` serves its scene from here on."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How sessions are built and how often news are looked for."""

    threads: int
    device: Device
    max_batch: int
    poll_seconds: float


class Engine:
    """Current snapshots by scene.

    Args:
        home: where scenes, versions and revisions are.
        settings: how to serve them.
        listener: told of every swap.
        clock: seconds, for retries.
    """

    def __init__(
        self, home: Home, settings: EngineSettings, listener: Listener, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._home = home
        self._settings = settings
        self._listener = listener
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshots: dict[str, Snapshot] = {}
        self._scenes: dict[str, Scene] = {}
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}  # (scene, version) → when, why
        self._refused: dict[tuple[str, str], int] = {}  # (scene, version) → newest revision that does not fit
        self._expected: frozenset[str] | None = None  # scenes with a champion, once the registry was read
        self._preparing: set[str] = set()
        self._retired: list[weakref.ref[Session]] = []
        self._dirty = True
        self._retry_at = math.inf
        self._stop = threading.Event()
        self._ready = False
        self._workshop = ThreadPoolExecutor(1, "prepare")
        self._thread = threading.Thread(target=self._follow, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to follow the registry."""
        self._thread.start()

    def settled(self) -> bool:
        """Whether everything that has a champion serves, or has failed to."""
        served, failed = set(self._snapshots), {scene for scene, _ in list(self._failed)}
        return self._expected is not None and self._expected <= served | (failed - self._preparing)

    def ready(self) -> bool:
        """Whether everything that was found at the start is settled, and not all has failed; then for good."""
        if not self._ready and self.settled():
            self._ready = bool(self._snapshots) or not self._expected
        return self._ready

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop following; what is served stays as it is."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._workshop.shutdown(wait=True, cancel_futures=True)

    def scene(self, name: str) -> Scene:
        """The scene.

        Raises:
            NotFound: there is none of that name.
        """
        held = self._scenes.get(name)
        if held is None:
            known = ", ".join(sorted(self._scenes)) or "none yet"
            raise NotFound(f"there is no scene {name[:80]!r}; there is: {known}", "check the name, or run lepton adapt")
        return held

    def snapshot(self, name: str) -> Snapshot:
        """What serves the scene now.

        Raises:
            NotFound: there is no such scene.
            Unavailable: it has no version that can be served.
        """
        held = self._snapshots.get(name)
        if held is not None:
            return held
        self.scene(name)
        reasons = [why for (scene, _), (_, why) in list(self._failed.items()) if scene == name]
        raise Unavailable(
            f"scene {name!r} cannot be served: {reasons[-1] if reasons else 'its first version is being prepared'}",
            "send the request again in a second" if not reasons else "promote a version that works",
        )

    def snapshots(self) -> list[Snapshot]:
        """Everything that is served, by scene."""
        return [held for _, held in sorted(self._snapshots.items())]

    def _follow(self) -> None:
        watch: Watch | None = None
        while True:
            try:
                if watch is None:
                    watch = Watch(self._home.ledger_path)
                if watch.changed() or self._dirty or self._clock() >= self._retry_at:
                    self._dirty, self._retry_at = False, math.inf
                    self._refresh()
                self._sweep()
            except Exception:  # a locked or missing database; what is served goes on
                self._dirty = True
                logger.exception("the registry could not be read; trying again")
            if self._stop.wait(self._settings.poll_seconds):
                break
        if watch is not None:
            watch.close()

    def _refresh(self) -> None:
        self._scenes = {scene.name: scene for scene in self._home.registry.scenes()}
        expected = set()
        for scene in self._scenes.values():
            held = self._snapshots.get(scene.name)
            alias = self._home.registry.champion(scene.name)
            if alias is None:
                continue
            expected.add(scene.name)
            version = self._choose(scene.name, alias.version)
            if version is None or scene.name in self._preparing:
                continue
            if held is None or held.version != version:
                self._preparing.add(scene.name)
                self._workshop.submit(self._prepare, scene, version)
            else:
                self._renew(scene, held)
        self._expected = frozenset(expected)

    def _choose(self, scene: str, champion: str) -> str | None:
        """The champion, where it can be served; else what serves, or the last champion before it that can be."""
        held = self._snapshots.get(scene)
        if held is not None and held.version == champion:
            return champion
        versions = {version.version: version for version in self._home.registry.versions(scene)}
        candidates = [champion]
        if held is None and versions[champion].state == "quarantined":
            moves = self._home.registry.history(scene)
            candidates += [str(row["version"]) for row in moves if row["action"] in {"promote", "rollback"}]
            self._failed.setdefault((scene, champion), (self._clock(), versions[champion].reason))
        for version in candidates:
            failed = self._failed.get((scene, version))
            waits = failed is not None and self._clock() < failed[0] + RETRY_SECONDS
            if versions[version].state == "ready" and not waits:
                return version
        return held.version if held else None

    def _renew(self, scene: Scene, held: Snapshot) -> None:
        """A newer head for the version that serves, or a scene whose labels or policy changed."""
        now = held if held.scene == scene else replace(held, scene=scene)
        above = max(held.revision, self._refused.get((scene.name, held.version), 0))
        newer = self._home.registry.latest_revision(scene.name, held.version, above=above)
        if newer is not None:
            try:
                check_head(held.session, newer.head)
                now = now.with_revision(newer)
            except BrokenBundle:
                self._refused[scene.name, held.version] = newer.number
                logger.exception("scene %s: revision %d is passed over", scene.name, newer.number)
        if now is not held:
            self._swap(held, now)

    def _prepare(self, scene: Scene, version: str) -> None:
        held = self._snapshots.get(scene.name)
        try:
            made = prepare(
                self._home,
                scene,
                version,
                threads=self._settings.threads,
                device=self._settings.device,
                max_batch=self._settings.max_batch,
            )
            self._swap(held, made)
            self._failed.pop((scene.name, version), None)
            logger.info("scene %s: version %s serves", scene.name, short(version))
        except Exception as error:
            self._failed[scene.name, version] = (self._clock(), str(error))
            self._retry_at = self._clock() + RETRY_SECONDS
            logger.exception("scene %s: version %s cannot be served", scene.name, short(version))
            if isinstance(error, BrokenBundle):
                self._quarantine(scene.name, version, str(error))
        finally:
            self._preparing.discard(scene.name)
            self._dirty = True  # a revision may have come meanwhile

    def _quarantine(self, scene: str, version: str, reason: str) -> None:
        try:
            self._home.registry.quarantine(scene, version, reason)
        except Exception:
            logger.exception("scene %s: version %s could not be marked", scene, short(version))

    def _swap(self, held: Snapshot | None, now: Snapshot) -> None:
        with self._lock:
            if self._snapshots.get(now.scene.name) is not held:
                self._dirty = True
                return
            self._snapshots[now.scene.name] = now
        if held is not None and held.session is not now.session:
            self._retired.append(weakref.ref(held.session))
        self._listener.swapped(held, now)

    def _sweep(self) -> None:
        """Give memory back once the last request has let go of a retired session."""
        left = [session for session in self._retired if session() is not None]
        if len(left) < len(self._retired):
            give_back()
        self._retired = left
