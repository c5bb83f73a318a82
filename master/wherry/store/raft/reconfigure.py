"""Change of members, one at a time: the configuration in the log, and who acts on it.

* The newest configuration in the log is in force from the moment that it is appended, and no
  longer when it is cut off (`_adopt`). Raft's thesis, 4.1.
* A leader changes it only when an entry of its own term is committed and the last change is;
  without the first rule two leaders could commit with majorities that do not meet.
* A leader never removes itself: it hands over before (`Replica`). So whoever leads counts.
* Learners stand in `_peers`, which are sent everything, and not in PySyncObj's `otherNodes`,
  by which it counts.
* A disk that is new although the member of its name has been there already is seen by its id.
  The leader has it go on as a learner under the new id, and makes that a voter when it has
  everything. (`election.py` has what holds until then, and where too few are left for this.)
"""

import logging
from collections.abc import Callable
from random import Random
from typing import Any, Final

from wherry.store.membership import (
    UNHEALTHY,
    Change,
    Configuration,
    MemberError,
    MemberInfo,
    Progress,
    PromoteMember,
    ReplaceMember,
    change,
    decode,
    encode,
    initial,
    readdressed,
)
from wherry.store.raft import message as msg
from wherry.store.raft.machine import Lost, RaftConfig
from wherry.store.raft.replication import Replication
from wherry.store.raft.stock import Member, Owner, loop_time
from wherry.store.raft.transfer import Transfers
from wherry.store.raft.wal import CONFIGURATION, Wal

log = logging.getLogger(__name__)
MembersReply = Callable[[tuple[MemberInfo, ...] | MemberError | Lost], None]
_LOOK_S: Final = 0.1  # how often it is tried to mend what a lost disk left


def base_of(config: RaftConfig) -> bytes:
    """Return the members that a new disk begins with."""
    if config.joined is not None:
        return config.joined.base
    return encode(initial(config.cluster, config.members, config.peers))


