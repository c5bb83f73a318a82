"""How many requests are answered at once: reads and writes are counted apart, as upstream does.

Requests that last for as long as their client likes (watches, logs, exec) are not counted: or
whoever asks one silent node for the logs of its pods would keep everybody else out.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wherry.apiserver.http.message import Limits, Request

_READS = ("GET", "HEAD")


@dataclass(slots=True)
class Lane:
    """Requests of one sort."""

    most: int
    """0 for no bound."""
    count: int = 0

    @property
    def full(self) -> bool:
        """Whether another one has to wait."""
        return 0 < self.most <= self.count


class Flight:
    """All requests being answered."""

    def __init__(self, limits: Limits, is_long_running: Callable[[Request], bool]) -> None:
        self._is_long_running = is_long_running
        self.reads = Lane(limits.in_flight)
        self.writes = Lane(limits.mutating_in_flight)

    def lane(self, request: Request) -> Lane | None:
        """Return where a request is counted; None if it is not."""
        if self._is_long_running(request):
            return None
        return self.reads if request.method in _READS else self.writes
