"""Two processes that tune together make the steps of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

from tests import together

ROOT = Path(__file__).parents[2]
TOLERANCE = 2e-4  # of a weight: sums in another order, through three epochs of Adam


def test_two_processes_tune_as_one_does(tmp_path: Path) -> None:
    together.main(tmp_path / "alone")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.together", str(tmp_path / "both")],
            cwd=ROOT,
            env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [each.communicate(timeout=240)[1] for each in running]
    assert [each.returncode for each in running] == [0, 0], "\n".join(errors)
    alone, both = load_file(tmp_path / "alone"), load_file(tmp_path / "both")
    assert alone.keys() == both.keys()
    for name, tensor in alone.items():
        gap = float((tensor.float() - both[name].float()).abs().max())
        assert gap <= TOLERANCE, (name, gap)
