"""The store with one protection switched off: what the tests of the tests run.

This is the one place where our own code is patched on purpose. Each mutation names what it
takes away and what is expected to notice: the simulator with so many seeds at most, or a
scenario of `store_scenarios.py` or `store_scenarios_disks.py` where chance would take too long. The table of them all stands
in tests/README.md; `test_store_mutations.py` fails when one survives.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import store_scenarios as scenarios
import store_scenarios_disks as disks
from pysyncobj.syncobj import SyncObj
from store_fuzz import Plan, fuzz
from store_world import StoreWorld

from wherry.store import membership
from wherry.store.entry import Command, Done, Origin, Outcome
from wherry.store.mvcc import MvccState
from wherry.store.raft import message as msg
from wherry.store.raft import record, replication, snapshot, wal
from wherry.store.raft.core import RaftCore, Vouch
from wherry.store.raft.election import Elections
from wherry.store.raft.match import Append, Matched, Reject
from wherry.store.raft.node import RaftNode
from wherry.store.raft.reconfigure import Reconfiguration
from wherry.store.raft.wal import Wal
from wherry.store.replica import Replica
from wherry.store.watch import Watcher, WatchHub

SEEDS = 60  # every mutation without a scenario is caught in more than a third of them


class Patch:
    """Replaces attributes, and puts them back."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def set(self, owner: Any, name: str, new: Any) -> None:
        """Replace what must be there: a mutation of what was renamed would mutate nothing."""
        old = vars(owner)[name] if isinstance(owner, type) else getattr(owner, name)
        setattr(owner, name, new)
        self._stack.callback(setattr, owner, name, old)


@dataclass(frozen=True)
class Mutation:
    """One protection switched off.

    Attributes:
        name: As in the table.
        patch: Takes it away.
        scenario: What notices; None: the simulator, by chance.
        tweak: Takes it away where the simulated world stands for the real one.
        members: Of the simulated clusters.
    """

    name: str
    patch: Callable[[Patch], None] = lambda _: None
    scenario: Callable[[], None] | None = None
    tweak: Callable[[StoreWorld], None] = lambda _: None
    members: int = 3

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            self.patch(Patch(stack))
            yield

    def caught(self) -> str | None:
        """Return as what it was noticed, by its scenario or by the simulator; None: it survived."""
        if self.scenario is None:
            by_chance = self.caught_by_chance(SEEDS)
            return by_chance and by_chance[1]
        with self.applied():
            try:
                self.scenario()
            except (AssertionError, ExceptionGroup) as error:
                return str(error)
        return None

    def caught_by_chance(self, seeds: int) -> tuple[int, str] | None:
        """Return the first of so many seeds with which the simulator alone fails, and as what."""
        with self.applied():
            for seed in range(seeds):
                try:
                    fuzz(Plan(seed, self.members), self.tweak)
                except AssertionError as error:
                    return seed, str(error).partition("\n")[0]
        return None


# ---- what is durable


def _vote_in_memory(patch: Patch) -> None:
    def save_vote(self: Wal, term: int, vote: str | None) -> None:
        self.term, self.vote = term, vote

    patch.set(Wal, "save_vote", save_vote)


def _ack_before_sync(patch: Patch) -> None:
    queue = replication.Replication._queue_ack

    def queue_ack(self: Any, *args: Any, **kwargs: Any) -> None:
        queue(self, *args, **kwargs)
        self._flush_acks()

    patch.set(replication.Replication, "_queue_ack", queue_ack)


def _leader_counts_unsynced(patch: Patch) -> None:
    """A leader syncs in every fiftieth round only, and counts itself in all of them."""
    sync, tick = Wal.sync, RaftCore.tick
    lazy: dict[int, int] = {}

    def lazy_sync(self: Wal) -> None:
        if not lazy.get(id(self), 0) % 50:
            sync(self)

    def lazy_tick(self: Any) -> None:
        lazy[id(self._wal)] = lazy.get(id(self._wal), 0) + 1 if self.is_leader else 0
        tick(self)

    patch.set(Wal, "sync", lazy_sync)
    patch.set(RaftCore, "tick", lazy_tick)


def _no_sync(world: StoreWorld) -> None:
    for disk in world.disks.values():
        disk.lie = True


def _no_directory_sync(world: StoreWorld) -> None:
    for disk in world.disks.values():
        disk.lie_names = True


def _log_checksum_unchecked(patch: Patch) -> None:
    patch.set(record, "zlib", SimpleNamespace(crc32=lambda *_: 1))


def _snapshot_checksum_unchecked(patch: Patch) -> None:
    patch.set(snapshot, "verify", lambda _disk, _name: None)


