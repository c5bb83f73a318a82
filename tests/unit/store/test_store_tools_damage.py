"""Every byte of a log and of a snapshot, flipped: named and refused, or provably harmless."""

import os
import re
from pathlib import Path
from random import Random

import pytest
from store_files import write_member
from store_sim import SimDisk

from wherry.api.errors import ConfigError
from wherry.store.raft import snapshot
from wherry.store.raft.disk import CorruptError, Directory, DiskError, _File
from wherry.store.raft.record import identity, records
from wherry.store.raft.wal import Wal
from wherry.store.tools.inspection import inspect


def opened(path: Path) -> list[int]:
    """Open the log as the store does; return the indexes that it holds."""
    disk = Directory(path)
    try:
        log = Wal(disk, cluster="c", member="m", fresh=False)
        log.close()
        return [index for _, index, _ in log.entries]
    finally:
        disk.close()


def test_any_flipped_byte_of_a_log_is_named_or_was_the_newest_record(tmp_path: Path) -> None:
    """A flip in the newest record looks like a write that was torn: the one case of its kind."""
    write_member(tmp_path / "d", count=6)
    (path,) = (tmp_path / "d").glob("*.wal")
    good = path.read_bytes().rstrip(b"\0")
    found = list(records(good))
    newest = found[-1][0]
    ends = found[-1][0] + 25 + len(found[-1][4])
    assert ends == len(good)
    for offset in range(ends + 8):
        data = bytearray(good + bytes(64))
        data[offset] ^= 0x41
        path.write_bytes(data)
        if offset < newest:
            record = max(start for start, *_ in found if start <= offset)
            with pytest.raises(CorruptError, match=f"{path.name} offset {record}:"):
                opened(tmp_path / "d")
            path.write_bytes(data)
            assert f"{path.name} offset {record}:" in inspect(tmp_path / "d").damage[0]
        else:
            assert opened(tmp_path / "d") == list(range(1, 7 if offset >= ends else 6))


def test_any_flipped_byte_of_an_older_segment_is_named(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=12, segment_bytes=300)
    first, *_, last = sorted((tmp_path / "d").glob("*.wal"))
    assert first != last
    good = first.read_bytes().rstrip(b"\0")
    end_mark = list(records(good))[-1][0]  # NEXT: torn or not, the next segment is there
    for offset in range(end_mark):
        data = bytearray(good)
        data[offset] ^= 0x10
        first.write_bytes(data)
        with pytest.raises(ConfigError, match=f"{first.name} offset "):
            opened(tmp_path / "d")
        assert any(first.name in why for why in inspect(tmp_path / "d").damage)


@pytest.mark.parametrize("which", [1, 2, -1])
def test_a_missing_segment_is_named(tmp_path: Path, which: int) -> None:
    write_member(tmp_path / "d", count=20, segment_bytes=300)
    segments = sorted((tmp_path / "d").glob("*.wal"))
    assert len(segments) > 4
    segments[which].unlink()
    with pytest.raises(CorruptError, match=f"{segments[which].name} offset 0: the segment is mis"):
        opened(tmp_path / "d")
    assert segments[which].name in inspect(tmp_path / "d").damage[0]


def test_the_oldest_segment_is_missed_unless_a_snapshot_reaches_over_it(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=20, segment_bytes=300)
    sorted((tmp_path / "d").glob("*.wal"))[0].unlink()
    assert "the log begins at entry" in inspect(tmp_path / "d").damage[0]
    write_member(tmp_path / "e", count=20, segment_bytes=300, snapshot_at=15)
    sorted((tmp_path / "e").glob("*.wal"))[0].unlink()
    assert inspect(tmp_path / "e").damage == []


def test_a_snapshot_without_a_log_is_no_new_disk(tmp_path: Path) -> None:
    """Taken for one, a member of one would begin again with nothing."""
    write_member(tmp_path / "d", count=6, snapshot_at=5)
    (segment,) = (tmp_path / "d").glob("*.wal")
    segment.unlink()
    said = f"{segment.name} offset 0: the log is missing, but .*\\.snap is there"
    for _ in range(2):  # the refusal itself leaves nothing that would be taken for a log
        with pytest.raises(CorruptError, match=said):
            opened(tmp_path / "d")
        disk = Directory(tmp_path / "d")
        with pytest.raises(CorruptError, match=said):
            identity(disk)
        disk.close()
    assert re.match(said, inspect(tmp_path / "d").damage[0])
    segment.write_bytes(bytes(100))  # reserved, and nothing in it
    with pytest.raises(CorruptError, match=said):
        opened(tmp_path / "d")


def test_any_flipped_byte_of_a_snapshot_is_named(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=6, snapshot_at=5)
    (path,) = (tmp_path / "d").glob("*.snap")
    good = path.read_bytes()
    disk = Directory(tmp_path / "d")
    for offset in range(len(good)):
        data = bytearray(good)
        data[offset] ^= 0x08
        path.write_bytes(data)
        with pytest.raises(CorruptError, match=path.name):
            snapshot.verify(disk, path.name)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(CorruptError, match=path.name):
        snapshot.verify(disk, path.name)
    disk.close()
    assert any(path.name in why for why in inspect(tmp_path / "d").damage)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9, snapshot_at=5)
    (path,) = (tmp_path / "d").glob("*.wal")
    with path.open("r+b") as file:  # a torn write
        file.seek(len(path.read_bytes().rstrip(b"\0")))
        file.write(b"\x01\x02\x03")
    (tmp_path / "d" / "LOCK").unlink()

    def content() -> dict[str, tuple[bytes, int]]:
        entries = sorted((tmp_path / "d").iterdir())
        return {one.name: (one.read_bytes(), one.stat().st_mtime_ns) for one in entries}

    before = content()
    found = inspect(tmp_path / "d")
    assert found.damage == []
    assert "a torn write of 3 bytes" in found.files[0].good
    assert found.wal is not None
    assert found.wal.entries[-1][1] == 9
    assert content() == before


# ---- a disk that fails


def test_an_fsync_error_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    reader, writer = os.pipe()  # a pipe cannot be synced
    file = _File(tmp_path / "0001.wal", writer, 0, 0)
    with pytest.raises(DiskError, match=r"cannot fdatasync .*/0001.wal: .*; this member stops"):
        file.sync()
    os.close(reader)
    os.close(writer)


def test_a_full_disk_says_which_file(tmp_path: Path) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    file = _File(tmp_path / "0001.wal", fd, 0, 0)
    with pytest.raises(DiskError, match=r"0001\.wal: No space left on device"):
        file.append(b"x")
    os.close(fd)


def test_after_an_fsync_error_nothing_more_is_written() -> None:
    disk = SimDisk(Random(1))
    log = Wal(disk, cluster="c", member="m")
    log.append(b"a", 1, 1)
    log.sync()
    log.append(b"b", 2, 1)
    disk.broken = True
    with pytest.raises(OSError, match="Input/output error"):
        log.sync()
    disk.broken = False
    disk.crash()
    again = Wal(disk, cluster="c", member="m")
    assert [index for _, index, _ in again.entries] in ([1], [1, 2])
