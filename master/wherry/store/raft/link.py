"""How members reach each other: the interface that `RaftNode` uses."""

from collections.abc import Callable
from typing import Protocol

from wherry.store.membership import Configuration
from wherry.store.raft.machine import Joined
from wherry.store.raft.message import Message


class Receiver(Protocol):
    """What a link calls; `RaftNode` is one. None of it blocks."""

    def connected(self, member: str) -> None:
        """Messages to a member now have a chance to arrive."""
        ...

    def disconnected(self, member: str) -> None:
        """Messages to a member will not arrive."""
        ...

    def hung_up(self, member: str) -> None:
        """A member's own connection to us ended."""
        ...

    @property
    def member_id(self) -> int:
        """Return under which id this member takes part."""
        ...

    def join(self, name: str, peer: str, reply: Callable[[Joined | str], None]) -> None:
        """Somebody would take the place of a member that was added; a string says why not."""
        ...

    def was_removed(self, member_id: int) -> bool:
        """Whether it is agreed that this id is no member's any more."""
        ...

    def removed(self) -> None:
        """The others say that this member was removed from the cluster."""
        ...

    def receive(self, member: str, message: Message) -> None:
        """A message arrived; the link made sure whose it is."""
        ...


class PeerLink(Protocol):
    """Unreliable, unordered delivery of messages to members by name; never twice."""

    def follow(self, configuration: Configuration) -> None:
        """Keep connections to these members from now on."""
        ...

    def send(self, member: str, message: Message) -> bool:
        """Queue a message; False (and dropped) if that is not possible now. Never blocks."""
        ...

    async def run(self, receiver: Receiver) -> None:
        """Keep connections to all members, until cancelled."""
        ...
