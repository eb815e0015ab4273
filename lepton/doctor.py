"""``doctor``: what this machine can do, and what is wrong with the set-up, each with its remedy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import sys
from dataclasses import asdict

import typer

from core import config
from core.config import Settings
from lepton import databases, gpu
from lepton.gpu import Finding
from lepton.output import as_json, table

LEAST_FREE = 2 * 2**30
TRAINING = ("torch", "timm", "onnx", "onnxscript", "sklearn", "cleanlab")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Say what this machine can do, and what is wrong with the set-up; exit 1 where something is wrong."""
    settings = config.load()
    findings = [
        _python(),
        *_runtime(),
        *gpu.findings(settings.serve.device),
        _training(),
        *databases.findings(settings),
        _disk(settings),
        *_ports(settings),
    ]
    if json:
        as_json([asdict(finding) for finding in findings])
    else:
        rows = [[f.what, f.state, f.found, f.remedy] for f in findings]
        table("What there is", ["what", "state", "found", "remedy"], rows)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def _python() -> Finding:
    return Finding("python", "ok", f"{sys.version.split()[0]}, {os.cpu_count()} processors")


def _runtime() -> list[Finding]:
    import onnxruntime

    owners = [n for n in ("onnxruntime", "onnxruntime-gpu") if _installed(n)]
    clash = len(owners) == 2
    return [
        Finding(
            "onnx runtime",
            "wrong" if clash else "ok",
            f"{' and '.join(owners)} {onnxruntime.__version__}",
            "uninstall both, then install onnxruntime-gpu: they own the same files" if clash else "",
        ),
        Finding("bentoml", "ok", importlib.metadata.version("bentoml")),
    ]


def _training() -> Finding:
    missing = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    if missing:
        remedy = "fine for serving and learning; for adapt: pip install -c constraints.txt -e '.[train]'"
        return Finding("training", "note", f"not installed: {', '.join(missing)}", remedy)
    return Finding("training", "ok", f"torch {importlib.metadata.version('torch')}")


def _disk(settings: Settings) -> Finding:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 2**30:.1f} GiB free"
    return Finding("disk", "ok", found) if free > LEAST_FREE else Finding("disk", "wrong", found, "free 2 GiB or more")


def _ports(settings: Settings) -> list[Finding]:
    wanted = {"service port": (settings.serve.host, settings.serve.port)}
    if settings.learner.metrics_port:
        wanted["learner metrics port"] = (settings.learner.metrics_host, settings.learner.metrics_port)
    if settings.trainer.metrics_port:
        wanted["trainer metrics port"] = (settings.trainer.metrics_host, settings.trainer.metrics_port)
    return [_port(name, host, port) for name, (host, port) in wanted.items()]


def _port(name: str, host: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                name, "note", f"{host}:{port} is taken or cannot be used ({error.strerror})", "running already?"
            )
    return Finding(name, "ok", f"{host}:{port} is free")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
