"""What the simulator found, each as small as it can be told."""

from random import Random

import pytest
from store_files import put
from store_sim import SimDisk

from wherry.store.raft.core import COMMAND
from wherry.store.raft.disk import CorruptError
from wherry.store.raft.wal import NOOP, Wal


def open_log(disk: SimDisk) -> Wal:
    return Wal(disk, cluster="c", member="m", fresh=False, segment_bytes=600)


def test_a_log_of_which_only_an_empty_segment_is_left_is_refused() -> None:
    """A snapshot hid it: the entries behind that were gone, and acknowledged (seed 2000)."""
    disk = SimDisk(Random(1))
    log = open_log(disk)
    log.append(NOOP, 1, 1)
    index = 1
    while len(disk.names()) < 3:  # until the log goes on in a new segment
        index += 1
        log.append(COMMAND + put(index), index, 1)
        log.sync()
    log.close()
    assert open_log(disk.copy()).entries[-1][1] == index
    for lost in disk.names()[:-1]:
        disk.delete(lost)
    with pytest.raises(CorruptError, match=r"\.wal offset 0: the log holds no entry"):
        open_log(disk)
