"""A peer's script run once in its own environment: JSON goes in, JSON comes out, one process at a time.

Promises that it computes with as many threads as it is told, and that a script which fails is an error with its last
words. Knows nothing of what the scripts do.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import environment

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(name: str, script: str, asked: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """What ``script`` of this folder answers to ``asked``, in the environment ``name``.

    Raises:
        NotInstalled: the environment cannot be made. RuntimeError: the script failed.
    """
    python, file = environment(name), Path(__file__).with_name(script)
    more = {**dict.fromkeys(_THREADS, str(threads)), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [str(python), str(file)],
        input=json.dumps(dict(asked)),
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{script} in {name}: {' / '.join(ran.stderr.strip().splitlines()[-3:])}")
    answered: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return answered
