"""Tells what this worker serves, at every swap of a version and every few seconds, and how long workers disagree.

Promises that nothing waits for it, and that a database which cannot be written stops nothing. Knows nothing of how
versions come to be served.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from core.errors import Unavailable
from core.home import Home
from core.workers import BEAT, Serving, Worker, skew_seconds
from service.engine.engine import Engine
from service.engine.snapshot import Snapshot

logger = logging.getLogger(__name__)


class Heart:
    """A thread that writes signs of life.

    Args:
        home: where they are kept.
        engine: what serves.
        worker: index of this process on its host.
        skewed: told of every scene how many seconds its workers have disagreed.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        home: Home,
        engine: Engine,
        worker: str,
        skewed: Callable[[str, float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._engine = engine
        self._worker = worker
        self._host = home.settings.serve.host_name or socket.gethostname()
        self._skewed = skewed
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}  # scene → version, and since when it serves
        self._nudged = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="heart", daemon=True)

    def start(self) -> None:
        """Begin to beat, as soon as the engine is settled: a worker that takes no request yet does not count."""
        self._thread.start()

    def nudge(self) -> None:
        """Tell at once: a version was swapped."""
        self._nudged.set()

    def stop(self) -> None:
        """Stop, and say so."""
        self._stopped = True
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._home.workers.leave(self._told())
        except Exception:
            logger.exception("this worker could not be taken out; it will expire")

    def _work(self) -> None:
        while not self._stopped:
            self._nudged.clear()
            try:
                if self._engine.settled():
                    self.beat()
            except Unavailable as away:  # the next beat may do
                logger.warning("no sign of life could be written: %s", away)
            except Exception:
                logger.exception("no sign of life could be written")
            if not self._stopped:
                self._nudged.wait(BEAT if self._engine.settled() else BEAT / 20)

    def beat(self) -> None:
        """Tell what is served now, and look what the others told."""
        self._home.workers.beat(self._told())
        live, now = self._home.workers.live(), self._clock()
        for snapshot in self._engine.snapshots():
            scene = snapshot.scene.name
            alias = self._home.registry.champion(scene)
            if alias is not None:
                self._skewed(scene, skew_seconds(live, scene, alias.version, alias.updated_at, now))

    def _told(self) -> Worker:
        serving = {snapshot.scene.name: self._serving(snapshot) for snapshot in self._engine.snapshots()}
        return Worker(host=self._host, pid=os.getpid(), worker=self._worker, serving=serving)

    def _serving(self, snapshot: Snapshot) -> Serving:
        version, since = self._since.get(snapshot.scene.name, ("", 0.0))
        if version != snapshot.version:
            version, since = snapshot.version, self._clock()
            self._since[snapshot.scene.name] = version, since
        return Serving(version=version, revision=snapshot.revision, since=since)
