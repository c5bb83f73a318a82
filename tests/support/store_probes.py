"""What must hold at every step, looked at from where no client can look: Raft's own promises.

A client notices a broken promise only when more goes wrong behind it. These notice the
promise itself:

    reads       every member that believes that it leads is asked to read, again and again, and
                the others in turn: an index that is answered covers all that was applied
                anywhere before
    words       before a vote or an acknowledgement leaves, what it says is on the disk
    commit      what a leader calls committed is on the disks of a majority of voters
    keeping     a member that held a committed entry keeps it, and nobody commits another there
    leaders     a new leader has every entry that was committed before (Leader Completeness)
    campaigns   who hears nobody for a while raises no term
    changes     of two configurations that are not committed, one is too many

`look` is called often, the rest by the network and the disks.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from store_network import SimNetwork
from store_sim import SimDisk
from store_world import StoreWorld

from wherry.store.membership import Configuration
from wherry.store.raft import message as msg
from wherry.store.raft.machine import Lost
from wherry.store.raft.record import HARD, records
from wherry.store.replica import Replica

_OTHERS_EACH = 4  # looks
_DEAF_S = 0.3  # what was heard last may still raise the term for so long


class Probes:
    """See the module.

    Args:
        world: Whom to look at.
        network: What they say, and hear.
        is_solid: Whether a member's disk never forgot anything that it had.
        complain: Takes what does not hold.
    """

    def __init__(
        self,
        world: StoreWorld,
        network: SimNetwork,
        is_solid: Callable[[str], bool],
        complain: Callable[[str], None],
    ) -> None:
        self._world = world
        self._is_solid = is_solid
        self._complain = complain
        self._applied = 0  # the furthest index that any member ever applied
        self._terms: dict[int, int] = {}  # of committed entries, by index
        self._durable: dict[str, int] = {}  # the last index on each disk, when last synced
        self._lost: dict[str, int] = {}  # the same, of a disk that was replaced: it did count
        self._held: dict[str, int] = {}  # up to where each has what is committed
        self._led: set[tuple[str, int]] = set()
        self._heard: dict[str, tuple[float, int]] = {}  # when, and the term then
        self._turn = 0
        self.reads = 0
        network.on_arrive = self._arrived

    # ---- from time to time

    def look(self) -> None:
        """Look at everybody."""
        running = sorted(self._world.replicas.items())
        cores: list[tuple[str, Any]] = [(name, one.node._core) for name, one in running]
        cores = [(name, core) for name, core in cores if core is not None]
        for name, core in cores:
            self._follow(name, core)
            self._look_at_campaigns(name, core)
        for name, core in cores:
            if core.is_leader:
                self._look_at_leader(name, core)
        self._turn += 1
        for place, (name, replica) in enumerate(running):
            turn, rest = divmod(self._turn, _OTHERS_EACH)
            if replica.node.is_leader or (not rest and place == turn % len(running)):
                self._read(name, replica)

    def _follow(self, name: str, core: Any) -> None:
        """Note what a member has applied, and on which disk it is."""
        wal, applied = core._wal, core.applied
        self._see_disk(name, wal)
        self._applied = max(self._applied, applied)
        term = wal.term_at(applied)
        if term is None or not applied:
            return
        known = self._terms.setdefault(applied, term)
        if known != term:
            self._complain(f"{name} applied entry {applied} of term {term}, others of {known}")
        if wal.durable and self._is_solid(name):
            self._held[name] = max(self._held.get(name, 0), applied)

    def _look_at_leader(self, name: str, core: Any) -> None:
        wal, commit = core._wal, core.commit
        pending = [index for index, _ in wal.configurations if index > commit]
        if len(pending) > 1 and wal.term_at(pending[-1]) == core.term:
            self._complain(f"{name} changes the members twice at once: entries {pending}")
        if (name, core.term) not in self._led:
            self._led.add((name, core.term))
            self._has_all(name, core)
        enough = [self._majority_has(commit, one) for one in (core.agreed, core.configuration)]
        if not any(enough):
            self._complain(
                f"{name} committed entry {commit}, and disks have {sorted(self._durable.items())} "
                f"of {[one.key for one in core.configuration.voters]}"
            )

    def _has_all(self, name: str, core: Any) -> None:
        """Of an entry that is no longer in memory the log's first one proves that it was."""
        last = max(self._terms, default=0)
        if not last or core.applied >= last:
            return
        if core._wal.term_at(last) != self._terms[last]:
            self._complain(f"{name} leads in term {core.term} without entry {last}")

    def _majority_has(self, index: int, configuration: Configuration) -> bool:
        voters = [one.key for one in configuration.voters]
        have = sum(
            max(self._durable.get(name, 0), self._lost.get(name, 0)) >= index for name in voters
        )
        return have > len(voters) // 2

    def _look_at_campaigns(self, name: str, core: Any) -> None:
        heard_s, term = self._heard.setdefault(name, (_now(), core.term))
        alone = len(core.configuration.voters) == 1
        if core.term > term and not alone and _now() > heard_s + _DEAF_S:
            self._complain(f"{name} heard nobody since {heard_s:.3f}, and went to {core.term}")
        if _now() <= heard_s + _DEAF_S:
            self._heard[name] = (heard_s, core.term)

    def _read(self, name: str, replica: Replica) -> None:
        """Ask for a read: whoever answers must cover what had been applied anywhere."""
        replica.read_index(functools.partial(self._read_index, name, self._applied))

    def _read_index(self, name: str, least: int, got: int | Lost) -> None:
        if isinstance(got, Lost):
            return
        self.reads += 1
        if got < least:
            self._complain(f"stale read: {name} answers {got}, and {least} was applied before")

    # ---- as it happens

    def started(self, name: str, replica: Replica) -> None:
        """A member starts: what it syncs is followed."""
        self._heard.pop(name, None)
        disk = self._world.disks[name]
        if not disk.names():
            self._lost[name] = max(self._lost.get(name, 0), self._durable.pop(name, 0))
            self._held.pop(name, None)
        disk.on_sync = functools.partial(self._synced, name, replica)

    def _see_disk(self, name: str, wal: Any) -> None:
        """Note what is durable: what was written last may have outlived a crash unsynced."""
        if wal.entries and wal.durable and not self._world.disks[name].unsynced(".wal"):
            self._durable[name] = wal.entries[-1][1]

    def _synced(self, name: str, replica: Replica) -> None:
        core: Any = replica.node._core
        if core is None or core._wal is None or not core._wal.entries:
            return
        last = core._wal.entries[-1][1]
        self._durable[name] = last
        if last < self._held.get(name, 0) and self._is_solid(name):
            self._complain(f"{name} took back entry {self._held[name]}, which is committed")

    def said(self, name: str, message: msg.Message) -> None:
        """A message leaves a member."""
        replica = self._world.replicas.get(name)
        promise = isinstance(message, msg.Vote | msg.RequestVote)
        promise |= isinstance(message, msg.Ack) and message.success
        if replica is None or not promise:
            return
        core: Any = replica.node._core
        disk = self._world.disks[name]
        kind = type(message).__name__
        if not core._wal.durable or disk.unsynced(".wal"):
            self._complain(f"{name} said {kind} before that was on its disk")
        elif isinstance(message, msg.Vote | msg.RequestVote) and _forgets(disk, message.term):
            self._complain(f"{name} said {kind}, and a crash would make it forget its vote")
        else:
            self._see_disk(name, core._wal)

    def _arrived(self, _source: str, target: str, _message: msg.Message) -> None:
        replica = self._world.replicas.get(target)
        if replica is not None:
            self._heard[target] = (_now(), replica.node.term)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _forgets(disk: SimDisk, term: int) -> bool:
    """Whether the disk's last word is not a vote in this term. Every segment begins with one."""
    newest = max(name for name in disk.names() if name.endswith(".wal"))
    hard = [(a, vote) for _, kind, a, _, vote in records(disk.read(newest)) if kind == HARD]
    return not hard or hard[-1][0] != term or not hard[-1][1]
