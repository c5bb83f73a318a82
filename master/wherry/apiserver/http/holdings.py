"""What clients make the server hold: requests half sent or waiting, answers that they do not take.

Of each connection it is bounded, of ten thousand it would be the machine's memory. When all of
it passes a bound, connections are cut whose clients have kept the server waiting for longest;
not those that have done so for a moment only, for everybody does, unless it is twice the bound.
"""

from typing import Final, Protocol

_PATIENCE_S: Final = 1.0
_ROOM: Final = 0.9
"""Share of the bound that is left once it was passed: to find whom to cut takes time."""


class Holder(Protocol):
    """A connection."""

    held: int
    """Bytes; kept by `Holdings`."""

    def holding_since(self) -> float:
        """Return since when its client has let it wait, or is waiting itself."""
        ...

    def cut(self) -> None:
        """End it; it then holds nothing."""
        ...


class Holdings:
    """Of all connections together, in bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._holders: set[Holder] = set()
        self._looked_at = float("-inf")
        self.bytes = 0
        self.cut = 0
        """Connections cut so far."""
        self.cut_bytes = 0

    def hold(self, holder: Holder, size: int, now: float) -> None:
        """Note that a connection holds so much now; may cut it, or others."""
        grown = size - holder.held
        self.bytes += grown
        holder.held = size
        if size:
            self._holders.add(holder)
        else:
            self._holders.discard(holder)
        if grown > 0 and self.bytes > self._most:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        urgent = self.bytes > 2 * self._most
        if not urgent and self._looked_at == now:
            return  # who is slow does not change before the clock has moved on
        self._looked_at = now
        latest = now if urgent else now - _PATIENCE_S
        waiting = sorted((one.holding_since(), -one.held, id(one), one) for one in self._holders)
        for since, _, _, one in waiting:
            if since > latest or self.bytes <= _ROOM * self._most:
                break
            self.cut += 1
            self.cut_bytes += one.held
            one.cut()
