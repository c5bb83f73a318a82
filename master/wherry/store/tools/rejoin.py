"""A member whose cluster goes on without its disk: it takes the place that was kept for it.

It asks those who run, is told under which id it belongs to them and to which cluster, and
begins with an empty log that says so. What it held before is kept aside, and not used: it may
hold entries that the cluster never had. From the start on it is a learner, which the leader
gives everything and then makes a voter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.store.net import Network
from wherry.store.peer import Welcome, ask_to_join
from wherry.store.raft.disk import Directory
from wherry.store.raft.wal import Wal
from wherry.store.tools.rebuild import clear, exchange

ASIDE: Final = "before-rejoin"
BUILDING: Final = "rejoining"
_SEGMENT_BYTES: Final = 1 << 16


async def ask(network: Network, name: str, peers: Mapping[str, str]) -> Welcome:
    """Ask each other member for the place of `name`, until one has it.

    Raises:
        UnavailableError: none does; says what each answered.
    """
    said = []
    for other in sorted(set(peers) - {name}):
        try:
            answer = await ask_to_join(network, peers[other], name, peers[name])
        except (OSError, ValueError) as error:
            answer = str(error) or "no answer"
        if isinstance(answer, Welcome):
            return answer
        said.append(f"{other}: {answer}")
    raise UnavailableError(f"nobody takes {name} in: {'; '.join(said) or 'there is nobody else'}")


def begin_anew(path: Path, name: str, welcome: Welcome) -> Path | None:
    """Write the directory of a member that was told who it is; returns where the old one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f"{path.name}.{BUILDING}")
    clear(building)
    disk = Directory(building)
    try:
        wal = Wal(
            disk,
            cluster=welcome.cluster,
            member=name,
            fresh=True,
            member_id=welcome.id,
            base=welcome.base,
            segment_bytes=_SEGMENT_BYTES,
        )
        wal.sync()
        wal.close()
    finally:
        disk.close()
    aside = _free(path)
    exchange(building, path, aside)
    return aside if aside.exists() else None


def _free(path: Path) -> Path:
    """Return a name that is not taken, for a directory to keep."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{ASIDE}-{number}")).exists():
        number += 1
    return aside
