"""When a store is out of space, and says so while it still can: pure.

As in etcd the alarm NOSPACE is raised for the whole cluster: then nothing is written but
deletions, until somebody made room (delete, compact) and ended it (`etcdctl alarm disarm`).
The leader decides, by two measures: what the state holds, which is the same on all members;
and what its own disk has left, if the cluster could not go on without it. A member that can
be spared rather stops by itself when its disk is full, and the others go on.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from wherry.store.entry import NOSPACE

_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be held: keys and values, in all their versions; etcd's default.

    Attributes:
        backend_bytes: The bound; negative: there is none.
    """

    backend_bytes: int = 2 * _GIB

    def exceeded(self, size_bytes: int) -> bool:
        """Whether a state of that size is over the bound."""
        return 0 <= self.backend_bytes < size_bytes


@dataclass(frozen=True, slots=True)
class Space:
    """What is looked at.

    Attributes:
        size_bytes: Of keys and values.
        swept: Whether all that was compacted is freed; else it is too early to complain.
        segment_bytes: What the log reserves when it goes on in another file.
        free_bytes: What the disk has left; None: nobody looks.
        spare: Whether the other members would be a majority without this one.
    """

    size_bytes: int
    swept: bool
    segment_bytes: int
    free_bytes: int | None
    spare: bool


def reserve_bytes(space: Space) -> int:
    """Return what a disk must have left: for the log's next segment and the next snapshot."""
    return space.segment_bytes + space.size_bytes + space.size_bytes // 2


def shortage(quota: Quota, space: Space, alarms: Collection[tuple[int, int]]) -> str | None:
    """Return why NOSPACE must be raised; None if it need not, or is already."""
    if any(kind == NOSPACE for _, kind in alarms):
        return None
    if space.swept and quota.exceeded(space.size_bytes):
        return f"{space.size_bytes} bytes are held, the quota is {quota.backend_bytes}"
    needed = reserve_bytes(space)
    if space.free_bytes is not None and space.free_bytes < needed and not space.spare:
        return f"the disk has {space.free_bytes} bytes left, {needed} may be needed at once"
    return None
