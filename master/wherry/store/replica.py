"""One replica of the store: the state machine on Raft, leases, compaction, watches.

It answers what it can and asks the leader for the rest, over the members' own link. Nothing
here blocks, and nothing is awaited for each request: results come by callback, so that a put
costs no task. A callback may never come when a member dies; whoever waits has a deadline.

The leader alone keeps the time of leases, and proposes their end; it also proposes
compaction. Both are commands, so that all replicas do the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from random import Random

import msgspec

from wherry.api.clock import Clock
from wherry.store import rpc
from wherry.store.answer import index_answer, lease_answer, lost, result_answer
from wherry.store.compaction import Compaction, Compactor
from wherry.store.entry import (
    NOBODY,
    NOSPACE,
    Alarm,
    Compact,
    Expire,
    Outcome,
    decode_command,
    encode_command,
    validate,
)
from wherry.store.lessor import Lessor
from wherry.store.members import Members, MovedReply, members_answer
from wherry.store.membership import (
    AddMember,
    MemberInfo,
    PromoteMember,
    RemoveMember,
    UpdateMember,
)
from wherry.store.mvcc import MvccState
from wherry.store.question import Questions
from wherry.store.raft.core import Vouch
from wherry.store.raft.disk import Disk
from wherry.store.raft.link import PeerLink
from wherry.store.raft.machine import Lost, RaftConfig
from wherry.store.raft.node import RaftNode
from wherry.store.raft.reconfigure import MembersReply
from wherry.store.space import Quota, Space, shortage
from wherry.store.watch import WatchHub

log = logging.getLogger(__name__)
_STEP_S = 0.1  # of the housekeeping ...
_IDLE_STEP_S = 0.5  # ... when there is nothing that it would have to be in time for
_PROPOSE_AGAIN_S = 1.0  # an Expire or Compact that got lost is proposed again

_QUESTIONS = rpc.Propose | rpc.ReadIndex | rpc.KeepAlive | rpc.LeaseGet | rpc.ChangeMembers
OutcomeReply = Callable[[Outcome | Lost], None]
IndexReply = Callable[[int | Lost], None]
LeaseReply = Callable[[rpc.LeaseState | Lost | None], None]


class Replica:
    """A member of the store.

    Args:
        config: Who this is.
        disk: Its directory.
        link: Its connections to the other members.
        clock: For leases.
        rng: For elections.
        compaction: When to forget old revisions.
        quota: How much may be held.
        free_bytes: Looks how much the disk has left; None: it is taken to be enough.
        publish: Takes the current revision whenever that changes, before anybody is answered;
            0 unless this member is the only one that can make another (`page.py`).
    """

    def __init__(
        self,
        config: RaftConfig,
        disk: Disk,
        link: PeerLink,
        clock: Clock,
        rng: Random,
        compaction: Compaction | None = None,
        quota: Quota | None = None,
        free_bytes: Callable[[], int] | None = None,
        publish: Callable[[int], None] = lambda _revision: None,
    ) -> None:
        self.config = config
        self.state = MvccState()
        self.hub = WatchHub(self.state)
        self.node: RaftNode[Outcome] = RaftNode(
            config,
            self.state,
            disk,
            link,
            rng,
            on_applied=self._on_applied,
            on_leader=self._on_leader,
            on_members=self._show_revision,
            on_payload=self._on_payload,
            on_join=lambda name, peer, reply: self._members.join(name, peer, reply),
            now=clock.now,
        )
        self._questions = Questions(self.node, clock, rng)
        self._members = Members(self.node, self._questions.ask, clock, rng)
        self._clock = clock
        self._compactor = Compactor(compaction or Compaction(), clock.monotonic())
        self.quota = quota or Quota()
        self.free_bytes = free_bytes
        self._publish = publish
        self._lessor = Lessor()
        self._leases_of_term = 0  # the term in which the lessor was filled
        self._proposed_at: dict[str, float] = {}
        self._led_elsewhere = asyncio.Event()  # set whenever the leader changed

    @property
    def cluster_number(self) -> int:
        """Return the cluster's id, of 64 bits."""
        return int(self.config.cluster, 16)

    def members(self) -> tuple[MemberInfo, ...]:
        """Return the members in the order of their ids, as this replica knows them."""
        return self.node.members.members

    @property
    def member_id(self) -> int:
        """Return this member's own id."""
        return self.node.member_id

    def change_members(
        self, change: AddMember | PromoteMember | RemoveMember | UpdateMember, reply: MembersReply
    ) -> None:
        """Change the members, through the leader; `reply` gets them when that is committed."""
        self._members.change(change, reply)

    def move_leader(self, member_id: int, reply: MovedReply) -> None:
        """Have that member lead; only the leader is asked. `reply` gets None when it does."""
        self._members.move_leader(member_id, reply)

    @property
    def ready(self) -> bool:
        """Whether requests can be answered: a leader is known, its commits are applied."""
        return self.node.ready

    def why_not_ready(self) -> str | None:
        """Return what `/readyz` shows; None when ready."""
        if self.ready:
            return None
        if self.node.leader is None and self.node.fresh:
            return "no leader yet: a new cluster needs all its members, once"
        return "no leader" if self.node.leader is None else "catching up with the leader"

    async def run(self) -> None:
        """Take part until cancelled."""
        self._compactor.postpone(self._clock.monotonic())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.node.run())
                tasks.create_task(self._keep_house())
        finally:
            self._publish(0)
            self.hub.close()

    # ---- requests

    def propose(self, command: bytes, reply: OutcomeReply) -> None:
        """Replicate a command, here or through the leader.

        Raises:
            ValueError: it is not a valid command of a client (`msgspec.ValidationError` is one).
        """
        parsed = decode_command(command)
        if isinstance(parsed, Expire):
            raise ValueError("etcdserver: only the leader ends leases")  # noqa: TRY004  # the client's fault
        validate(parsed)
        if self.node.is_leader:
            self.node.propose(command, reply)
            return

        def answered(answer: rpc.Between | Lost) -> None:
            reply(answer.outcome if isinstance(answer, rpc.Result) else lost(answer))

        self._questions.ask(lambda number: rpc.Propose(number, command), answered)

    def read_index(self, reply: IndexReply) -> None:
        """Call `reply` when the state here holds everything acknowledged before this call."""
        if self.node.is_leader:
            self.node.read_index(reply)
            return

        def answered(answer: rpc.Between | Lost) -> None:
            if isinstance(answer, rpc.Index):
                self.node.when_applied(answer.index, reply)
            else:
                reply(lost(answer))

        self._questions.ask(lambda number: rpc.ReadIndex(number, self.node.vouching_term), answered)

    def lease(self, lease: int, reply: LeaseReply, *, renew: bool) -> None:
        """Look at a lease, or renew it; `reply` gets None when there is no such lease.

        The leader first makes sure that it still is: a renewal that a deposed one accepted
        would be worth nothing.
        """
        if self.node.is_leader:
            self.node.read_index(lambda index: self._lease_here(lease, index, reply, renew=renew))
            return

        def answered(answer: rpc.Between | Lost) -> None:
            if isinstance(answer, rpc.LeaseState):
                reply(answer)
            elif isinstance(answer, rpc.Failed) and answer.code == rpc.LEASE_NOT_FOUND:
                reply(None)
            else:
                reply(lost(answer))

        kind = rpc.KeepAlive if renew else rpc.LeaseGet
        self._questions.ask(lambda number: kind(number, lease), answered)

    def _lease_here(self, lease: int, index: int | Lost, reply: LeaseReply, *, renew: bool) -> None:
        if isinstance(index, Lost):
            reply(index)
            return
        now = self._clock.monotonic()
        self._sync_leases(now)
        one = self.state.leases.get(lease)
        if one is None or (renew and not self._lessor.remaining_s(lease, now)):
            reply(None)  # what is over ends, though its end may not be committed yet
            return
        if renew:
            self._lessor.renew(lease, one, now)
        reply(rpc.LeaseState(0, one.ttl_s, self._lessor.remaining_s(lease, now)))

    def status(self, number: int = 0) -> rpc.Member:
        """Describe this member."""
        node = self.node
        return rpc.Member(
            number,
            self.config.name,
            self.config.cluster,
            node.leader or "",
            sorted(one.key for one in self.members()),
            node.term,
            node.commit,
            node.applied,
            self.state.revision,
            self.state.compact_revision,
            node.log_length,
            node.ready,
        )

    async def hand_over(self, within_s: float = 1.0) -> None:
        """If this member leads, have another one lead before it goes. Alone, it just goes."""
        deadline = self._clock.monotonic() + within_s
        while (
            self.node.is_leader
            and len(self.node.configuration.voters) > 1
            and self._clock.monotonic() < deadline
        ):
            self._led_elsewhere.clear()
            asked = self.node.hand_over()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.config.election_min_s if asked else _STEP_S):
                    await self._led_elsewhere.wait()

    # ---- follower and leader

    def _on_payload(self, member: str, data: bytes) -> None:
        try:
            message = rpc.decode_between(data)
        except msgspec.MsgspecError as error:
            log.warning("unreadable", extra={"member": member, "why": str(error)})
            return
        if isinstance(message, _QUESTIONS):
            self._on_question(member, message)
            return
        self._questions.take(message)

    def _on_question(
        self,
        member: str,
        question: rpc.Propose | rpc.ReadIndex | rpc.KeepAlive | rpc.LeaseGet | rpc.ChangeMembers,
    ) -> None:
        number = question.id

        def answer(message: rpc.Between) -> None:
            self.node.send(member, rpc.encode(message))

        if not self.node.is_leader:  # never pass a question on twice
            answer(rpc.Failed(number, rpc.RETRY, Lost.NOT_LEADER.value))
            return
        match question:
            case rpc.Propose():
                self.node.propose(question.command, lambda got: answer(result_answer(number, got)))
            case rpc.ReadIndex():
                self.node.read_index(
                    lambda got: answer(index_answer(number, got)), Vouch(member, question.term)
                )
            case rpc.KeepAlive() | rpc.LeaseGet():
                self.lease(
                    question.lease,
                    lambda got: answer(lease_answer(number, got)),
                    renew=isinstance(question, rpc.KeepAlive),
                )
            case rpc.ChangeMembers():
                self._members.change(
                    question.change,
                    lambda got: answer(members_answer(number, got)),
                    passed_on=True,
                )

    # ---- after entries were applied, and from time to time

    def _show_revision(self) -> None:
        """In the turn of the loop in which it changed: no answer leaves before the next one."""
        self._publish(self.state.revision if self.node.alone else 0)

    def _on_leader(self) -> None:
        self._show_revision()
        self._led_elsewhere.set()
        self._members.step()
        self._questions.give_up()

    def _on_applied(self) -> None:
        self._show_revision()
        self.hub.advance()
        self.state.sweep()
        self._members.step()
        if self.node.is_leader:
            now = self._clock.monotonic()
            self._sync_leases(now)
            if self.quota.exceeded(self.state.size_bytes):
                self._see_to_space(now, None)

    def _sync_leases(self, now: float) -> None:
        if self._leases_of_term != self.node.term:
            self._lessor.clear()  # a new leader gives every lease its full time
            self._leases_of_term = self.node.term
        self._lessor.sync(self.state.leases, self.state.lease_epoch, now)

    async def _keep_house(self) -> None:
        sweeping = False
        while True:
            busy = self._questions.waiting or self._members.waiting or self.state.leases or sweeping
            await asyncio.sleep(_STEP_S if busy else _IDLE_STEP_S)
            now = self._clock.monotonic()
            self._questions.give_up()
            self._members.step()
            sweeping = self.state.sweep()
            if self.node.is_leader and self.node.ready:
                self._sync_leases(now)
                self._end_leases(now)
                self._compact(now)
                self._see_to_space(now, self.free_bytes() if self.free_bytes else None)
            else:
                self._compactor.postpone(now)

    def _end_leases(self, now: float) -> None:
        over = self._lessor.expired(now)
        if over:
            self._propose_own("expire", encode_command(Expire(tuple(over[:1000]))), now)

    def _compact(self, now: float) -> None:
        revision = self._compactor.due(self.state, now)
        if revision is not None:
            self._propose_own("compact", encode_command(Compact(NOBODY, revision)), now)

    def _see_to_space(self, now: float, free_bytes: int | None) -> None:
        state = self.state
        space = Space(
            state.size_bytes, state.swept, self.config.segment_bytes, free_bytes, self.node.spare
        )
        why = shortage(self.quota, space, state.alarms)
        if why is not None:
            log.warning("alarm NOSPACE", extra={"why": why})
            alarm = Alarm(NOBODY, self.member_id, NOSPACE, active=True)
            self._propose_own("alarm", encode_command(alarm), now)

    def _propose_own(self, kind: str, command: bytes, now: float) -> None:
        """Propose, unless the same is under way."""
        if now - self._proposed_at.get(kind, float("-inf")) < _PROPOSE_AGAIN_S:
            return
        self._proposed_at[kind] = now

        def done(got: Outcome | Lost) -> None:
            if self._proposed_at.get(kind) == now:  # else it was proposed again meanwhile
                del self._proposed_at[kind]
            if isinstance(got, Lost):
                log.info("proposal lost", extra={"kind": kind, "why": got.value})

        self.node.propose(command, done)
