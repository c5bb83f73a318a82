"""When old revisions are forgotten: a decision of the leader alone. Pure."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Compaction:
    """When the leader compacts: every `interval_s`, or at `burst` revisions; `retain` stay.

    And when the state has grown by a quarter, but at least by `burst_bytes`, since what was
    compacted is freed: so what memory and snapshots hold besides live data is bounded,
    however fast it is written.
    """

    interval_s: float = 300.0
    retain: int = 10_000
    burst: int = 100_000
    burst_bytes: int = 64 << 20


class Compactable(Protocol):
    """What is looked at of a state."""

    @property
    def revision(self) -> int:
        """Return the current revision."""
        ...

    @property
    def compact_revision(self) -> int:
        """Return the oldest revision that may be read."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return the size of everything that is kept."""
        ...

    @property
    def swept(self) -> bool:
        """Whether everything that was compacted is freed."""
        ...


class Compactor:
    """Follows one state; times are monotonic seconds."""

    def __init__(self, policy: Compaction, now: float) -> None:
        self._policy = policy
        self._last = now
        self._measured_at = 0  # the last compaction of which all is freed ...
        self._size = 0  # ... and the state's size then

    def postpone(self, now: float) -> None:
        """Somebody else decides at this time."""
        self._last = now

    def due(self, state: Compactable, now: float) -> int | None:
        """Return the revision to compact to, if it is time."""
        if state.swept and self._measured_at != state.compact_revision:
            self._measured_at, self._size = state.compact_revision, state.size_bytes
        policy = self._policy
        excess = state.revision - policy.retain - max(state.compact_revision, 1)
        if excess <= 0:
            return None
        grown = state.size_bytes - self._size > max(policy.burst_bytes, self._size // 4)
        if not (grown or now - self._last >= policy.interval_s or excess >= policy.burst):
            return None
        self._last = now
        return state.revision - policy.retain