def _missing_segment_unnoticed(patch: Patch) -> None:
    patch.set(wal, "NEXT_RECORD", b"")


# ---- what Raft demands


def _ack_without_term(patch: Patch) -> None:
    on_ack = replication.Replication._on_ack

    def any_term(self: Any, node: Any, ack: msg.Ack) -> None:
        on_ack(self, node, msgspec.structs.replace(ack, term=self.term))

    patch.set(replication.Replication, "_on_ack", any_term)


def _blind_truncation(patch: Patch) -> None:
    match = vars(replication)["match"]

    def blind(log: Any, **sent: Any) -> Reject | Matched | Append:
        decision: Reject | Matched | Append = match(log, **sent)
        kept = isinstance(decision, Matched) and decision.index < sent["last"]
        if kept and sent["prev_index"] >= sent["commit"]:
            return Append(sent["prev_index"], sent["prev_term"], 0)
        return decision

    patch.set(replication, "match", blind)


def _commit_unmatched(patch: Patch) -> None:
    """A follower believes the leader's commit index whatever it holds itself."""
    heard = replication.Replication._heard
    on_append = replication.Replication._on_append

    def believe(self: Any, node: Any, message: msg.Append) -> None:
        self._believed = min(message.commit, self.last)
        on_append(self, node, message)

    def commit(self: Any, node: Any, term: int, read: int, _commit: int) -> None:
        heard(self, node, term, read, getattr(self, "_believed", _commit))

    patch.set(replication.Replication, "_on_append", believe)
    patch.set(replication.Replication, "_heard", commit)


def _commit_of_older_terms(patch: Patch) -> None:
    """Replicas are counted for any entry: figure 8 of the paper."""
    get = SyncObj._SyncObj__getEntries

    def of_this_term(self: Any, start: int, count: Any = None, size: Any = None) -> Any:
        got = get(self, start, count, size)
        return [(command, index, self.term) for command, index, _ in got] if count == 1 else got

    patch.set(SyncObj, "_SyncObj__getEntries", of_this_term)


def _no_pre_vote(patch: Patch) -> None:
    def campaign(self: Any) -> None:
        self._unanimous = self._wal.fresh
        self._campaign = True
        self._SyncObj__raftElectionDeadline = float("-inf")

    patch.set(Elections, "_ask_before_campaign", campaign)


def _read_without_quorum(patch: Patch) -> None:
    finish = RaftCore._finish_reads

    def at_once(self: Any) -> None:
        self._confirmed = dict.fromkeys(self._peers.values(), self._read_number)
        finish(self)

    patch.set(RaftCore, "_finish_reads", at_once)


def _vouch_of_any_size(patch: Patch) -> None:
    def suffices(self: Any, vouch: Vouch) -> bool:
        return bool(vouch.term == self.term)

    patch.set(RaftCore, "_suffices", suffices)


def _fresh_confirms(patch: Patch) -> None:
    on_ack = replication.Replication._on_ack

    def confirming(self: Any, node: Any, ack: msg.Ack) -> None:
        on_ack(self, node, msgspec.structs.replace(ack, fresh=False))

    patch.set(replication.Replication, "_on_ack", confirming)


def _read_before_noop(patch: Patch) -> None:
    begin = RaftCore._begin_reads

    def early(self: Any) -> bool:
        noop, self._SyncObj__noopIDx = self._SyncObj__noopIDx, 0
        try:
            return begin(self)
        finally:
            self._SyncObj__noopIDx = noop

    patch.set(RaftCore, "_begin_reads", early)


def _fresh_votes(patch: Patch) -> None:
    """A member with a new disk votes, and is counted, as any other."""
    init = Wal.__init__

    def never_fresh(self: Wal, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, "fresh": False})

    patch.set(Wal, "__init__", never_fresh)


def _learner_counted(patch: Patch) -> None:
    """Whoever is given everything counts."""
    adopt = Reconfiguration._adopt

    def adopted(self: Any) -> None:
        adopt(self)
        self._SyncObj__otherNodes = set(self._peers.values())

    patch.set(Reconfiguration, "_adopt", adopted)


def _changes_at_once(patch: Patch) -> None:
    """A change may be made while the last one is not committed."""

    def checked(self: Any, asked: Any, new_id: int) -> Any:
        return membership.change(self.configuration, asked, new_id, self.progress)

    patch.set(Reconfiguration, "check_change", checked)


# ---- what the state machine and its doors promise


def _no_sessions(patch: Patch) -> None:
    def always(self: MvccState, _origin: Origin, command: Command) -> Outcome:
        return self._perform(command)

    patch.set(MvccState, "_once", always)


