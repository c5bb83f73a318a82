"""What a follower asks the leader, over the members' own link, and the answers to it.

An answer comes by callback, or never; so every question has a deadline, and when the leader
changes those to the old one are given up: what they asked for may have been done or not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from wherry.api.clock import Clock
from wherry.store import rpc
from wherry.store.entry import Outcome
from wherry.store.raft.machine import Lost
from wherry.store.raft.node import RaftNode

_ANSWER_S: Final = 5.0  # the leader has so long
Answered = Callable[[rpc.Between | Lost], None]


@dataclass(frozen=True, slots=True)
class _Pending:
    leader: str
    deadline: float
    answered: Answered


class Questions:
    """Those of one member that wait for an answer."""

    def __init__(self, node: RaftNode[Outcome], clock: Clock, rng: Random) -> None:
        self._node = node
        self._clock = clock
        self._pending: dict[int, _Pending] = {}
        self._last = rng.getrandbits(48)  # answers to an earlier life fit no question

    @property
    def waiting(self) -> bool:
        """Whether there are any."""
        return bool(self._pending)

    def ask(self, question: Callable[[int], rpc.Between], answered: Answered) -> None:
        """Send a question with a number of its own; `answered` gets what comes back."""
        leader = self._node.leader
        self._last += 1
        number = self._last
        if leader is None or not self._node.send(leader, rpc.encode(question(number))):
            answered(Lost.NOT_LEADER)
            return
        self._pending[number] = _Pending(leader, self._clock.monotonic() + _ANSWER_S, answered)

    def take(self, answer: rpc.Between) -> None:
        """Pass an answer on to who asked, if he still waits."""
        pending = self._pending.pop(answer.id, None)
        if pending is not None:
            pending.answered(answer)

    def give_up(self) -> None:
        """End those whose time is over, or whose leader does not lead any more."""
        if not self._pending:
            return
        now, leader = self._clock.monotonic(), self._node.leader
        for number, one in list(self._pending.items()):
            if one.leader != leader or one.deadline < now:
                del self._pending[number]
                one.answered(Lost.UNKNOWN)
