"""Every modality: what a few labels are worth, beside the usual baselines, and what one prediction costs over HTTP.

``python -m benchmarks.modalities [--quick] [--json FILE]``: runs ``benchmarks.texts``, ``sounds``, ``tables``,
``table_transfer`` and ``mixture``, two at a time, which say how they measure and tell more when run alone; then adapts
one scene of each modality and one of three at once by the command line, exports it, and asks one worker for each over
HTTP: at one connection, and at eight.

Promises that all five scenes are served by the same worker at once, and nothing else runs beside it. Knows nothing of
how accuracy is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import mixture, sounds, table_transfer, tables, texts
from benchmarks.debian import BENCH, once
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import json_request
from benchmarks.generator.plans import Closed
from benchmarks.report import Claim, Row, finish, options
from benchmarks.servers import Server, lepton
from core.preprocess import to_base64
from lepton.demonstration import acts, digits

Part = Callable[[int], tuple[list[Row], list[Claim]]]

# name → (what measures it, draws, draws where it has to be quick)
PARTS: dict[str, tuple[Part, int, int]] = {
    "text": (texts.measured, 20, 5),
    "sound": (sounds.measured, 20, 5),
    "table": (tables.measured, 4, 1),
    "table, transfer": (table_transfer.measured, 20, 5),
    "mixture": (mixture.measured, 10, 5),
}
# column → what a part may call it
COLUMNS = {
    "scene": ("scene", "table"),
    "labels": ("labels", "labels a class"),
    "method": ("method", "head", "backbone", "parts"),
    "%": ("balanced accuracy", "score"),
}
AT_ONCE = 2  # parts
PLACE = BENCH / "modalities"
ASKED = 32  # different instances that go round
TAUGHT = 15  # stamps a class
SECONDS, QUICK_SECONDS = 10.0, 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows: list[Row] = []
    claims: list[Claim] = []
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
        wanted = {name: few if given.quick else draws for name, (_, draws, few) in PARTS.items()}
        running = {name: pool.submit(PARTS[name][0], draws) for name, draws in wanted.items()}
        for name, part in running.items():
            found, held = part.result()
            print(f"… {name} is measured", file=sys.stderr, flush=True)
            rows += [_line(name, row) for row in found]
            claims += held
    rows += _over_http(QUICK_SECONDS if given.quick else SECONDS)
    return finish("Modalities", rows, claims, given.json)


def _line(part: str, row: Row) -> Row:
    """What all parts tell, under one name each."""
    told = {column: next((row[name] for name in names if name in row), None) for column, names in COLUMNS.items()}
    return {"part": part, **told}


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
        "adapt, s": round(held["adapt"], 1),
        "export, s": round(held["export"], 1),
        "ms at 1 connection": round(alone.milliseconds(50), 2),
        "requests/s at 8": round(full.throughput(), 1),
    }


def _request(scene: str, instance: dict[str, Any]) -> bytes:
    return json_request(f"/v1/scenes/{scene}/predict", {"instances": [instance]})


def _adapt_all(into: Path) -> None:
    """A home with one scene of each modality, and instances to ask with."""
    told: dict[str, dict[str, Any]] = {}
    data, tested = digits.write(into / "digits"), digits.tested(into / "digits")
    told[digits.SCENE] = _adapted(into, digits.SCENE, data, [digits.BACKBONE], [item.instance for item in tested])
    for name in acts.ACTS:
        act = acts.prepared(name, into / "data")
        told[act.scene] = _adapted(into, act.scene, act.data, [act.backbone], [item.instance for item in act.tested])
    names = list(mixture.BACKBONES.values())
    data, instances = _stamps(into / "stamps")
    told["stamps"] = _adapted(into, "stamps", data, names, instances)
    (into / "adapted.json").write_text(json.dumps(told), encoding="utf-8")


def _stamps(into: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The mixture's stamps as data, a few a class, and others as instances."""
    into.mkdir(parents=True)
    lines: list[str] = []
    asked: list[dict[str, Any]] = []
    taken: Counter[str] = Counter()
    for number, stamp in enumerate(mixture.stamps()):
        taken[stamp.label] += 1
        caption = stamp.parts["text"].decode() if "text" in stamp.parts else None
        if taken[stamp.label] <= TAUGHT:
            (into / f"{number}.png").write_bytes(stamp.parts["image"])
            told = {"image": f"{number}.png", "text": caption, **stamp.numbers, "label": stamp.label}
            lines.append(json.dumps(told))
        elif caption and len(asked) < ASKED:
            picture = to_base64(stamp.parts["image"])
            asked.append({"image": picture, "text": caption, "features": dict(stamp.numbers)})
    data = into / "stamps.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    return data, asked


def _adapted(
    into: Path, scene: str, data: Path, backbones: Sequence[str], instances: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    named = [word for backbone in backbones for word in ("--backbone", backbone)]
    adapt = _timed(into, "adapt", scene, str(data), *named, "--recipe", "closed_form")
    export = _timed(into, "export", scene, "--out", str(into / "exported" / scene))
    method = " + ".join(backbones)
    return {"backbone": method, "adapt": adapt, "export": export, "instances": list(instances[:ASKED])}


def _timed(into: Path, *arguments: str) -> float:
    """Seconds of one command, the start of its process included."""
    environment = os.environ | {"LEPTON_HOME": str(into.absolute() / "home")}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "lepton.main", *arguments, "--json"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
