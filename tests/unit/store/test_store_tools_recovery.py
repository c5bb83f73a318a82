"""Lost quorum: which survivor is best, what is said, and a recovery killed at every line."""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from store_files import write_member

from wherry.api.errors import ConfigError
from wherry.store import membership
from wherry.store.entry import Registered
from wherry.store.kv import CompactedError, Range
from wherry.store.peer import Welcome
from wherry.store.raft.disk import CorruptError, Directory
from wherry.store.raft.wal import CONFIGURATION, Wal
from wherry.store.tools import recovery
from wherry.store.tools.files import held
from wherry.store.tools.inspection import inspect, state_of
from wherry.store.tools.rebuild import Founding, Origin, build, first_session, restore
from wherry.store.tools.recovery import Survivor, choose, survey
from wherry.store.tools.rejoin import begin_anew

PEERS = {f"m{n}": f"127.0.0.1:{2380 + n}" for n in (1, 2, 3)}
NEW = Founding("aa00000000000000", membership.initial("aa00000000000000", ["m"], ["10.0.0.1:2380"]))


def survivor(member: str, last: tuple[int, int], committed: int = 0, **more: Any) -> Survivor:
    """`last` is (term, index) of the last entry."""
    return Survivor(
        directory=f"/{member}",
        member=member,
        cluster=more.pop("cluster", "c"),
        last_term=last[0],
        last_index=last[1],
        committed=committed,
        **more,
    )


@pytest.mark.parametrize(
    ("survivors", "best"),
    [
        ([survivor("a", (2, 10)), survivor("b", (2, 12))], "b"),
        ([survivor("a", (3, 10)), survivor("b", (2, 90))], "a"),  # the term comes first
        ([survivor("a", (3, 99), fresh=True), survivor("b", (2, 1))], "b"),  # it forgot things
        ([survivor("a", (3, 99), damage=("bad",)), survivor("b", (2, 1))], "b"),
    ],
)
def test_the_best_survivor_would_win_an_election(survivors: list[Survivor], best: str) -> None:
    assert choose(survivors).best.member == best


def test_what_is_lost_is_said() -> None:
    said = choose([survivor("a", (3, 10), committed=8), survivor("b", (2, 20), committed=15)])
    assert any(
        "LOST: entries 11 to 15 are known to have been committed" in w for w in said.warnings
    )
    said = choose([survivor("a", (3, 10), committed=8)])
    assert "entries up to 8 are known to have been committed: kept" in said.warnings
    assert "2 entries after that may or may not have been acknowledged: kept" in said.warnings
    assert any("nobody can say" in warning for warning in said.warnings)


