"""Learning while it serves: streams of scenes, gates, drift, labels worth asking for, and labels that lie.

``python -m benchmarks.adaptation [--quick] [--json FILE] [--pictures FOLDER] [--only PARTS]``. What is asked in each
part stands at the top of its file in ``benchmarks/adaptation_parts/``; a part with curves draws them into FOLDER.

Promises intervals over seeds, real data wherever nothing is said of planted, and the product's own functions.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.adaptation_parts import heads, levels, periodic, poison, queue, shifts, values
from benchmarks.adaptation_parts.measured import Measured, draw
from benchmarks.report import Claim, Row, finish

PARTS: Mapping[str, Callable[..., Measured]] = {
    "heads": heads.measured,
    "periodic": periodic.measured,
    "levels": levels.measured,
    "shifts": shifts.measured,
    "queue": queue.measured,
    "poison": poison.measured,
    "values": values.measured,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds, within 5 minutes on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, rows and claims to FILE")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw curves into FOLDER (adaptation-PART.png)")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help="some of: %(default)s")
    given = parser.parse_args(argv)
    names = given.only.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"--only names {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    rows: list[Row] = []
    claims: list[Claim] = []
    with threadpool_limits(1):
        for name in names:
            begun = time.monotonic()
            found = PARTS[name](quick=given.quick)
            rows += found.rows
            claims += found.claims
            if given.pictures and found.curves:
                draw(found.curves, given.pictures / f"adaptation-{name}.png")
            print(f"… {name} is measured, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return finish("Learning while it serves, in %, with 95 % intervals over seeds", rows, claims, given.json)


if __name__ == "__main__":
    sys.exit(main())