class Reconfiguration(Replication):
    """See the module."""

    def __init__(
        self, config: RaftConfig, wal: Wal, transfers: Transfers, owner: Owner[Any], rng: Random
    ) -> None:
        addresses = dict(zip(config.members, config.peers, strict=False))
        first = readdressed(decode(wal.base or base_of(config)), addresses)
        self._base: tuple[int, bytes] = (0, encode(first))
        self._in_force: tuple[int, bytes] = (-1, b"")
        self.configuration = first
        self.agreed = first  # the newest that is applied
        self._changing: tuple[int, int, MembersReply] | None = None  # index, term
        self._wiped: dict[str, int] = {}  # whose disk is new, and the id that it brings
        self._spoken: dict[str, int] = {}  # under which id each acknowledged in this term ...
        self._unsure: set[Member] = set()  # ... and who is `fresh`
        self._look_again_at = 0.0
        super().__init__(config, wal, transfers, owner, rng)
        self._adopt()

    # ---- what others ask

    @property
    def member_id(self) -> int:
        """Return this member's id: of its disk, or for a new one what it would like."""
        if self._wal.member_id:
            return self._wal.member_id
        if self._wal.fresh:
            return self._wal.spare
        own = self.configuration.named(self._config.name)
        return own.id if own is not None else 0

    @property
    def known(self) -> tuple[int, ...]:
        """See `StockMember`."""
        now = self.configuration
        return (*(one.id for one in now.voters), *now.removed)

    @property
    def spare(self) -> bool:
        """Whether the voters that this leader hears of would be a majority without it."""
        active, voters = self.progress.active, self.configuration.voters
        others = [one for one in voters if one.id in active and one.key != self._config.name]
        return len(others) > len(voters) // 2

    @property
    def progress(self) -> Progress:
        """Return what this leader knows of the others' health."""
        recent = loop_time() - self._config.election_max_s
        ids = {one.key: one.id for one in self.configuration.members}
        active = {
            ids[name]
            for name, node in self._peers.items()
            if node in self._SyncObj__connectedNodes
            and self._SyncObj__lastResponseTime.get(node, 0.0) > recent
            and self._spoken.get(name) == ids[name]
        }
        matched = {
            ids[name]: self._SyncObj__raftMatchIndex.get(node, 0)
            for name, node in self._peers.items()
        }
        own = ids.get(self._config.name, 0)
        unsure = {ids[name] for name, node in self._peers.items() if node in self._unsure}
        return Progress(active | {own}, matched | {own: self.last}, self.last, unsure)

    def check_change(self, asked: Change, new_id: int) -> Configuration | MemberError | Lost:
        """Return what a change would lead to, or why it cannot be made now."""
        if not self.is_leader:
            return Lost.NOT_LEADER
        if self._in_force[0] > self.commit or self.commit < self._SyncObj__noopIDx:
            return Lost.BUSY
        return change(self.configuration, asked, new_id, self.progress)

    def change_members(self, asked: Change, new_id: int, reply: MembersReply) -> None:
        """Change the configuration; `reply` gets the members once that is committed."""
        wanted = self.check_change(asked, new_id)
        if not isinstance(wanted, Configuration):
            reply(wanted)
            return
        own = wanted.named(self._config.name)
        if own is None or own.learner:
            reply(UNHEALTHY)
            return
        index = self.last + 1
        self._wal.append(CONFIGURATION + encode(wanted), index, self.term)
        self._changing = (index, self.term, reply)
        self._adopt()
        self._SyncObj__newAppendEntriesTime = 0.0
        self._owner.wake()

    def configuration_at(self, index: int) -> tuple[int, bytes]:
        """Return the entry's index and bytes of the configuration after applying `index`."""
        held = [one for one in self._wal.configurations if self._base[0] < one[0] <= index]
        return held[-1] if held else self._base

    def restore_configuration(self, index: int, payload: bytes) -> None:
        """Take over what a snapshot says; `payload` is empty in those of old."""
        if payload:
            self._base = (index, payload)
        self._agree(decode(self._base[1]))
        self._adopt()

    # ---- acting on it

    def _adopt(self) -> None:
        """Act on the newest configuration of the log, whether it is committed or not."""
        held = self._wal.configurations
        newest = held[-1] if held and held[-1][0] > self._base[0] else self._base
        if newest == self._in_force:
            return
        before = {one.key: one.id for one in self.configuration.members}
        self._in_force = newest
        self.configuration = now = decode(newest[1])
        me = self._config.name
        own = now.named(me)
        self._voter = own is not None and not own.learner
        others = [one for one in now.members if one.key != me]
        gone = [node for name, node in self._peers.items() if now.named(name) is None]
        changed = {one.key for one in others if before.get(one.key) != one.id}
        self._peers = {one.key: Member(one.key) for one in sorted(others, key=lambda o: o.key)}
        self._SyncObj__otherNodes = {self._peers[one.key] for one in others if not one.learner}
        for node in gone:
            self._forget(node)
        for name, node in self._peers.items():
            if name in changed or node not in self._SyncObj__raftNextIndex:
                self._forget(node)
                self._begin_with(node)
        self._let_campaign()
        self._owner.members_changed(now)

    def _forget(self, node: Member) -> None:
        self._SyncObj__raftNextIndex.pop(node, None)
        self._SyncObj__raftMatchIndex.pop(node, None)
        self._SyncObj__lastResponseTime.pop(node, None)
        self._confirmed.pop(node, None)
        self._spoken.pop(str(node.id), None)
        self._transfers.stop(str(node.id))

    def _begin_with(self, node: Member) -> None:
        self._SyncObj__raftNextIndex[node] = self.last + 1
        self._SyncObj__raftMatchIndex[node] = 0
        self._SyncObj__lastResponseTime[node] = loop_time()

    def _agree(self, configuration: Configuration) -> None:
        """What is committed stays: only now a new disk takes the id that it was given."""
        self.agreed = configuration
        own = configuration.named(self._config.name)
        if own is not None and own.id == self._wal.spare and self._wal.fresh:
            self._wal.identify(own.id)

    def _apply_configuration(self, index: int, term: int, payload: bytes) -> None:
        self._agree(decode(payload))
        log.info(
            "members",
            extra={"members": [f"{m.key}:{m.id:x}{'?' * m.learner}" for m in self.agreed.members]},
        )
        if self._changing is not None and self._changing[0] == index:
            _, asked_in, reply = self._changing
            self._changing = None
            reply(self.agreed.members if asked_in == term else Lost.UNKNOWN)
        if self._wal.member_id in self.agreed.removed:
            self._owner.removed()

    def _drop_change(self) -> None:
        """No longer leading: nobody knows what becomes of it."""
        if self._changing is not None:
            reply, self._changing = self._changing[2], None
            reply(Lost.UNKNOWN)
        self._wiped = {}

    # ---- PySyncObj's, and below

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        self._spoken = {}
        self._unsure = set()
        for node in self._peers.values():
            self._begin_with(node)  # learners too, of whom PySyncObj does not know
        own = self.configuration.named(self._config.name)
        if not self._wal.member_id and own is not None:
            self._wal.identify(own.id)  # all agreed: nobody has more than this disk
        super()._SyncObj__onBecomeLeader()

    def outgoing(self, node: Member, message: dict[str, Any]) -> None:
        """Whoever votes in a new cluster is from then on that member, with this disk."""
        kind = message["type"]
        if kind == "request_vote":
            self._settle_id(message["last_log_index"], message["last_log_term"])
        elif kind == "response_vote":
            self._settle_id(*self._candidate_log)
        super().outgoing(node, message)

    def _settle_id(self, last_index: int, last_term: int) -> None:
        """Take the id that the flags give, unless somebody else's log shows a past.

        Then another disk may have had it, and the next leader is to see that this one is new.
        """
        entries = self._wal.entries
        begins = len(entries) == 1 and entries[0][1:] == (last_index, last_term)
        own = self.configuration.named(self._config.name)
        if not self._wal.member_id and own is not None and (begins or not self._wal.fresh):
            self._wal.identify(own.id)

    def _on_append(self, node: Member, message: msg.Append) -> None:
        super()._on_append(node, message)
        self._adopt()

    def _on_word(self, node: Member, message: msg.StaleTerm | msg.TimeoutNow | msg.Removed) -> None:
        match message:
            case msg.StaleTerm(term):
                self._on_stale_term(term)
            case msg.TimeoutNow(term):
                self._on_timeout_now(node, term)
            case msg.Removed(number):
                if number == self.member_id:
                    self._owner.removed()

    def _on_pre_vote(self, node: Member, request: msg.PreVote) -> None:
        if not self._tell_removed(node, request.id):
            super()._on_pre_vote(node, request)

    def _tell_removed(self, node: Member, number: int) -> bool:
        """Tell a member that it is none any more, if that is agreed."""
        removed = number in self.agreed.removed
        if removed:
            self._send(node, msg.Removed(number))
        return removed

    # ---- members whose disk is new

    def _on_ack(self, node: Member, ack: msg.Ack) -> None:
        member = self.configuration.named(str(node.id))
        if member is None:
            return
        if self.is_leader and ack.term == self.term:
            if ack.id not in (0, member.id):
                if not ack.fresh:  # of a disk that is gone, or that has no place here any more
                    self._tell_removed(node, ack.id)
                    return
                if self._replaceable(member):
                    self._wiped[member.key] = ack.id
            self._spoken[member.key] = ack.id or member.id
            (self._unsure.add if ack.fresh else self._unsure.discard)(node)
        super()._on_ack(node, ack)

    def _replaceable(self, member: MemberInfo) -> bool:
        """Whether it may get another id: a voter, or one that was and lost its disk once more."""
        return not member.learner or member.id in self.configuration.returning

    def _mend(self) -> None:
        """Have members with new disks replaced by learners, and those promoted, in time."""
        learners = self.configuration.returning
        if not (learners or self._wiped) or not self.is_leader or loop_time() < self._look_again_at:
            return
        self._look_again_at = loop_time() + _LOOK_S
        asked: list[tuple[Change, int]] = [(PromoteMember(one), 0) for one in learners]
        for name, new_id in sorted(self._wiped.items()):
            member = self.configuration.named(name)
            if member is None or member.id == new_id or not self._replaceable(member):
                del self._wiped[name]
            else:
                asked.append((ReplaceMember(member.id), new_id))
        for wanted, new_id in asked:
            if isinstance(self.check_change(wanted, new_id), Configuration):
                log.info("a disk is new", extra={"change": str(wanted), "id": f"{new_id:x}"})
                self.change_members(wanted, new_id, lambda _: None)
                return