@pytest.mark.parametrize(
    ("survivors", "why"),
    [
        ([], "no survivor"),
        ([survivor("a", (1, 1), damage=("x.wal offset 7: bad",))], "x.wal offset 7: bad"),
        ([survivor("a", (1, 1)), survivor("b", (1, 1), cluster="other")], "not of one cluster"),
        ([survivor("a", (1, 1)), survivor("a", (1, 2))], "given twice"),
    ],
)
def test_what_cannot_be_recovered_from(survivors: list[Survivor], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        choose(survivors)


def test_a_majority_has_nothing_to_recover_from() -> None:
    peers = dict.fromkeys("abc", "127.0.0.1:2380")
    one, two = (survivor(name, (1, 1), peers=peers) for name in "ab")
    assert not choose([one]).majority
    assert choose([one, two]).majority


def test_a_survivor_is_described_from_its_files(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9, snapshot_at=5)
    found = survey(tmp_path / "d")
    assert (found.member, found.cluster, found.damage) == ("m", "c", ())
    assert (found.last_index, found.last_term, found.committed) == (9, 2, 5), "the hint lags"
    assert (found.revision, found.keys, found.snapshot_index) == (9, 8, 5)
    assert found.written_at > 0


def test_the_last_write_is_that_of_an_entry_and_not_of_a_start_since(tmp_path: Path) -> None:
    now = 1_700_000_000.0
    disk = Directory(tmp_path / "d")
    log = Wal(disk, cluster="c", member="m", segment_bytes=300, now=lambda: now)
    for index in range(1, 20):
        log.append(b"\x01", index, 1)
        log.sync()
        now += 0.3
    log.close()
    disk.close()
    again = Directory(tmp_path / "d")
    log = Wal(again, cluster="c", member="m", segment_bytes=300, now=lambda: now + 3600)
    log.save_vote(7, "m")
    log.close()
    again.close()
    found = survey(tmp_path / "d")
    assert not found.of_file
    assert now - 2 <= found.written_at <= now, "to the second"


def test_members_that_changed_are_known_from_the_log(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=5)
    disk = Directory(tmp_path / "d")
    log = Wal(disk, cluster="c", member="m")
    now = membership.initial("c", list(PEERS), list(PEERS.values()))
    log.append(CONFIGURATION + membership.encode(now), 6, 2)
    log.sync()
    log.close()
    disk.close()
    assert survey(tmp_path / "d").peers == PEERS


def test_what_cannot_be_renamed_stays_where_it_was(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=5)
    (tmp_path / f"d.before-recovery-{NEW.cluster}" / "taken").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cannot put .* in the place of .*: Directory not empty"):
        recovery.recover(tmp_path / "d", NEW, bump=0)
    assert state_of(inspect(tmp_path / "d"))[0] == 5


def test_what_is_not_complete_is_not_put_in_place(tmp_path: Path) -> None:
    write_member(tmp_path / "d.before-recovery-1")
    write_member(tmp_path / "d.recovering")
    (path,) = (tmp_path / "d.recovering").glob("*.wal")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(ConfigError, match="is not complete"):
        recovery.finish_killed(tmp_path / "d")


def test_a_running_members_directory_is_refused(tmp_path: Path) -> None:
    write_member(tmp_path / "d")
    with (
        held(tmp_path / "d"),
        pytest.raises(ConfigError, match="is in use by a store process"),
        held(tmp_path / "d"),
    ):
        pass


# ---- a new cluster out of it


def test_a_cluster_of_one_goes_on_with_everything(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9)
    aside = recovery.recover(tmp_path / "d", NEW, bump=1000)
    new = inspect(tmp_path / "d")
    assert new.damage == []
    assert new.meta is not None
    assert (new.meta.cluster, new.meta.member, new.meta.fresh) == (NEW.cluster, "m", False)
    assert recovery.configuration_of(new) == NEW.configuration
    index, state = state_of(new)
    assert (index, state.revision, state.compact_revision, state.live_count) == (9, 1009, 1009, 8)
    assert inspect(aside).damage == []
    with pytest.raises(CompactedError):
        next(state.events(9, 1009))


def test_revisions_and_sessions_are_never_given_twice(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9)
    _, old = state_of(inspect(tmp_path / "d"))
    old._register()
    build(tmp_path / "e", Origin(old, 9, 2), "m", NEW, bump=1, fresh=False)
    _, state = state_of(inspect(tmp_path / "e"))
    assert state.header().sessions == []
    registered = state._register()
    assert registered == Registered(first_session(NEW.cluster))
    assert first_session("00000001" * 2) - first_session("00000000" * 2) >= 1 << 28


class Killer:
    """Ends this process at the so-manieth line that the recovery executes."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if "/store/" not in frame.f_code.co_filename:
            return None
        if event == "line" and frame.f_code.co_name in STEPS:
            self._left -= 1
            if not self._left:
                os._exit(9)
        return self


STEPS = {
    "recover",
    "build",
    "exchange",
    "put_in_place",
    "write",
    "finish",
    "reset",
    "save_vote",
    "_roll",
}


def run_killed(path: Path, after: int) -> bool:
    """Recover in a child that is killed there; whether it got through instead."""
    child = os.fork()
    if not child:
        sys.settrace(Killer(after))
        try:
            if not recovery.finish_killed(path):
                recovery.recover(path, NEW, bump=10)
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 0


def test_a_recovery_killed_at_any_line_is_finished_by_running_it_again(tmp_path: Path) -> None:
    lines = 0
    through = False
    while not through:
        lines += 1
        path = tmp_path / f"{lines}" / "d"
        path.parent.mkdir()
        write_member(path, count=9)
        through = run_killed(path, lines)
        if not through:
            done = path.exists() and inspect(path).meta
            if not done or done.cluster != NEW.cluster:
                assert run_killed(path, 1_000_000)
        index, state = state_of(inspect(path))
        assert (index, state.live_count, state.revision) == (9, 8, 19)
        olds = list(path.parent.glob("d.before-recovery-*"))
        assert len(olds) == 1
        assert state_of(inspect(olds[0]))[1].revision == 9, "the old one is kept"
    assert lines > 30


def test_who_rejoins_begins_with_an_empty_log_and_keeps_what_it_had(tmp_path: Path) -> None:
    founded = recovery.founding_of("aa00000000000000", "m1", PEERS)
    place = founded.configuration.named("m2")
    assert place is not None
    assert (place.learner, place.peer) == (True, PEERS["m2"])
    assert founded.configuration.returning == tuple(
        one.id for one in founded.configuration.members if one.name != "m1"
    )
    welcome = Welcome(founded.cluster, place.id, membership.encode(founded.configuration))
    write_member(tmp_path / "d", member="m2")
    first = begin_anew(tmp_path / "d", "m2", welcome)
    assert first is not None
    assert survey(first).last_index == 9
    again = begin_anew(tmp_path / "d", "m2", welcome)
    assert again != first, "nothing is overwritten"
    found = inspect(tmp_path / "d")
    assert found.damage == []
    assert found.meta is not None
    assert (found.meta.member, found.meta.fresh, found.meta.id) == ("m2", True, place.id)
    assert found.wal is not None
    assert found.wal.entries == []
    assert begin_anew(tmp_path / "empty", "m2", welcome) is None


# ---- a snapshot restored


def test_restored_members_begin_alike_and_as_new_disks(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9, snapshot_at=9)
    (file,) = (tmp_path / "d").glob("*.snap")
    digests = set()
    for name in PEERS:
        restore(file, tmp_path / name, name, PEERS, "00000000000000bb", bump=0)
        found = inspect(tmp_path / name)
        assert found.damage == []
        assert found.meta is not None
        assert (found.meta.member, found.meta.fresh, found.meta.id) == (name, True, 0)
        _, state = state_of(found)
        digests.add(state.digest())
        assert state.revision == 9
        assert state.range(Range(b"/k/", b"/k0", revision=5)).count == 4, "history is kept"
    assert len(digests) == 1


def test_what_restore_refuses(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9, snapshot_at=9)
    (file,) = (tmp_path / "d").glob("*.snap")
    with pytest.raises(ConfigError, match=r"data-dir .* not empty or could not be read"):
        restore(file, tmp_path / "d", "m1", PEERS, "bb" * 8, bump=0)
    with pytest.raises(ConfigError, match='find local name "m9" in the initial cluster'):
        restore(file, tmp_path / "new", "m9", PEERS, "bb" * 8, bump=0)
    damaged = tmp_path / "damaged.snap"
    damaged.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptError, match=r"damaged\.snap: the checksum"):
        restore(damaged, tmp_path / "new", "m1", PEERS, "bb" * 8, bump=0)
    with pytest.raises(ConfigError, match="there is no such file"):
        restore(tmp_path / "absent", tmp_path / "new", "m1", PEERS, "bb" * 8, bump=0)
    assert not (tmp_path / "new").exists()
