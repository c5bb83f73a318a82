"""Directories of members that have stopped, written without running any."""

from pathlib import Path

from wherry.store.entry import NOBODY, Txn, encode_command
from wherry.store.mvcc import MvccState
from wherry.store.operation import PutOp
from wherry.store.raft import snapshot
from wherry.store.raft.core import COMMAND
from wherry.store.raft.disk import Directory
from wherry.store.raft.wal import Wal


def put(number: int) -> bytes:
    return encode_command(Txn(NOBODY, (), (PutOp(b"/k/%d" % number, b"v" * 20),)))


def write_member(
    path: Path,
    count: int = 9,
    snapshot_at: int = 0,
    segment_bytes: int = 1 << 20,
    member: str = "m",
    term: int = 2,
) -> None:
    """Entries 1 to `count`, one batch each: a no-op, then puts of /k/INDEX."""
    disk = Directory(path)
    log = Wal(disk, cluster="c", member=member, fresh=False, segment_bytes=segment_bytes)
    log.append(b"\x01", 1, 0)
    log.save_vote(term, member)
    state = MvccState()
    for index in range(2, count + 1):
        log.append(COMMAND + put(index), index, term)
        log.commit = index
        log.sync()
        state.apply(put(index))
        if index == snapshot_at:
            writer = snapshot.Writer(disk, snapshot.Header(index, term, "c"))
            with state.snapshot() as view:
                for chunk in view.chunks(size_bytes=60):
                    writer.add(chunk)
            writer.finish()
    log.close()
    disk.close()
