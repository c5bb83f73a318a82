"""Freed memory goes back to the system.

glibc keeps what was freed between things that stay, and after a storm of connections (each a
TLS state of 45 KB) that is hundreds of megabytes which nobody uses.
"""

import ctypes
from collections.abc import Callable


def _find() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # another C library, which has its own ways
        return None


_trim = _find()


def give_back() -> None:
    """Return freed memory to the system; takes some 10 ms for 100 MB."""
    if _trim is not None:
        _trim(0)
