"""Chooses the concrete parts of the trainer's process and runs it until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from uuid import uuid4

from prometheus_client import start_http_server

from core.config import Settings
from core.errors import BadConfiguration
from core.home import open_home
from training.metrics import Metrics
from training.worker import Trainer


def run(settings: Settings, *, once: bool = False) -> bool:
    """Run a trainer; returns after SIGTERM or SIGINT, or, if ``once``, when the queue is empty: whether no job failed.

    Raises:
        BadConfiguration: the home cannot be opened, or the metrics port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    home, metrics, stop = open_home(settings), Metrics(), threading.Event()
    registered = {each.version for scene in home.registry.scenes() for each in home.registry.versions(scene.name)}
    home.artifacts.sweep(time.time(), registered)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    port = 0 if once else settings.trainer.metrics_port
    try:
        server = start_http_server(port, settings.trainer.metrics_host, metrics.registry) if port else None
    except OSError as error:
        raise BadConfiguration(
            f"the trainer's metrics port {port} cannot be opened: {error.strerror}",
            "set LEPTON_TRAINER_METRICS_PORT to a free port, or to 0 for none",
        ) from error
    try:
        return Trainer(home, owner, metrics).run(stop, once=once)
    finally:
        if server is not None:
            server[0].shutdown()
        home.close()
