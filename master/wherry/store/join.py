"""How somebody who was added becomes a member: he asks those who are, and is told who he is.

    wherry store member add m4 --peer-addr 192.0.2.4:2380 --learner
    wherry store --name m4 --initial-cluster-state existing --initial-cluster m1=...,m4=192.0.2.4:2380

He is known by the address at which he listens. What he learns stands on his disk from the
first moment, so he asks once. A learner gets its id. So does a voter whose place had no name
yet: giving it one is a change of members, made once, so no other disk was ever told that id.
Any other voter may have been here before, on a disk that is lost, and what it promised then
is forgotten: it gets none, so that the leader has it go on as a learner under a new one
(`raft/reconfigure.py`).
"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from typing import Final

from wherry.store.membership import Configuration, MemberInfo, encode
from wherry.store.net import Network
from wherry.store.peer import Welcome, ask_to_join
from wherry.store.raft.machine import Joined

log = logging.getLogger(__name__)
_AGAIN_S: Final = (0.3, 0.7)


def place_of(configuration: Configuration, name: str, peer: str) -> MemberInfo | str:
    """Return the place that was made for somebody, or why there is none."""
    member = next((one for one in configuration.members if one.peer == peer), None)
    if member is None:
        return (
            f"no member of the cluster has the peer address {peer}: add it first "
            "(wherry store member add), and start it with the same address"
        )
    if member.name not in ("", name):
        return f"the member at {peer} is called {member.name!r}, not {name!r}"
    return member


def told(configuration: Configuration, member: MemberInfo, *, first: bool = False) -> Joined:
    """Return what a member with a place is told; `first`: nobody else was told that id."""
    return Joined(member.id if member.learner or first else 0, encode(configuration))


async def join(
    network: Network, endpoints: Sequence[str], name: str, address: str, rng: Random
) -> Welcome:
    """Ask members until one takes this one in; says in the log why they do not."""
    said = ""
    while True:
        for endpoint in endpoints:
            try:
                answer = await ask_to_join(network, endpoint, name, address)
            except (OSError, ValueError) as error:
                answer = str(error) or "no answer"
            if isinstance(answer, Welcome):
                return answer
            if answer != said:
                log.warning("not yet a member", extra={"asked": endpoint, "why": answer})
                said = answer
        await asyncio.sleep(rng.uniform(*_AGAIN_S))
