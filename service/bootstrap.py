"""Chooses the concrete parts of a service worker; nothing else in the service does.

Knows nothing of routes or of BentoML.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

from uvicorn.config import HTTP_PROTOCOLS

from core.config import Settings, load
from core.confined import Leash
from core.database import Database
from core.execution import Device, Gpu, check_device, choose_gpu
from core.home import open_home
from core.registry import short
from core.tally import received
from service.access_log import access_log
from service.context import Context
from service.engine.admission import Admission, Gate
from service.engine.batcher import Batcher
from service.engine.engine import Engine, EngineSettings
from service.engine.heart import Heart
from service.engine.log import LogSettings, LogWriter
from service.engine.record import packed
from service.engine.scribe import Scribe
from service.engine.shadows import Shadows, ShadowSettings
from service.engine.snapshot import Snapshot
from service.engine.stopwatch import Stopwatch
from service.engine.trial import trial
from service.metrics import Metrics
from service.protocol import Limited
from service.tracing import tracing

STORING_THREADS = 4
SPARE_FILES = 512  # descriptors beside those of connections
SWITCH_SECONDS = 0.0005  # for so long a thread in Python may hold the event loop up; the interpreter's default is 5 ms
PR_SET_PDEATHSIG = 1  # of prctl(2)


def settings() -> Settings:
    """The settings of this process.

    Raises:
        BadConfiguration: an unknown key, or a value that does not fit.
    """
    return load()


def build(settings: Settings, worker: int = 1) -> Context:
    """The parts of worker number ``worker``, not started yet.

    Raises:
        BadConfiguration: LEPTON_HOME, or the access log, cannot be opened.
    """
    service = settings.serve
    home = open_home(settings)
    metrics = Metrics()
    watching = Watching(metrics, home.ledger.database)
    threads = max(1, _processors() // service.workers)
    engine = Engine(home, _engine_settings(settings, threads, worker), watching)
    heart = watching.heart = Heart(home, engine, str(worker), metrics.skewed)
    scribe = Scribe(settings.home, settings.database)
    log = LogWriter(
        home.predictions,
        scribe.append,
        LogSettings(days=service.prediction_days, megabytes=service.prediction_megabytes),
        metrics.unlogged.labels().inc,
    )
    predicting = Gate(service.max_waiting, metrics.refuse)
    return Context(
        home=home,
        engine=engine,
        batcher=Batcher(service.max_batch, watching),
        scribe=scribe,
        log=log,
        metrics=metrics,
        decoding=ThreadPoolExecutor(max(2, threads), "decode"),
        storing=ThreadPoolExecutor(STORING_THREADS, "store"),
        predicting=predicting,
        telling=Admission(service.max_waiting, "labels"),
        shadows=_shadows(engine, predicting, log, metrics),
        heart=heart,
        stopwatch=Stopwatch(home.latencies),
        worker=str(worker),
        access=access_log(settings),
        tracing=tracing(settings),
    )


def _shadows(engine: Engine, predicting: Gate, log: LogWriter, metrics: Metrics) -> Shadows:
    return Shadows(
        ShadowSettings(),
        engine,
        traffic=lambda: (predicting.inside, predicting.entered),
        known=lambda name: bool(log.find([name])),  # none is where none is logged
        log=lambda shadows: log.put([packed(shadow) for shadow in shadows]),
        told=metrics.shadowed,
    )


def _engine_settings(settings: Settings, threads: int, worker: int) -> EngineSettings:
    service, leash = settings.serve, Leash()
    index = 0 if service.device == "cpu" else choose_gpu(service.gpus, worker)
    check_device(service.device, index)
    return EngineSettings(
        threads=threads,
        device=cast("Device", service.device),
        gpu=Gpu(
            index=index,
            max_batch=service.max_batch,
            tf32=service.tf32,
            graphs=service.cuda_graphs,
            engines=settings.home / "cache" / "tensorrt",
        ),
        max_batch=service.max_batch,
        poll_seconds=service.poll_seconds,
        keep_previous=service.keep_previous,
        turns=max(1, _processors() // 2),
        trial=partial(
            trial,
            settings.home,
            threads=threads,
            max_batch=service.max_batch,
            seconds=service.trial_seconds,
            megabytes=service.trial_megabytes,
            leash=leash,
        ),
        stop_trial=leash.pull,
    )


class Watching:
    """Tells the metrics what engine and batcher do."""

    def __init__(self, metrics: Metrics, ledger: Database) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self.heart: Heart | None = None

    def waited(self, seconds: float) -> None:
        """An instance waited so long for the model."""
        self._metrics.queue_seconds.labels().observe(seconds)

    def ran(self, scene: str, size: int, seconds: float) -> None:
        """A run of the model took so long."""
        self._metrics.inference_seconds.labels(scene).observe(seconds)
        self._metrics.batch_size.labels(scene).observe(size)

    def expired(self, scene: str) -> None:
        """The deadline of an instance passed while it waited."""
        self._metrics.refuse(scene, "expired")

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None:
        """``now`` serves its scene from here on."""
        scene = now.scene.name
        if before is not None and before.version != now.version:
            self._metrics.model_info.labels(scene, short(before.version)).set(0)
        self._metrics.model_info.labels(scene, short(now.version)).set(1)
        self._metrics.head_revision.labels(scene).set(now.revision)
        self._metrics.head_fallback.labels(scene).set(now.fallback)
        if before is None:
            self._metrics.expect(scene)
        if self.heart is not None and (before is None or before.version != now.version):
            self.heart.nudge()
        if before is not None and before.version == now.version and now.sequence > before.sequence:
            moment = time.time()
            for came in received(self._ledger, scene, before.sequence, now.sequence):
                self._metrics.label_to_served.labels(scene).observe(max(0.0, moment - came))


def _processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def listen_by(connection: type[Limited], most: int) -> None:
    """Make this class what uvicorn speaks in this process, with descriptors for ``most`` connections.

    To be called before uvicorn is configured.
    """
    HTTP_PROTOCOLS["auto"] = connection  # type: ignore[assignment]  # uvicorn takes a class where it takes a name
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def put_requests_first() -> None:
    """Have threads that log or prepare give the interpreter's lock back soon when the event loop asks for it."""
    sys.setswitchinterval(SWITCH_SECONDS)


def end_with_parent() -> None:
    """Ask the system to end this process when the supervisor is killed, so that no worker keeps its port."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (AttributeError, OSError, TypeError):  # Linux only
        return
