"""The log on disk: what is read back after every kind of ending."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_sim import CrashError, SimDisk

from wherry.api.errors import ConfigError
from wherry.store.raft.disk import CorruptError, Directory, Disk
from wherry.store.raft.wal import Wal


def wal(disk: Disk, segment_bytes: int = 1 << 20, cluster: str = "c", member: str = "m") -> Wal:
    return Wal(disk, cluster=cluster, member=member, segment_bytes=segment_bytes)


def fill(log: Wal, first: int, last: int, term: int = 1) -> None:
    for index in range(first, last + 1):
        log.append(b"%d" % index * 10, index, term)


def held(log: Wal) -> list[tuple[int, int]]:
    return [(index, term) for _, index, term in log.entries]


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Directory(tmp_path / "wal") if request.param == "real" else SimDisk(Random(1))


def test_everything_synced_is_read_back(disk: Disk) -> None:
    log = wal(disk)
    fill(log, 1, 5)
    log.cut_from(4)
    fill(log, 4, 6, term=2)
    log.drop_before(2)
    log.save_vote(7, "a")
    log.commit = 5
    log.save_commit()
    log.become_voter()
    entries = list(log.entries)
    log.close()
    again = wal(disk)
    assert again.entries == entries
    assert held(again) == [(2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    assert (again.term, again.vote, again.commit, again.fresh) == (7, "a", 5, False)
    again.close()


def test_segments_roll_and_obsolete_ones_go(disk: Disk) -> None:
    log = wal(disk, segment_bytes=500)
    for index in range(1, 60):
        fill(log, index, index)
        log.sync()
    assert len(disk.names()) > 3
    log.drop_before(50)
    assert len(disk.names()) <= 3
    log.close()
    again = wal(disk, segment_bytes=500)
    assert held(again) == [(index, 1) for index in range(50, 60)]
    again.reset(100, 4)
    fill(again, 101, 102, term=4)
    again.sync()
    again.close()
    last = wal(disk, segment_bytes=500)
    assert held(last) == [(100, 4), (101, 4), (102, 4)]
    last.close()


@dataclass(frozen=True)
class Damage:
    id: str
    do: Callable[[bytearray, int], None]  # file content, where the last record begins
    want: int | str  # entries that are left, or what the refusal says


def cut(data: bytearray, last: int) -> None:
    del data[last + 10 :]


def flip_last(data: bytearray, last: int) -> None:
    data[last + 30] ^= 1


def flip_middle(data: bytearray, last: int) -> None:
    data[last - 20] ^= 1


def zero_middle(data: bytearray, last: int) -> None:
    data[last - 60 : last - 20] = bytes(40)


def garbage_behind(data: bytearray, last: int) -> None:
    data += b"\xff" * 40


def swap(data: bytearray, last: int) -> None:
    record = bytes(data[last:])
    data += record  # the last entry once more, with a good checksum


DAMAGE = (
    Damage("torn tail", cut, 4),
    Damage("bit in the last record", flip_last, 4),
    Damage("garbage behind the end", garbage_behind, 5),
    Damage("bit in the middle", flip_middle, "offset"),
    Damage("lost page in the middle", zero_middle, "offset"),
    Damage("an entry twice", swap, "entry 5 follows 5"),
)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.id)
def test_damage(damage: Damage, tmp_path: Path) -> None:
    directory = Directory(tmp_path / "wal")
    log = wal(directory, segment_bytes=0)
    log.sync()
    name = directory.names()[-1]
    fill(log, 1, 4)
    log._file.append(b"".join(log._buffer))
    log._buffer = []
    last = directory.size(name)
    fill(log, 5, 5)
    log._file.append(b"".join(log._buffer))
    log.close()
    path = tmp_path / "wal" / name
    data = bytearray(path.read_bytes())
    damage.do(data, last)
    path.write_bytes(data)
    if isinstance(damage.want, str):
        with pytest.raises(CorruptError, match=damage.want) as caught:
            wal(directory, segment_bytes=0)
        assert name in str(caught.value)
    else:
        again = wal(directory, segment_bytes=0)
        assert held(again) == [(index, 1) for index in range(1, damage.want + 1)]
        fill(again, damage.want + 1, 9)
        again.sync()
        again.close()
        assert held(wal(directory, segment_bytes=0)) == [(index, 1) for index in range(1, 10)]


def many_segments(tmp_path: Path) -> Directory:
    """A closed log of 19 entries in several small segments."""
    directory = Directory(tmp_path / "wal")
    log = wal(directory, segment_bytes=300)
    for index in range(1, 20):
        fill(log, index, index)
        log.sync()
    log.close()
    return directory


def test_a_torn_record_in_an_older_segment_is_corruption(tmp_path: Path) -> None:
    directory = many_segments(tmp_path)
    first = tmp_path / "wal" / directory.names()[0]
    data = first.read_bytes().rstrip(b"\0")
    first.write_bytes(data[:-20])  # into the last entry, before the word that there is more
    with pytest.raises(CorruptError, match=first.name):
        wal(directory, segment_bytes=300)


def test_the_last_segment_may_not_be_missing_either(tmp_path: Path) -> None:
    directory = many_segments(tmp_path)
    lost = directory.names()[-1]
    directory.delete(lost)
    with pytest.raises(CorruptError, match=f"{lost} offset 0: the segment is missing"):
        wal(directory, segment_bytes=300)


def test_the_word_that_there_is_another_segment_may_be_torn(tmp_path: Path) -> None:
    """It is the only write behind which another file may already stand."""
    directory = many_segments(tmp_path)
    full = tmp_path / "wal" / directory.names()[-2]
    data = full.read_bytes().rstrip(b"\0")  # ends within that record: the rest of it is zeros
    for cut in range(10):
        full.write_bytes(data[: len(data) - cut])
        assert held(wal(directory, segment_bytes=300)) == [(index, 1) for index in range(1, 20)]


@pytest.mark.parametrize(("cluster", "member"), [("other", "m"), ("c", "other")])
def test_another_members_directory_is_refused(disk: Disk, cluster: str, member: str) -> None:
    log = wal(disk)
    log.sync()
    log.close()
    with pytest.raises(ConfigError, match="belongs to member 'm' of cluster 'c'"):
        wal(disk, cluster=cluster, member=member)


def test_a_directory_serves_one_process(tmp_path: Path) -> None:
    first = Directory(tmp_path / "wal")
    with pytest.raises(ConfigError, match="in use by another store"):
        Directory(tmp_path / "wal")
    first.close()
    Directory(tmp_path / "wal").close()


step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("cut"), st.integers(0, 5)),
    st.tuples(st.just("drop"), st.integers(1, 5)),
    st.tuples(st.just("vote"), st.integers(1, 5)),
    st.tuples(st.just("sync"), st.just(0)),
)


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.lists(step, max_size=40))
def test_after_a_crash_the_log_is_one_that_was_and_not_older_than_the_last_sync(
    seed: int, steps: list[tuple[str, int]]
) -> None:
    rng = Random(seed)
    disk = SimDisk(rng)
    log = wal(disk, segment_bytes=400)
    log.append(b"first", 1, 1)
    log.sync()
    states = [held(log)]  # since the last sync that returned, that one included
    disk.crash_chance = 0.05
    term = 1
    try:
        for kind, number in steps:
            last = log.entries[-1][1]
            if kind == "append":
                term += number % 2
                for index in range(last + 1, last + 1 + number):
                    log.append(b"x" * number * 9, index, term)
                    states.append(held(log))
            elif kind == "cut" and len(log.entries) > number + 1:
                log.cut_from(last - number)
                states.append(held(log))
            elif kind == "drop" and len(log.entries) > number + 1:
                states.append([e for e in held(log) if e[0] >= log.entries[number][1]])
                log.drop_before(log.entries[number][1])
                states = [held(log)]
            elif kind == "vote":
                log.save_vote(log.term + 1, "b")
                states = [held(log)]
            elif kind == "sync":
                log.sync()
                states = [held(log)]
    except CrashError:
        pass
    disk.crash_chance = 0.0
    disk.crash()
    again = wal(disk, segment_bytes=400)
    assert held(again) in states
