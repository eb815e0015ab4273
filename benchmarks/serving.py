"""The service under load, beside what people would take instead, all in one run on one machine.

``python -m benchmarks.serving [--quick] [--json FILE] [--picture FILE] [--only tiny,image,overload,swaps,growth]``.
The load comes from a generator of our own, in a process of its own; the peers are installed into environments of their
own under ``.bench/peers/``. What is asked in each part stands at the top of its file in ``benchmarks/serving_parts/``.

Promises claims with the bounds that the project has set itself, and the generator's own ceiling beside them. Knows
nothing of the service's inside.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import planted
from benchmarks.generator.driver import Generator
from benchmarks.report import Claim, Row, finish
from benchmarks.serving_parts import growth, image, overload, swaps, tiny
from benchmarks.serving_parts.part import Part

PARTS: Mapping[str, Callable[..., Part]] = {
    "tiny": tiny.run,
    "image": image.run,
    "overload": overload.run,
    "swaps": swaps.run,
    "growth": growth.run,
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How the benchmark was called."""

    quick: bool
    json: Path | None
    picture: Path
    only: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    asked = _asked(argv)
    rows: list[Row] = []
    claims: list[Claim] = []
    with Generator() as generator:
        print(tiny.ceiling(generator, quick=asked.quick), flush=True)
        for name in asked.only:
            begun = time.monotonic()
            part = PARTS[name](generator, quick=asked.quick)
            rows += part.rows
            claims += part.claims
            print("\n".join([*part.notes, f"{name}: measured in {time.monotonic() - begun:.0f} s"]), flush=True)
            if name == "growth":
                growth.draw(part, asked.picture)
                print(f"growth: drawn into {asked.picture}", flush=True)
    return finish("The service under load", rows, claims, asked.json)


def _asked(argv: Sequence[str] | None) -> Asked:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, within 5 minutes on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, rows and claims to FILE")
    drawn = planted.PLACE / "growth.png"
    parser.add_argument("--picture", type=Path, metavar="FILE", default=drawn, help="growth as PNG: %(default)s")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="some of: %(default)s")
    given = parser.parse_args(argv)
    only = tuple(given.only.split(","))
    if unknown := sorted(set(only) - set(PARTS)):
        parser.error(f"--only names {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    return Asked(quick=given.quick, json=given.json, picture=given.picture, only=only)


if __name__ == "__main__":
    sys.exit(main())
