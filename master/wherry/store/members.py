"""A replica's side of membership: changes are made by the leader, whoever is asked.

A leader that shall be removed has somebody else lead first, who then removes it; so nobody
leads a cluster to which it does not belong. One change at a time: a second one meanwhile is
`Lost.BUSY`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec

from wherry.api.clock import Clock
from wherry.store import rpc
from wherry.store.entry import Outcome
from wherry.store.join import place_of, told
from wherry.store.membership import (
    BAD_TRANSFEREE,
    NOT_LEADER,
    TRANSFER_TIMEOUT,
    Change,
    Configuration,
    MemberError,
    MemberInfo,
    RemoveMember,
    UpdateMember,
)
from wherry.store.raft.machine import Joined, Lost
from wherry.store.raft.node import RaftNode
from wherry.store.raft.reconfigure import MembersReply

MovedReply = Callable[[MemberError | Lost | None], None]
Ask = Callable[[Callable[[int], rpc.Between], Callable[[rpc.Between | Lost], None]], None]
_LEAVE_S: Final = 5.0  # a leader that is to go has so long to be followed by another
_MOVE_S: Final = 1.0


class Members:
    """See the module. `ask` asks the leader; `step` is to be called a few times a second."""

    def __init__(self, node: RaftNode[Outcome], ask: Ask, clock: Clock, rng: Random) -> None:
        self._node = node
        self._ask = ask
        self._clock = clock
        self._rng = rng
        self._leaving: list[_Leaving] = []
        self._moving: list[tuple[float, str, MovedReply]] = []

    @property
    def waiting(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._leaving or self._moving)

    def change(self, asked: Change, reply: MembersReply, *, passed_on: bool = False) -> None:
        """Change the members, here or through the leader; `passed_on`: by another replica."""
        if self._node.is_leader:
            if isinstance(asked, RemoveMember) and asked.id == self._node.member_id:
                self._leave(asked, reply, passed_on=passed_on)
            else:
                self._node.change_members(asked, self._rng.getrandbits(63) | 1, reply)
        elif isinstance(asked, RemoveMember):  # perhaps of the leader, who goes meanwhile
            self._pass_on(asked, self._persistent(asked, reply, self._deadline()))
        else:
            self._pass_on(asked, reply)

    def _pass_on(self, asked: Change, reply: MembersReply) -> None:
        self._ask(
            lambda number: rpc.ChangeMembers(number, asked),
            lambda answer: reply(_members(answer)),
        )

    def _deadline(self) -> float:
        return self._clock.monotonic() + _LEAVE_S

    def _persistent(
        self, asked: RemoveMember, reply: MembersReply, deadline: float
    ) -> MembersReply:
        """Return a reply that asks again where there was none; a removal may be repeated."""

        def answered(got: tuple[MemberInfo, ...] | MemberError | Lost) -> None:
            if isinstance(got, Lost) and self._clock.monotonic() < deadline:
                self._leaving.append(_Leaving(asked, reply, deadline, passed_on=False))
            else:
                reply(got)

        return answered

    def _leave(self, asked: RemoveMember, reply: MembersReply, *, passed_on: bool) -> None:
        refused = self._node.check_change(asked, 0)
        if isinstance(refused, MemberError | Lost):
            reply(refused)
            return
        self._node.hand_over()
        self._leaving.append(_Leaving(asked, reply, self._deadline(), passed_on=passed_on))

    def move_leader(self, member: int, reply: MovedReply) -> None:
        """Have another member lead; only the leader is asked (as in etcd)."""
        node = self._node
        target = node.members.find(member)
        if not node.is_leader:
            reply(NOT_LEADER)
        elif target is None or target.learner:
            reply(BAD_TRANSFEREE)
        elif target.id == node.member_id:
            reply(None)
        else:
            node.hand_over(target.key)
            self._moving.append((self._clock.monotonic() + _MOVE_S, target.key, reply))

    def join(self, name: str, peer: str, reply: Callable[[Joined | str], None]) -> None:
        """Tell somebody who was added who he is; see `join.py`."""
        member = place_of(self._node.configuration, name, peer)
        if isinstance(member, str):
            reply(member)
            return
        if member.name:
            reply(told(self._node.configuration, member))
            return

        def named(got: tuple[MemberInfo, ...] | MemberError | Lost) -> None:
            if isinstance(got, MemberError):
                reply(got.message)
            elif isinstance(got, Lost):
                reply(got.value)
            else:
                reply(_welcome(self._node.configuration, got, name, peer))

        self.change(UpdateMember(member.id, peer, name), named)

    def step(self) -> None:
        """Go on with what waits for another leader."""
        now, node = self._clock.monotonic(), self._node
        moving, self._moving = self._moving, []
        for deadline, target, moved in moving:
            if node.leader == target:
                moved(None)
            elif now > deadline:
                moved(TRANSFER_TIMEOUT)
            else:
                self._moving.append((deadline, target, moved))
        leaving, self._leaving = self._leaving, []
        for one in leaving:
            self._go_on(one, now)

    def _go_on(self, one: "_Leaving", now: float) -> None:
        node, asked = self._node, one.asked
        again = self._persistent(asked, one.reply, one.deadline)
        if asked.id in node.members.removed:
            one.reply(node.members.members)
        elif now > one.deadline:
            one.reply(Lost.UNKNOWN)
        elif node.is_leader and node.member_id == asked.id:
            node.hand_over()
            self._leaving.append(one)
        elif one.passed_on:
            one.reply(Lost.NOT_LEADER)  # who passed it on asks the next leader
        elif node.is_leader:
            node.change_members(asked, 0, again)
        else:
            self._pass_on(asked, again)


def _welcome(
    known: Configuration, members: tuple[MemberInfo, ...], name: str, peer: str
) -> Joined | str:
    """Return what somebody is told who has just got his name; the leader knew more than we."""
    now = msgspec.structs.replace(known, members=members)
    member = place_of(now, name, peer)
    return member if isinstance(member, str) else told(now, member, first=True)


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A removal that waits for another leader."""

    asked: RemoveMember
    reply: MembersReply
    deadline: float
    passed_on: bool


def _members(answer: rpc.Between | Lost) -> tuple[MemberInfo, ...] | MemberError | Lost:
    match answer:
        case rpc.Members():
            return answer.members
        case rpc.MembersRefused():
            return MemberError(answer.code, answer.message)
        case rpc.Failed(_, rpc.RETRY, why):
            return Lost(why)
        case Lost():
            return answer
        case _:
            return Lost.UNKNOWN


def members_answer(
    number: int, got: tuple[MemberInfo, ...] | MemberError | Lost
) -> rpc.Members | rpc.MembersRefused | rpc.Failed:
    """Return what is sent about a change, or a list."""
    if got is Lost.UNKNOWN:  # not to be asked again blindly: it may be done
        return rpc.Failed(number, rpc.INVALID, "etcdserver: request timed out")
    if isinstance(got, Lost):
        return rpc.Failed(number, rpc.RETRY, got.value)
    if isinstance(got, MemberError):
        return rpc.MembersRefused(number, got.code, got.message)
    return rpc.Members(number, got)
