"""Memory of a retired model back to the system: the C library would keep it (700 MB after 30 swaps of 128 MB)."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Return freed pages of the heap, where the C library is glibc; elsewhere nothing."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return
