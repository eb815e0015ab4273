"""No server at all: decode, resize, run, one picture after the other, with all cores for the model.

``python -m benchmarks.peers.plain_loop FOLDER SECONDS`` prints pictures a second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.peers import work


def main() -> None:
    """Run for a while after a first round."""
    model, files = work.Model(), [file.read_bytes() for file in sorted(Path(sys.argv[1]).glob("*.jpg"))]
    for data in files:
        model.pictures([data])
    done, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < float(sys.argv[2]):
        model.pictures([files[done % len(files)]])
        done += 1
    print(done / spent)


if __name__ == "__main__":
    main()
