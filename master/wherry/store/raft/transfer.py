"""The leader's side of sending snapshots: one piece at a time to each member that needs one."""

from wherry.store.raft.disk import Disk
from wherry.store.raft.message import DAMAGED, SnapshotAck, SnapshotChunk
from wherry.store.raft.snapshot import PIECE_BYTES, SnapshotId, snapshots

RESEND_S = 1.0
INSTALL_S = 60.0  # a member that took longer than this to install one is sent another


class _Transfer:
    def __init__(self, identity: SnapshotId, size: int) -> None:
        self.id = identity
        self.size = size
        self.offset = 0
        self.resend_at = 0.0  # nothing is sent before, unless an acknowledgement came


class Transfers:
    """Where each member stands. `now` is the loop's time, in seconds."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._transfers: dict[str, _Transfer] = {}

    def next_chunk(self, member: str, term: int, read: int, now: float) -> SnapshotChunk | None:
        """Return what to send to a member now; None: nothing, it has yet to answer."""
        transfer = self._transfers.get(member)
        if transfer is None:
            available = snapshots(self._disk)
            if not available:
                raise AssertionError("the log was cut off without a snapshot")
            newest = available[-1]
            transfer = _Transfer(newest, self._disk.size(newest.name))
            self._transfers[member] = transfer
        if now < transfer.resend_at:
            return None
        try:
            data = self._disk.read(transfer.id.name, transfer.offset, PIECE_BYTES)
        except FileNotFoundError:  # two newer ones were taken meanwhile
            del self._transfers[member]
            return self.next_chunk(member, term, read, now)
        transfer.resend_at = now + RESEND_S
        return SnapshotChunk(
            term,
            read,
            transfer.id.index,
            transfer.id.term,
            transfer.offset,
            transfer.size,
            data,
        )

    def acknowledged(self, member: str, ack: SnapshotAck, now: float) -> bool:
        """Take a member's answer; return whether there is more to send at once."""
        transfer = self._transfers.get(member)
        if transfer is None or transfer.id != SnapshotId(ack.index, ack.snapshot_term):
            return False
        if ack.offset == DAMAGED:
            transfer.offset = 0
            transfer.resend_at = now + RESEND_S  # see `Keeper.doubt`
            return False
        if ack.offset >= transfer.size:
            transfer.offset = 0
            transfer.resend_at = now + INSTALL_S
            return False
        if ack.offset == transfer.offset:
            return False  # a second answer to the same piece
        transfer.offset = ack.offset
        transfer.resend_at = 0.0
        return True

    def reached(self, member: str, index: int) -> None:
        """The member has everything up to `index`: a transfer up to there is over."""
        transfer = self._transfers.get(member)
        if transfer is not None and transfer.id.index <= index:
            del self._transfers[member]

    def oldest(self, index: int) -> int:
        """Return where the log must begin, `index` or earlier, for who is being sent a snapshot."""
        return min([index, *(one.id.index for one in self._transfers.values())])

    def stop(self, member: str) -> None:
        """The member needs no more, or is gone."""
        self._transfers.pop(member, None)

    def clear(self) -> None:
        """No longer the leader."""
        self._transfers.clear()
