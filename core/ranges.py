"""Ranges of settings: a value outside is refused by the name of its setting.

Knows nothing of who uses a setting.
"""

from __future__ import annotations

import math

from core.errors import BadConfiguration


def not_negative(settings: object, section: str, *names: str) -> None:
    """Check that these settings of a section are zero or more."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise BadConfiguration(f"{section}.{name} is {value!r}", "give zero or more")


def positive(settings: object, section: str, *names: str) -> None:
    """Check that these settings of a section are above zero."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise BadConfiguration(f"{section}.{name} is {value!r}", "give a number above zero")
