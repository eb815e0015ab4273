"""A real Prometheus server, and what is asked of it, for tests of what operators see.

Promises a server of the test's own: on a free port of the loopback interface, with its data in the test's folder, ended
with the block by its process id. Its configuration is the one that is shipped, with the test's ports in place of the
default ones. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.processes import READY_SECONDS, Running, free_port
from tests.waiting import until

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "lepton.json"
NAME = re.compile(r"\blepton_[a-z_]+\b")
INSTALLED = bool(shutil.which("prometheus") and shutil.which("promtool"))


class Prometheus:
    """A running server; ``log`` is where it complains."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def get(self, path: str, **asked: str) -> httpx.Response:
        """The answer of its HTTP API."""
        return httpx.get(f"{self.url}{path}", params=asked, trust_env=False, timeout=30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: a list of ``{"metric": labels, "value": [time, text]}``."""
        answer = self.get("/api/v1/query", query=expression)
        assert answer.json()["status"] == "success", f"{expression}: {answer.text}"
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def number(self, expression: str) -> float:
        """The one value of an expression; NaN while there is none."""
        result = self.query(expression)
        assert len(result) <= 1, f"{expression} has {len(result)} values"
        return float(result[0]["value"][1]) if result else float("nan")

    def targets(self) -> dict[str, dict[str, Any]]:
        """What it scrapes, by the name of the job."""
        active = self.get("/api/v1/targets").json()["data"]["activeTargets"]
        return {target["labels"]["job"]: target for target in active}

    def names(self) -> set[str]:
        """Every name of a series that it has seen."""
        return set(self.get("/api/v1/label/__name__/values").json()["data"])


@contextmanager
def prometheus(folder: Path, ports: Mapping[int, int]) -> Iterator[Prometheus]:
    """A server that scrapes every second, with ``ports`` in place of those of the shipped configuration."""
    text = (RULES / "prometheus.yaml").read_text(encoding="utf-8").replace("interval: 15s", "interval: 1s")
    for shipped, here in ports.items():
        assert f"127.0.0.1:{shipped}" in text
        text = text.replace(f"127.0.0.1:{shipped}", f"127.0.0.1:{here}")
    folder.mkdir()
    (folder / "prometheus.yaml").write_text(text, encoding="utf-8")
    shutil.copy(RULES / "alerts.yaml", folder)
    address = f"127.0.0.1:{free_port()}"
    command = [
        *("prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"),
        *(f"--web.listen-address={address}", "--log.level=info"),
    ]
    running = Running(command, {"PATH": "/usr/local/bin:/usr/bin:/bin"}, folder / "prometheus.log")
    made = Prometheus(f"http://{address}", running.log)

    def ready() -> bool:
        assert running.process.poll() is None, running.told()
        try:
            return made.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(ready, READY_SECONDS)
        yield made
    finally:
        running.stop()


def promtool(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """``promtool …`` in the folder of the rules."""
    return subprocess.run(
        ["promtool", *arguments], cwd=RULES, input=given, capture_output=True, text=True, timeout=60, check=False
    )


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, without the headings between them."""
    told = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in told["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """What the panels ask, as Grafana would send it."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [text.replace("$__rate_interval", "1m").replace("$scene", ".*") for text in asked]


def rules() -> list[str]:
    """Lines of the alert rules that are no comments."""
    text = (RULES / "alerts.yaml").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]