def _watch_off_by_one(patch: Patch) -> None:
    watch = WatchHub.watch

    def late(self: WatchHub, key: bytes, end: bytes | None, revision: int) -> Watcher:
        return watch(self, key, end, revision + (revision > 1))

    patch.set(WatchHub, "watch", late)


def _leases_of_an_earlier_reign(patch: Patch) -> None:
    """Who leads again goes by the deadlines that it knew when it last did."""
    sync = Replica._sync_leases

    def remember(self: Replica, now: float) -> None:
        self._leases_of_term = self.node.term
        sync(self, now)

    patch.set(Replica, "_sync_leases", remember)


def _shown_by_anybody(patch: Patch) -> None:
    """A replica shows its revision though others can make newer ones."""
    patch.set(RaftNode, "alone", property(lambda self: self._core is not None))


def _shown_late(patch: Patch) -> None:
    """What was applied is shown when somebody else leads, and not before it is answered."""
    on_applied = Replica._on_applied

    def applied(self: Any) -> None:
        self._show_revision = lambda: None
        on_applied(self)
        del self._show_revision

    patch.set(Replica, "_on_applied", applied)


def _expire_anew_granted(patch: Patch) -> None:
    """An end that was proposed for one grant of a lease id ends the next one."""

    def any_serial(self: MvccState, command: Any) -> Outcome:
        self._end_leases([lease for lease, _ in command.leases if lease in self.leases])
        return Done(self.revision)

    patch.set(MvccState, "_expire", any_serial)


MUTATIONS = (
    Mutation("vote not persisted", _vote_in_memory, disks.a_voter_crashes_and_is_asked_again),
    Mutation("ack before fsync", _ack_before_sync, disks.a_follower_that_acknowledged_loses_power),
    Mutation(
        "leader counts itself before its fsync",
        _leader_counts_unsynced,
        disks.a_leader_that_acknowledged_loses_power,
    ),
    Mutation("no sync at all", tweak=_no_sync),
    Mutation("snapshot without fsync of the directory", tweak=_no_directory_sync),
    Mutation(
        "checksum of the log not checked", _log_checksum_unchecked, disks.a_bit_of_the_log_flips
    ),
    Mutation(
        "checksum of snapshots not checked",
        _snapshot_checksum_unchecked,
        disks.a_member_comes_back_to_damaged_snapshots,
    ),
    Mutation(
        "missing segment not noticed",
        _missing_segment_unnoticed,
        disks.the_last_segment_of_the_log_is_lost,
    ),
    Mutation(
        "ack without term", _ack_without_term, scenarios.a_late_acknowledgement_of_an_older_term
    ),
    Mutation("blind truncation", _blind_truncation, scenarios.a_shorter_message_comes_again),
    Mutation(
        "commit index not clamped to what matched",
        _commit_unmatched,
        scenarios.a_heartbeat_to_who_has_entries_of_its_own,
    ),
    Mutation(
        "commit of an older term counted",
        _commit_of_older_terms,
        scenarios.an_entry_of_an_older_term_on_a_majority,
    ),
    Mutation("no pre-vote", _no_pre_vote, scenarios.a_member_that_cannot_hear),
    Mutation(
        "ReadIndex without quorum",
        _read_without_quorum,
        scenarios.a_deposed_leader_is_asked_to_read,
    ),
    Mutation(
        "one vouch of many counted as a majority",
        _vouch_of_any_size,
        scenarios.two_of_five_are_asked_to_read,
    ),
    Mutation(
        "a new disk confirms reads",
        _fresh_confirms,
        scenarios.a_follower_forgot_whom_it_follows,
    ),
    Mutation(
        "ReadIndex before the term's no-op",
        _read_before_noop,
        scenarios.a_new_leader_is_asked_before_its_first_entry_is_committed,
    ),
    Mutation(
        "a new disk votes like any other",
        _fresh_votes,
        scenarios.who_forgot_and_who_was_behind_meet,
    ),
    Mutation("a learner is counted", _learner_counted, scenarios.a_leader_is_alone_with_a_learner),
    Mutation(
        "two changes of members at once",
        _changes_at_once,
        scenarios.a_second_change_is_asked_for_at_once,
    ),
    Mutation("session table missing", _no_sessions),
    Mutation("watch resumed off by one", _watch_off_by_one),
    Mutation(
        "lease deadlines of an earlier reign",
        _leases_of_an_earlier_reign,
        scenarios.a_leader_comes_back_and_remembers_old_deadlines,
    ),
    Mutation(
        "a lease's end hits the next grant of its id",
        _expire_anew_granted,
        scenarios.a_lease_ends_after_it_was_granted_anew,
    ),
    Mutation("a replica that is not alone shows its revision", _shown_by_anybody),
    Mutation("a revision is shown after it was answered", _shown_late, members=1),
)
