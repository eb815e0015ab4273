"""Every modality: what a few labels are worth, beside the usual baselines, and what one prediction costs over HTTP.

``python -m benchmarks.modalities [--quick] [--json FILE]``: runs ``benchmarks.texts``, ``sounds``, ``tables`` and
``table_transfer``, which say how they measure, then adapts one scene of each modality by the command line (its seconds
include the export) and asks one worker for each over HTTP: at one connection, and at eight.

Promises that all four scenes are served by the same worker at once. Knows nothing of how accuracy is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sounds, table_transfer, tables, texts
from benchmarks.debian import BENCH, once
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import json_request
from benchmarks.generator.plans import Closed
from benchmarks.report import Claim, Row, finish, options
from benchmarks.servers import Server, lepton
from lepton.demonstration import acts, digits

Part = Callable[[int], tuple[list[Row], list[Claim]]]

# name → (what measures it, draws, draws where it has to be quick)
PARTS: dict[str, tuple[Part, int, int]] = {
    "text": (texts.measured, 20, 3),
    "sound": (sounds.measured, 20, 5),
    "table": (tables.measured, 4, 1),
    "table, transfer": (table_transfer.measured, 20, 5),
}
PLACE = BENCH / "modalities"
ASKED = 32  # different instances that go round
SECONDS, QUICK_SECONDS = 10.0, 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows: list[Row] = []
    claims: list[Claim] = []
    for name, (measured, draws, few) in PARTS.items():
        print(f"… {name}", file=sys.stderr, flush=True)
        found, held = measured(few if given.quick else draws)
        rows += [{"part": name} | dict(row) for row in found]
        claims += held
    rows += _over_http(QUICK_SECONDS if given.quick else SECONDS)
    return finish("Modalities", rows, claims, given.json)


def _over_http(seconds: float) -> list[Row]:
    """Adapt all, serve all, and ask for each in turn."""
    home = once(PLACE, _adapt_all)
    told: dict[str, dict[str, Any]] = json.loads((home / "adapted.json").read_text(encoding="utf-8"))
    rows: list[Row] = []
    first = [_request(scene, instance) for scene, held in told.items() for instance in held["instances"][:1]]
    with Generator() as generator, lepton(home.absolute() / "home", first) as server:
        for scene, held in told.items():
            requests = [_request(scene, instance) for instance in held["instances"]]
            rows.append({"part": "over HTTP", "scene": scene, **_asked(generator, server, requests, seconds, held)})
    return rows


def _asked(
    generator: Generator, server: Server, requests: Sequence[bytes], seconds: float, held: dict[str, Any]
) -> dict[str, float | str]:
    alone, full = (
        generator.run(Closed(port=server.port, requests=requests, connections=connections, seconds=seconds))
        for connections in (1, 8)
    )
    return {
        "method": held["backbone"],
        "adapt and export, s": round(held["seconds"], 1),
        "ms at 1 connection": round(alone.milliseconds(50), 2),
        "requests/s at 8": round(full.throughput(), 1),
    }


def _request(scene: str, instance: dict[str, Any]) -> bytes:
    return json_request(f"/v1/scenes/{scene}/predict", {"instances": [instance]})


def _adapt_all(into: Path) -> None:
    """A home with one scene of each modality, and instances to ask with."""
    told: dict[str, dict[str, Any]] = {}
    data, tested = digits.write(into / "digits"), digits.tested(into / "digits")
    told[digits.SCENE] = _adapted(into, digits.SCENE, data, digits.BACKBONE, [item.instance for item in tested])
    for name in acts.ACTS:
        act = acts.prepared(name, into / "data")
        told[act.scene] = _adapted(into, act.scene, act.data, act.backbone, [item.instance for item in act.tested])
    (into / "adapted.json").write_text(json.dumps(told), encoding="utf-8")


def _adapted(into: Path, scene: str, data: Path, backbone: str, instances: Sequence[dict[str, Any]]) -> dict[str, Any]:
    environment = os.environ | {"LEPTON_HOME": str(into.absolute() / "home")}
    chosen = ["--backbone", backbone, "--recipe", "closed_form", "--json"]
    command = [sys.executable, "-m", "lepton.main", "adapt", scene, str(data), *chosen]
    begun = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return {"backbone": backbone, "seconds": time.perf_counter() - begun, "instances": list(instances[:ASKED])}


if __name__ == "__main__":
    sys.exit(main())
