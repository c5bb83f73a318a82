"""The snapshots of one member: when one is due, taking it, receiving and installing another's.

Taken, received and installed one at a time, beside the rounds of Raft: chunks are produced in
the event loop, for the state has one owner; checksums and fsync are the disk's, in a thread.
Two are kept, and the log back to the older one (`snapshot.py`).
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from wherry.store.raft import message as msg
from wherry.store.raft import snapshot
from wherry.store.raft.core import RaftCore
from wherry.store.raft.disk import CorruptError, Disk
from wherry.store.raft.link import PeerLink
from wherry.store.raft.machine import Machine, RaftConfig
from wherry.store.raft.snapshot import SnapshotId
from wherry.store.raft.wal import Wal

log = logging.getLogger(__name__)
R = TypeVar("R")
_KEEP_SNAPSHOTS: Final = 2
_MAX_LOG_BYTES: Final = 64 << 20  # of commands; then one is due, however large or few they are


class Keeper(Generic[R]):
    """See the module.

    Args:
        config: Whose snapshots.
        machine: What is in them.
        disk: Where they are.
        link: To acknowledge pieces.
        core: Returns the member's core; None when it has stopped.
        installed: Called with the index that is applied, after a snapshot replaced the state.
    """

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine[R],
        disk: Disk,
        link: PeerLink,
        core: Callable[[], RaftCore[R] | None],
        installed: Callable[[int], None],
    ) -> None:
        self._config = config
        self._machine = machine
        self._disk = disk
        self._link = link
        self._core = core
        self._installed = installed
        self._wal: Wal | None = None
        self._receiving: snapshot.Receiver | None = None
        self._received: tuple[str, snapshot.Receiver] | None = None
        self._index = 1  # what the newest snapshot ends with ...
        self._bytes = 0  # ... how large it is ...
        self.applied_bytes = 0  # ... and what was applied since
        self._doubted: SnapshotId | None = None  # who was sent it found it damaged
        self._work = asyncio.Event()  # one is to be taken, installed or looked at

    def restore(self, wal: Wal) -> snapshot.Header | None:
        """Begin: give the machine the state of the newest good snapshot, and fit the log to it.

        Raises:
            CorruptError: the snapshots and the log do not give the whole state.
        """
        self._wal = wal
        known = snapshot.snapshots(self._disk)
        usable = snapshot.newest_valid(self._disk, known)
        check_reach(wal, usable, known)
        if usable is None:
            return None
        for damaged in known:
            if damaged.index > usable.index:
                self._disk.delete(damaged.name)  # the log has it; nobody must be sent this
        header, chunks = snapshot.read(self._disk, usable.name, self._config.cluster)
        restorer = self._machine.restorer()
        for chunk in chunks:
            restorer.feed(chunk)
        restorer.finish()
        if wal.term_at(usable.index) != usable.term:
            wal.reset(usable.index, usable.term)
        self._remember(usable)
        return header

    def look(self, applied: int) -> None:
        """See whether a snapshot is due."""
        if self._due(applied):
            self._work.set()

    def _due(self, applied: int) -> bool:
        """Whether it is time: after so many entries, and when the log is half as large as the state.

        So snapshots cost a bounded multiple of what is written; and the log is bounded.
        """
        if self.applied_bytes >= _MAX_LOG_BYTES:
            return True
        enough = applied - self._index >= self._config.snapshot_count
        return enough and self.applied_bytes >= self._bytes // 2

    def receive(self, member: str, chunk: msg.SnapshotChunk) -> None:
        """Take a piece of a snapshot that the leader sends."""
        core = self._core()
        if core is None:
            return
        identity = SnapshotId(chunk.index, chunk.snapshot_term)
        if identity.index <= core.applied:
            core.acknowledge_snapshot(member, core.commit + 1)
            return
        receiving = self._receiving
        if self._received is not None:  # being installed: one at a time
            return
        if receiving is None or receiving.id != identity or receiving.size != chunk.size:
            if receiving is not None:
                receiving.close()
            receiving = self._receiving = snapshot.Receiver(self._disk, identity, chunk.size)
        if receiving.add(chunk.offset, chunk.data):
            self._receiving = None
            self._received = (member, receiving)
            self._work.set()
        fresh = self._wal is None or self._wal.fresh
        self._link.send(member, _snapshot_ack(chunk, receiving.offset, fresh=fresh))

    async def run(self) -> None:
        """Take, install and look at what is due, one at a time, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            if self._received is not None:
                await self._install(*self._received)
                self._received = None
            elif self._doubted is not None:
                await self._look_at(self._doubted)
                self._doubted = None
            else:
                await self._take()

    def header(self) -> snapshot.Header | None:
        """Return the header of a snapshot of the state as it is now; None: there is none yet."""
        core, wal = self._core(), self._wal
        term = wal.term_at(core.applied) if core is not None and wal is not None else None
        if core is None or term is None:
            return None
        index, members = core.configuration_at(core.applied)
        return snapshot.Header(core.applied, term, self._config.cluster, members, index)

    def doubt(self, identity: SnapshotId) -> None:
        """Somebody was sent this one and found it damaged: see whether it is so here."""
        self._doubted = identity
        self._work.set()

    async def _look_at(self, doubted: SnapshotId) -> None:
        """Take another in the place of a damaged one: the state in memory is good."""
        try:
            await self._disk.run(functools.partial(snapshot.verify, self._disk, doubted.name))
        except FileNotFoundError:
            return
        except CorruptError as error:
            log.error("damaged snapshot", extra={"why": str(error)})  # noqa: TRY400  # no traceback: it is the disk
        else:
            return  # damaged on its way; it is sent again
        await self._take(due=True)
        if doubted != snapshot.snapshots(self._disk)[-1]:
            self._disk.delete(doubted.name)

    async def _take(self, *, due: bool = False) -> None:
        header = self.header()
        if header is None or not (due or self._due(header.index)):
            return
        self.applied_bytes = 0
        with self._machine.snapshot() as view:
            writer = snapshot.Writer(self._disk, header)
            try:
                for chunk in view.chunks():
                    await self._disk.run(functools.partial(writer.add, chunk))
                taken = await self._disk.run(writer.finish)
            except BaseException:
                writer.abandon()
                raise
        log.info("took snapshot", extra={"file": taken.name})
        self._remember(taken)
        self._forget_old()

    def _refuse(self, member: str, damaged: SnapshotId) -> None:
        """Tell the leader that what it sent is damaged; as a new disk does, it confirms no reads."""
        core = self._core()
        if core is not None:
            ack = msg.SnapshotAck(
                core.term, 0, damaged.index, damaged.term, msg.DAMAGED, fresh=True
            )
            self._link.send(member, ack)

    def _remember(self, newest: SnapshotId) -> None:
        self._index = max(self._index, newest.index)
        self._bytes = self._disk.size(newest.name)

    def _forget_old(self) -> None:
        """Keep two snapshots, and the log from the older one on."""
        kept = snapshot.snapshots(self._disk)
        for old in kept[:-_KEEP_SNAPSHOTS]:
            self._disk.delete(old.name)
        if len(kept) >= _KEEP_SNAPSHOTS and self._wal is not None:
            self._wal.drop_before(kept[-_KEEP_SNAPSHOTS].index)
        core = self._core()
        if kept and core is not None:
            core.forget_before(kept[-1].index)

    async def _install(self, member: str, received: snapshot.Receiver) -> None:
        try:
            await self._disk.run(received.finish)
        except CorruptError as error:
            log.warning("received a damaged snapshot", extra={"why": str(error)})
            self._refuse(member, received.id)
            return
        header, chunks = snapshot.read(self._disk, received.id.name, self._config.cluster)
        restorer = self._machine.restorer()
        for chunk in chunks:
            restorer.feed(chunk)
            await asyncio.sleep(0)
        core = self._core()
        if core is None:
            return
        if core.install(header, restorer.finish):
            log.info("installed snapshot", extra={"file": received.id.name})
            self._remember(received.id)
            self.applied_bytes = 0
            for old in snapshot.snapshots(self._disk):
                if old.index < received.id.index:
                    self._disk.delete(old.name)
            self._installed(core.applied)
        core.acknowledge_snapshot(member, received.id.index + 1)


def check_reach(wal: Wal, usable: SnapshotId | None, known: Sequence[SnapshotId]) -> None:
    """See that nothing is missing between the usable snapshot and the log.

    Raises:
        CorruptError: something is.
    """
    first = wal.entries[0][1] if wal.entries else 1
    reached = usable.index if usable is not None else 1
    if first > reached:
        raise CorruptError(
            f"the log begins at entry {first}, and the newest good snapshot ends at {reached}"
        )
    if usable is not None and usable != known[-1]:
        last = wal.entries[-1][1] if wal.entries else 1
        if wal.term_at(usable.index) != usable.term or last < known[-1].index:
            raise CorruptError(
                f"{known[-1].name} is damaged, and the log does not go on from {usable.name}"
            )


def _snapshot_ack(chunk: msg.SnapshotChunk, offset: int, *, fresh: bool) -> msg.SnapshotAck:
    return msg.SnapshotAck(chunk.term, chunk.read, chunk.index, chunk.snapshot_term, offset, fresh)
