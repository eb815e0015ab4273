"""Identifiers are nobody else's."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from core import ids


def test_no_two_ids_are_alike_over_threads_and_over_a_fork() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [name for part in pool.map(lambda _: [ids.uuid7() for _ in range(2000)], range(4)) for name in part]
    code = (
        "import os; from core.ids import uuid7; uuid7(); read, write = os.pipe(); child = os.fork(); "
        "mine = [uuid7() for _ in range(50)]; "
        "child or (os.write(write, ' '.join(mine).encode()), os._exit(0)); os.waitpid(child, 0); "
        "theirs = os.read(read, 65536).decode().split(); "
        "print(len({name[15:] for name in mine + theirs}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(set(made)) == 8000
    assert told.stdout.strip() == "100"
