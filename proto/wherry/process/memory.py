"""How much freed memory a process keeps, and when it goes back to the system.

glibc keeps what was freed between things that stay, and after a storm of connections (each a
TLS state of 45 KB) that is hundreds of megabytes which nobody uses. What is freed at the end
of the heap it gives back at once, and has it faulted in again, page by page, for the next large
answer: that was half of what a list of 5,000 pods cost.
"""

import ctypes
import gc
from typing import Any, Final

_TRIM_THRESHOLD: Final = -1  # mallopt(3)
_MMAP_THRESHOLD: Final = -3
_LARGEST_MMAP_THRESHOLD: Final = 32 << 20
_MOST_LET_GO: Final = 64 << 20
_REST_SWEEPS: Final = 15
"""How much later the rest of a storm is given back: longer than a handshake may last."""


def _find(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):  # another C library, which has its own ways
        return None


_trim = _find("malloc_trim")
_set = _find("mallopt")


def give_back() -> None:
    """Return freed memory to the system; takes some 10 ms for 100 MB."""
    if _trim is not None:
        _trim(0)


class Turnover:
    """Gives memory back once much of it was let go by things that ended: a storm leaves none.

    And once more a little later: what is counted is not all freed yet (a connection is when it
    is accepted, for who never says a word is not heard going), and the end of a storm may be
    little by itself.
    """

    def __init__(self, most_bytes: int = _MOST_LET_GO) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._rest_in = 0  # sweeps; 0: there is none

    def let_go(self, size: int) -> None:
        """Note that something of this size has ended."""
        self._bytes += size

    def sweep(self) -> None:
        """Give back what was let go, if it is much; called about every second."""
        much = self._bytes >= self._most
        rest = self._rest_in == 1
        self._rest_in = _REST_SWEEPS if much else max(0, self._rest_in - 1)
        if much or rest:
            self._bytes = 0
            gc.collect()  # what was cancelled is kept by its own traceback, and collections are rare
            give_back()


def keep_freed(most_bytes: int) -> None:
    """Keep so much freed memory at the end of the heap, and large blocks in the heap."""
    if _set is not None:
        _set(_TRIM_THRESHOLD, most_bytes)
        _set(_MMAP_THRESHOLD, min(most_bytes, _LARGEST_MMAP_THRESHOLD))
