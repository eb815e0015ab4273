"""What is served now: one current snapshot a scene, kept up to date by a thread of its own.

Promises that a snapshot is replaced as a whole, that a version which cannot be made ready never replaces one that
serves, that a challenger never holds a champion up, and that new scenes, revisions, champions and challengers appear
without a restart. Knows nothing of requests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from core.challenges import Challenge
from core.database import Watch
from core.errors import BrokenBundle, LeptonError, NotFound, Unavailable
from core.execution import Device, Gpu
from core.home import Home
from core.registry import short
from core.types import Role, Scene
from service.engine.faults import Faults
from service.engine.memory import Retired, give_back
from service.engine.prepare import Trial, check_head, prepare, refuse
from service.engine.routing import Fork, Routed, fork
from service.engine.snapshot import Snapshot
from service.engine.turns import Turns

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # until the registry is read again, where it could not be
UNREAD = ""  # in the place of a version, where it is not known which one a scene should have


class Listener(Protocol):
    """Who is told of every swap."""

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None:
        """``now`` serves its scene from here on."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How sessions are built and how often news are looked for.

    ``keep_previous``: the champion before the present one stays in memory, so that a rollback is at once.
    ``turns``: how many workers of this host may prepare beside what serves at a time.
    ``trial``: loads a foreign version somewhere else first, and raises where that goes wrong; ``stop_trial`` ends it.
    """

    threads: int
    device: Device
    max_batch: int
    poll_seconds: float
    keep_previous: bool = True
    turns: int = 1
    trial: Trial = refuse
    stop_trial: Callable[[], None] = lambda: None
    gpu: Gpu | None = None


class Engine:
    """Current snapshots by scene.

    Only the thread that follows the registry changes what is served; the workshops make snapshots for it.

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
        self._scenes: dict[str, Scene] = {}
        self._forks: dict[str, Fork] = {}
        self._beside: dict[tuple[str, str], Snapshot] = {}  # (scene, version) → ready, and not champion
        self._previous: dict[str, str] = {}  # scene → the version that was champion here before
        self._faults, self._trials = Faults(clock), Faults(clock)  # of champions, of challengers
        self._refused: dict[tuple[str, str], int] = {}  # (scene, version) → newest revision that does not fit
        self._expected: frozenset[str] | None = None  # scenes with a champion, once the registry was read
        self._preparing: set[tuple[str, Role]] = set()
        self._retired = Retired()
        self._dirty = True
        self._wake = threading.Event()
        self._stopped = False
        self._ready = False
        self._workshop = ThreadPoolExecutor(1, "prepare")
        self._turns: dict[Role, Turns] = {  # apart: the trial of a challenger may take a minute
            "champion": Turns(home.settings.home, settings.turns, "prepare"),
            "challenger": Turns(home.settings.home, settings.turns, "prepare-challenger"),
        }
        self._annex = ThreadPoolExecutor(1, "prepare-challenger")
        self._thread = threading.Thread(target=self._follow, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to follow the registry."""
        self._thread.start()

    def settled(self) -> bool:
        """Whether everything that has a champion serves, or has failed to."""
        if self._expected is None:
            return False
        busy = {scene for scene, role in list(self._preparing) if role == "champion"}
        return self._expected <= set(self._forks) | (self._faults.scenes() - busy)

    def ready(self) -> bool:
        """Whether everything that was found at the start is settled, and not all has failed; then for good."""
        if not self._ready and self.settled():
            self._ready = bool(self._forks) or not self._expected
        return self._ready

    def alive(self) -> bool:
        """Whether the thread runs, and no GPU was lost."""
        return self._thread.is_alive() and self.lost() is None

    def lost(self) -> str | None:
        """What was said when this worker lost its GPU; None while it has it, or needs none."""
        sessions = [held.session for held in (*self.snapshots(), *list(self._beside.values()))]
        return next((session.lost for session in sessions if session.lost), None)

    def stop(self) -> None:
        """Stop following; what is served stays as it is."""
        self._stopped = True
        self._settings.stop_trial()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        for workshop in (self._workshop, self._annex):
            workshop.shutdown(wait=True, cancel_futures=True)

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
        """What serves the scene now: its champion.

        Raises:
            NotFound: there is no such scene.
            Unavailable: it has no version that can be served.
        """
        return self._fork(name).usual.snapshot

    def route(self, name: str, key: str | None, hint: Callable[[], str]) -> Routed:
        """What answers a request of this key. Raises as ``snapshot``.

        Args:
            name: of the scene.
            key: what the client gave to stay with one version; None where it gave none.
            hint: what stands for the key then; asked only where a challenge runs.
        """
        return self._fork(name).of(key, hint)

    def snapshots(self) -> list[Snapshot]:
        """Everything that is served, by scene."""
        return [held.usual.snapshot for _, held in sorted(self._forks.items())]

    def besides(self, name: str) -> list[str]:
        """Versions of a scene that are ready in memory beside its champion."""
        return sorted(version for scene, version in list(self._beside) if scene == name)

    def judge(self, newcomer: Snapshot, error: LeptonError | None) -> None:
        """A challenger, or a champion on probation, has answered, or failed on what the other version can answer: again
        and again, it is quarantined; of a champion the one before takes over."""
        scene, version = newcomer.scene.name, newcomer.version
        if self._trials.answered(scene, version, error):
            self._annex.submit(self._quarantine, scene, version, f"it failed on live traffic: {error}")

    def _fork(self, name: str) -> Fork:
        held = self._forks.get(name)
        if held is not None:
            return held
        self.scene(name)
        reason = self._faults.reason(name)
        raise Unavailable(
            f"scene {name!r} cannot be served: {reason or 'its first version is being prepared'}",
            "promote a version that works" if reason else "send the request again in a second",
        )

    def _follow(self) -> None:
        watch: Watch | None = None
        while not self._stopped:
            self._wake.clear()
            try:
                if watch is None:
                    watch = self._home.ledger.database.watch()
                if watch.changed() or self._dirty or self._faults.due() or self._trials.due():
                    self._dirty = False
                    self._refresh()
                self._retired.sweep()
                pause = self._settings.poll_seconds
            except Exception as error:  # a database that is locked, missing or away; what is served goes on
                self._dirty, pause = True, RETRY_SECONDS
                told = None if isinstance(error, Unavailable) else error
                logger.error("the registry could not be read; trying again: %s", error, exc_info=told)
            self._wake.wait(pause)
        if watch is not None:
            watch.close()

    def _refresh(self) -> None:
        self._scenes = {scene.name: scene for scene in self._home.registry.scenes()}
        challenges = self._home.challenges.all()
        expected = set()
        for scene in self._scenes.values():
            try:
                if self._look(scene, challenges.get(scene.name)):
                    expected.add(scene.name)
                self._faults.forget(scene.name, UNREAD)
            except Exception as error:  # its rows cannot be read; those of other scenes may be
                logger.exception("scene %s could not be looked at; trying again", scene.name)
                expected.add(scene.name)
                unread = Unavailable(f"its rows cannot be read: {error}", "they are read again in a few seconds")
                self._faults.failed(scene.name, UNREAD, unread)
        self._expected = frozenset(expected)

    def _look(self, scene: Scene, challenge: Challenge | None) -> bool:
        """Bring a scene up to date; False where it has no champion yet."""
        alias = self._home.registry.champion(scene.name)
        if alias is None:
            return False
        version = self._choose(scene.name, alias.version)
        if version is not None:
            self._bring_up_to_date(scene, version, challenge)
        return True

    def _choose(self, scene: str, champion: str) -> str | None:
        """The champion, where it can be served; else what serves, or the last champion before it that can be."""
        held = self._held(scene)
        if held is not None and held.version == champion:
            return champion
        versions = {version.version: version for version in self._home.registry.versions(scene)}
        candidates = [champion]
        if held is None and versions[champion].state == "quarantined":
            moves = self._home.registry.history(scene)
            candidates += [str(row["version"]) for row in moves if row["action"] in {"promote", "rollback"}]
            self._faults.known(scene, champion, versions[champion].reason)
        for version in candidates:
            if versions[version].state == "ready" and not self._faults.waits(scene, version):
                return version
        return held.version if held else None

    def _bring_up_to_date(self, scene: Scene, version: str, challenge: Challenge | None) -> None:
        held = self._held(scene.name)
        now = self._leading(scene, held, version)
        if now is not None:
            ready = self._challenging(scene, now, challenge)
            self._forks[scene.name] = fork(now, ready, challenge)
            if now is not held:
                self._swapped(held, now)
        self._forget(scene.name, version, challenge)

    def _leading(self, scene: Scene, held: Snapshot | None, version: str) -> Snapshot | None:
        """What is to serve now: a version at once where it is ready, else what serves until it is."""
        if held is None or held.version != version:
            beside = self._current(scene, version)
            if beside is not None:
                return beside
            self._order(scene, version, "champion")
        return None if held is None else self._renewed(scene, held)

    def _current(self, scene: Scene, version: str) -> Snapshot | None:
        """What is ready of a version, with its newest head; None where it is to be made anew: its head is gone, by an
        erasure, or the newest one does not fit."""
        beside = self._beside.get((scene.name, version))
        if beside is None:
            return None
        newest = self._home.registry.latest_revision(scene.name, version)
        number, now = newest.number if newest else 0, self._renewed(scene, beside)
        return now if beside.revision <= number <= now.revision else None

    def _challenging(self, scene: Scene, champion: Snapshot, challenge: Challenge | None) -> Snapshot | None:
        """The challenger, brought up to date; None where it is not ready: the champion answers alone."""
        if challenge is None or challenge.version == champion.version:
            return None
        ready = self._beside.get((scene.name, challenge.version))
        if ready is not None:
            ready = self._beside[scene.name, challenge.version] = self._renewed(scene, ready)
        elif not self._trials.waits(scene.name, challenge.version):
            self._order(scene, challenge.version, "challenger")
        return ready

    def _renewed(self, scene: Scene, held: Snapshot) -> Snapshot:
        """With a newer head, where there is one that fits, and with the labels and policy of the scene as it is now."""
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
        return now

    def _order(self, scene: Scene, version: str, role: Role) -> None:
        """Have a version made ready; of a scene, one champion and one challenger at a time."""
        if (scene.name, role) not in self._preparing:
            self._preparing.add((scene.name, role))
            workshop = self._workshop if role == "champion" else self._annex
            workshop.submit(self._prepare, scene, version, role)

    def _prepare(self, scene: Scene, version: str, role: Role) -> None:
        faults = self._faults if role == "champion" else self._trials
        try:
            with self._turns[role].one(lambda: self._stopped) if self._forks else nullcontext():
                self._beside[scene.name, version] = self._made(scene, version)
            faults.forget(scene.name, version)
            logger.info("scene %s: version %s is ready", scene.name, short(version))
        except Exception as error:
            logger.exception("scene %s: version %s cannot be served", scene.name, short(version))
            if faults.failed(scene.name, version, error):
                self._quarantine(scene.name, version, str(error))
            give_back()
        finally:
            self._preparing.discard((scene.name, role))
            self._dirty = True  # a revision may have come meanwhile
            self._wake.set()

    def _made(self, scene: Scene, version: str) -> Snapshot:
        told = self._settings
        return prepare(
            self._home,
            scene,
            version,
            threads=told.threads,
            device=told.device,
            gpu=told.gpu,
            max_batch=told.max_batch,
            trial=told.trial,
        )

    def _quarantine(self, scene: str, version: str, reason: str) -> None:
        try:
            self._home.registry.quarantine(scene, version, reason)
        except Exception:
            logger.exception("scene %s: version %s could not be marked", scene, short(version))

    def _swapped(self, held: Snapshot | None, now: Snapshot) -> None:
        scene = now.scene.name
        if held is None or held.version != now.version:
            self._beside.pop((scene, now.version), None)
            if held is not None:
                self._beside[scene, held.version] = held
                self._previous[scene] = held.version
            logger.info("scene %s: version %s serves", scene, short(now.version))
        try:
            self._listener.swapped(held, now)
        except Exception:  # what is only told must not undo what was done
            logger.exception("scene %s: the swap could not be told", scene)

    def _forget(self, scene: str, champion: str, challenge: Challenge | None) -> None:
        """Let go of what is ready beside the champion and is neither expected to serve, nor challenger, nor kept."""
        wanted = {champion} | ({challenge.version} if challenge else set())
        if self._settings.keep_previous and scene in self._previous:
            wanted.add(self._previous[scene])
        for version in self.besides(scene):
            if version not in wanted:
                self._retired.watch(self._beside.pop((scene, version)).session)

    def _held(self, scene: str) -> Snapshot | None:
        held = self._forks.get(scene)
        return held.usual.snapshot if held else None
