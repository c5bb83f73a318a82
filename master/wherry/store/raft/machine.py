"""What Raft replicates, and how it is set up."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from wherry.api.errors import ConfigError
from wherry.store.raft.wal import SEGMENT_BYTES

R_co = TypeVar("R_co", covariant=True)


class Lost(Enum):
    """Why a command or read has no result here."""

    NOT_LEADER = "not leader"  # it was not proposed: ask the leader
    UNKNOWN = "leader changed"  # it may or may not be applied: repeat it with the same seq
    BUSY = "too many requests"  # it was not proposed: ask later


class View(Protocol):
    """The state at one moment, readable in pieces while it moves on."""

    def chunks(self) -> Iterator[bytes]:
        """Yield pieces of a few hundred kilobytes."""
        ...


class Restorer(Protocol):
    """Takes the pieces of a `View` and then replaces the state, at once."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece; the state is not touched yet."""
        ...

    def finish(self) -> None:
        """Replace the state."""
        ...


class Machine(Protocol[R_co]):
    """A deterministic state machine."""

    def apply(self, data: bytes) -> R_co:
        """Apply one command. An exception stops the process."""
        ...

    def snapshot(self) -> AbstractContextManager[View]:
        """Return a view of the state as it is now."""
        ...

    def restorer(self) -> Restorer:
        """Begin to replace the state."""
        ...


@dataclass(frozen=True, slots=True)
class Joined:
    """Under which id a member joined, and who belonged to the cluster (`membership.encode`)."""

    id: int
    base: bytes


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """One member of a cluster, and with whom it began.

    Attributes:
        name: This member; one of `members`.
        members: All names at the beginning, the same on every member; 1, 3 or 5 of them.
        cluster: Identity of the cluster; members of different clusters refuse each other.
        heartbeat_s: A leader says at least this often that it leads.
        election_min_s: Silence after which a member may campaign, at the earliest ...
        election_max_s: ... and at the latest; also how long a leader leads without a majority.
        tick_s: By how much a timeout may be late, and things due at once are put together.
        snapshot_count: Entries after which a snapshot is taken.
        segment_bytes: Size at which the log goes on in another file.
        peers: Where each of `members` listens, host:port; empty where the link needs none.
        joined: What stands on the disk of a member that has started before, or what one that
            came later was told; it wins over `members`, of which only the addresses count.
    """

    name: str
    members: tuple[str, ...]
    cluster: str
    heartbeat_s: float = 0.1
    election_min_s: float = 0.5
    election_max_s: float = 1.0
    tick_s: float = 0.002
    snapshot_count: int = 10_000
    segment_bytes: int = SEGMENT_BYTES
    peers: tuple[str, ...] = ()
    joined: Joined | None = None

    def check(self) -> None:
        """Raise `ConfigError` if this cannot work."""
        if self.joined is None and self.name not in self.members:
            raise ConfigError(f"member {self.name!r} is not in the cluster {list(self.members)}")
        count = len(self.members)
        if self.joined is None and (len(set(self.members)) != count or count not in (1, 3, 5)):
            raise ConfigError(
                f"a cluster has 1, 3 or 5 members of different names, not {list(self.members)}"
            )
        if not 3 * self.heartbeat_s < self.election_min_s < self.election_max_s:
            raise ConfigError(
                "the election timeout must be more than 3 heartbeats, and its maximum more than "
                f"its minimum: {self.heartbeat_s}, {self.election_min_s}, {self.election_max_s}"
            )
