"""How the service is started as a process of its own: its command and its environment.

Promises that all workers read the very settings that are given here. Knows nothing of what they do.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import sys
from pathlib import Path

from core.config import SECTIONS, Settings
from core.errors import BadConfiguration
from service.access_log import access_log

GRACE_SECONDS = 10
SERVICE = "service.app:Lepton"


def command(settings: Settings) -> list[str]:
    """The command line that serves, to be run with :func:`environment`.

    Raises:
        BadConfiguration: the host has no address.
    """
    return [
        sys.executable,
        *("-m", "bentoml", "serve", SERVICE),
        *("--working-dir", str(Path(__file__).parents[1])),
        *("--host", _address(settings.serve.host)),
        *("--port", str(settings.serve.port)),
        *("--timeout-graceful-shutdown", str(GRACE_SECONDS)),
    ]


def environment(settings: Settings) -> dict[str, str]:
    """The whole environment of that command; makes an empty folder for its metrics.

    Raises:
        BadConfiguration: that folder cannot be made, or the access log cannot be opened.
    """
    log = access_log(settings)
    if log is not None:
        log.close()
    bento = settings.home / "bentoml" / str(settings.serve.port)  # one a server: the metrics of two must not mix
    metrics = bento / "prometheus_multiproc_dir"
    try:
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
    except OSError as error:
        raise BadConfiguration(
            f"{metrics} cannot be made: {error.strerror}", "set LEPTON_HOME to a folder that you can write"
        ) from error
    # BentoML starts no dead worker again where it believes to be in a container.
    dropped = {"BENTOML_CONTAINERIZED", "BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS", "LEPTON_CONFIG"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {
        "BENTOML_HOME": str(bento),
        "BENTOML_DO_NOT_TRACK": "True",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "LEPTON_HOME": str(settings.home),
        **_variables(settings),
    }


def _variables(settings: Settings) -> dict[str, str]:
    """Every setting as a variable, so that a lepton.toml where the workers run changes nothing."""
    return {
        f"LEPTON_{section}_{key.name}".upper(): str(getattr(getattr(settings, section), key.name))
        for section, owner in SECTIONS.items()
        for key in dataclasses.fields(owner)
    }


def _address(host: str) -> str:
    """BentoML takes addresses only, no names."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise BadConfiguration(
            f"serve.host is {host!r}, which has no address: {error.strerror}", "give an address such as 127.0.0.1"
        ) from error
