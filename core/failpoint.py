"""Named places at which a process can be made to die as by kill -9, so that tests need not wait for luck.

Promises that nothing happens unless ``LEPTON_FAILPOINT`` names the place. Knows nothing of who comes by.

``LEPTON_FAILPOINT=PLACE:FILE`` dies there once: whoever makes FILE dies, and who finds it goes on.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "LEPTON_FAILPOINT"


def passes(place: str) -> None:
    """The process is at this place; it dies here where it was told to."""
    wanted, _, file = os.environ.get(VARIABLE, "").partition(":")
    if wanted != place:
        return
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
