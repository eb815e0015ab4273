"""What a request for predictions passes before its body is read: its deadline, and whether there is room for it.

Promises that a refusal costs next to nothing. Knows nothing of what is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.errors import InvalidInput
from core.types import Scene
from service.context import Context

DEADLINE = "Lepton-Deadline"
_HEADER = DEADLINE.lower().encode()


def admitted(context: Context, scene: Scene, headers: Mapping[bytes, bytes]) -> float:
    """The deadline of a request, in the batcher's clock: what it asks for, and no later than the setting.

    Raises:
        InvalidInput: it asks for a time that is none. Overloaded: there is no room, or it would wait in vain.
    """
    most = context.home.settings.serve.deadline_seconds
    told = headers.get(_HEADER)
    seconds = most if told is None else min(_seconds(told), most)
    context.predicting.check(scene.name, 1, seconds)
    return context.batcher.clock() + seconds


def limit(context: Context, scene: Scene, headers: Mapping[bytes, bytes], count: int) -> None:
    """Ask whoever limits by key, where anybody does, for so many instances. Raises as that does."""
    if context.limiter is not None:
        context.limiter(headers, scene.name, count)


def _seconds(told: bytes) -> float:
    try:
        seconds = float(told)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidInput(f"{DEADLINE} is {told[:40].decode('latin-1')!r}", "send seconds, a number above zero")
    return seconds
