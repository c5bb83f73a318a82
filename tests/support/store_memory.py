"""What a member of the store would remember if it were started from its disk now."""

from dataclasses import dataclass
from random import Random

from store_sim import SimDisk

from wherry.store.membership import Configuration
from wherry.store.mvcc import MvccState
from wherry.store.raft.disk import CorruptError
from wherry.store.raft.link import Receiver
from wherry.store.raft.machine import RaftConfig
from wherry.store.raft.message import Message
from wherry.store.raft.node import RaftNode
from wherry.store.raft.wal import Entry


@dataclass(frozen=True, slots=True)
class Memory:
    """What a member would remember after a start."""

    hard: tuple[int, str | None, bool]  # term, vote, whether it may have forgotten something
    base: int  # the last entry in its snapshot
    last: int
    configuration: Configuration  # in force
    entries: dict[int, Entry]

    def same(self, other: "Memory") -> bool:
        base = max(self.base, other.base)
        mine = {index: one for index, one in self.entries.items() if index > base}
        theirs = {index: one for index, one in other.entries.items() if index > base}
        return (self.hard, self.last, mine) == (other.hard, other.last, theirs)


class _NoLink:
    def follow(self, configuration: Configuration) -> None:
        pass

    def send(self, member: str, message: Message) -> bool:
        return False

    async def run(self, receiver: Receiver) -> None:
        raise AssertionError("only its memory is wanted")


def read_back(config: RaftConfig, disk: SimDisk) -> Memory | None:
    """Recover from a copy of a disk; None: the member would refuse to start."""
    node = RaftNode(config, MvccState(), disk.copy(), _NoLink(), Random(0))
    try:
        node._recover()
    except CorruptError:
        return None
    wal = node._wal
    assert wal is not None
    entries = {entry[1]: entry for entry in wal.entries}
    last = max(entries, default=node.applied)
    return Memory((wal.term, wal.vote, wal.fresh), node.applied, last, node.configuration, entries)
