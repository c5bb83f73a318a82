"""Sending snapshots: what is sent when pieces, answers and whole snapshots get lost."""

from random import Random

from store_sim import SimDisk

from wherry.store.raft.message import SnapshotAck, SnapshotChunk
from wherry.store.raft.snapshot import PIECE_BYTES, SnapshotId
from wherry.store.raft.transfer import INSTALL_S, RESEND_S, Transfers


def disk_with(*snapshots: tuple[int, int]) -> SimDisk:
    """Make a disk with snapshots of (index, size)."""
    disk = SimDisk(Random(1))
    for index, size in snapshots:
        add(disk, index, size)
    return disk


def add(disk: SimDisk, index: int, size: int) -> None:
    file = disk.create(SnapshotId(index, 1).name)
    file.append(bytes(size))
    file.sync()


def chunk(transfers: Transfers, now: float) -> SnapshotChunk | None:
    return transfers.next_chunk("b", 2, 0, now)


def ack(sent: SnapshotChunk | None, offset: int) -> SnapshotAck:
    assert sent is not None
    return SnapshotAck(sent.term, 0, sent.index, sent.snapshot_term, offset)


def test_one_piece_after_the_other_and_again_when_one_gets_lost() -> None:
    transfers = Transfers(disk_with((10, PIECE_BYTES + 7)))
    first = chunk(transfers, now=0)
    assert first is not None
    assert (first.offset, len(first.data), first.size) == (0, PIECE_BYTES, PIECE_BYTES + 7)
    assert chunk(transfers, now=0.1) is None, "it has yet to answer"
    assert chunk(transfers, now=RESEND_S) == first
    assert transfers.acknowledged("b", ack(first, PIECE_BYTES), now=1.1)
    assert not transfers.acknowledged("b", ack(first, PIECE_BYTES), now=1.1), "said twice"
    second = chunk(transfers, now=1.2)
    assert second is not None
    assert (second.offset, len(second.data)) == (PIECE_BYTES, 7)
    assert not transfers.acknowledged("b", ack(second, second.size), now=1.3)
    assert chunk(transfers, now=1.3 + INSTALL_S - 1) is None, "it installs"
    assert chunk(transfers, now=1.3 + INSTALL_S) == first


def test_a_snapshot_that_was_overtaken_meanwhile_is_followed_by_the_next_at_once() -> None:
    """The log began behind the snapshot by the time it was installed: seed 22458."""
    disk = disk_with((10, 5))
    transfers = Transfers(disk)
    sent = chunk(transfers, now=0)
    transfers.acknowledged("b", ack(sent, 5), now=0)
    add(disk, 20, 6)
    transfers.reached("b", 9)
    assert chunk(transfers, now=0.1) is None
    transfers.reached("b", 10)
    newer = chunk(transfers, now=0.2)
    assert newer is not None
    assert newer.index == 20


def test_a_snapshot_that_was_deleted_meanwhile_is_replaced_by_the_newest() -> None:
    disk = disk_with((10, PIECE_BYTES + 1))
    transfers = Transfers(disk)
    sent = chunk(transfers, now=0)
    add(disk, 20, 6)
    disk.delete(SnapshotId(10, 1).name)
    transfers.acknowledged("b", ack(sent, PIECE_BYTES), now=0.1)
    newer = chunk(transfers, now=0.2)
    assert newer is not None
    assert (newer.index, newer.offset) == (20, 0)
