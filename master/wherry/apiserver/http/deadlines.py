"""How long a connection has been waiting for its client, and whether that is too long.

Times are of the server's monotonic clock, in seconds; it ticks about once a second, so bounds
are kept to that.
"""

from wherry.apiserver.http.message import Limits


class Deadlines:
    """Of one connection."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._idle_since = now
        self._answered = False
        self._headers_since: float | None = None
        self._body_since: float | None = None
        self._stalled_since: float | None = None
        self._handled_since: float | None = None

    def reading(self, now: float, *, in_headers: bool, in_body: bool) -> None:
        """Bytes have come, and left a request unfinished in its headers, its body or not at all."""
        if not in_headers:
            self._headers_since = None
        elif self._headers_since is None:
            self._headers_since = now
        if not in_body:
            self._body_since = None
        elif self._body_since is None:
            self._body_since = now

    def request_complete(self) -> None:
        """A request has been read; the next one has all of its time."""
        self._headers_since = self._body_since = None

    def answered(self, now: float) -> None:
        """A request has been answered."""
        self._answered = True
        self._idle_since = now
        self._handled_since = None

    def stalled(self, now: float) -> None:
        """The client does not take what is sent."""
        self._stalled_since = now

    def flowing(self) -> None:
        """The client takes what is sent."""
        self._stalled_since = None

    def holding_since(self) -> float:
        """Return since when what is held for a client has waited for it, or for its turn."""
        begun = (self._stalled_since, self._headers_since, self._body_since)
        return min((at for at in begun if at is not None), default=self._idle_since)

    def waiting_since(self) -> float:
        """Return since when a client that is owed no answer has kept the server waiting."""
        begun = self._headers_since if self._body_since is None else self._body_since
        return self._idle_since if begun is None else begun

    def overdue(self, now: float) -> bool:
        """Tell whether the client is too slow with what it has begun to send or to take."""
        return (
            _before(self._stalled_since, now - self._limits.write_stall_s)
            or _before(self._headers_since, now - self._limits.header_s)
            or _before(self._body_since, now - self._limits.body_s)
        )

    def handled_too_long(self, now: float) -> bool:
        """Tell whether the request being handled has been for too long, as far as was looked."""
        if self._handled_since is None:
            self._handled_since = now
        return _before(self._handled_since, now - self._limits.request_s)

    def idle_too_long(self, now: float) -> bool:
        """Tell whether an idle connection is given up: sooner if it has never asked anything."""
        patience_s = self._limits.idle_s if self._answered else self._limits.header_s
        return self._idle_since < now - patience_s


def _before(since: float | None, limit: float) -> bool:
    return since is not None and since < limit
