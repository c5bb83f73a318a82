"""A member's directory made out of a state: for a new cluster that goes on from it.

What must not carry over from the old cluster does not:

* its identity: members of the two refuse each other;
* sessions: a client of the old cluster that tries a command again learns that its outcome
  cannot be told, and numbers given to new sessions were never given before;
* revisions that somebody may have seen and that are lost: the revision jumps over them, and
  all before is compacted, so that whoever watched reads everything anew instead of missing
  what changed.

Log index and term do carry over, so that the members of the new cluster may even start from
different snapshots of the old one: Raft then brings them to the newest.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherry.api.errors import ConfigError
from wherry.process.files import sync_directory
from wherry.store import membership
from wherry.store.image import refounded
from wherry.store.membership import Configuration
from wherry.store.mvcc import MvccState
from wherry.store.raft import snapshot
from wherry.store.raft.disk import Directory
from wherry.store.raft.wal import Wal
from wherry.store.tools.archive import locate
from wherry.store.tools.inspection import load

DEFAULT_BUMP: Final = 1_000_000
_SESSION_BITS: Final = 28
_SEGMENT_BYTES: Final = 1 << 16  # for a handful of records; a member that starts reserves more


@dataclass(frozen=True, slots=True)
class Founding:
    """The new cluster, as it stands in the log of each of its members."""

    cluster: str
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the new cluster begins: its state is that after an entry of the old log."""

    state: MvccState
    index: int
    term: int


def first_session(cluster: str) -> int:
    """Return the number from which a cluster numbers its clients: another for each cluster."""
    return (int(cluster[:8], 16) << _SESSION_BITS) | 1


def build(
    path: Path, origin: Origin, member: str, founded: Founding, *, bump: int, fresh: bool
) -> None:
    """Make a member's directory at `path`, durably; leftovers of a killed attempt are replaced.

    Args:
        path: Where; its parent exists.
        origin: The state to begin with.
        member: Whose directory it is.
        founded: The new cluster.
        bump: By how much the revision jumps; 0 keeps revisions and their history.
        fresh: Whether its vote counts only with everybody's, as that of a new disk: false for
            a cluster of one.
    """
    clear(path)
    disk = Directory(path)
    try:
        base = membership.encode(founded.configuration)
        wal = Wal(  # before the snapshot: one without a log says that the log was lost
            disk,
            cluster=founded.cluster,
            member=member,
            fresh=fresh,
            base=base,
            segment_bytes=_SEGMENT_BYTES,
        )
        header = snapshot.Header(origin.index, origin.term, founded.cluster, base, origin.index)
        writer = snapshot.Writer(disk, header)
        for chunk in _chunks(origin.state, founded.cluster, bump):
            writer.add(chunk)
        writer.finish()
        me = founded.configuration.named(member)
        if me is not None and not fresh:
            wal.identify(me.id)  # a fresh one gets its id when it votes, as in any new cluster
        wal.commit = origin.index
        wal.reset(origin.index, origin.term)
        wal.save_vote(origin.term, None)
        wal.close()
    finally:
        disk.close()


def clear(path: Path) -> None:
    """Remove what a killed attempt left."""
    if path.is_dir():
        shutil.rmtree(path)


def _chunks(state: MvccState, cluster: str, bump: int) -> Iterator[bytes]:
    return refounded(state, next_session=first_session(cluster), bump=bump)


def put_in_place(built: Path, path: Path) -> None:
    """Give a built directory its name; `path` is absent or empty."""
    built.rename(path)
    sync_directory(path.parent)


def exchange(building: Path, path: Path, aside: Path) -> None:
    """Put a complete directory in the place of another, which is kept.

    Raises:
        ConfigError: that cannot be done; the old one is where it was.
    """
    try:
        if path.exists():
            path.rename(aside)
            sync_directory(path.parent)
        put_in_place(building, path)
    except OSError as error:
        raise ConfigError(
            f"cannot put {building} in the place of {path}: {error.strerror} (a mount point "
            "cannot be renamed: the data directory must be one below it)"
        ) from error


def require_empty(path: Path) -> None:
    """Refuse to write over anything.

    Raises:
        ConfigError: `path` is there and not an empty directory.
    """
    try:
        taken = any(path.iterdir())
    except FileNotFoundError:
        return
    except OSError:
        taken = True
    if taken:
        raise ConfigError(f'data-dir "{path}" not empty or could not be read')


def restore(
    file: Path, path: Path, member: str, peers: dict[str, str], cluster: str, *, bump: int
) -> Origin:
    """Make a member of a new cluster out of a snapshot file; returns what it begins with.

    Raises:
        ConfigError: the directory is not empty, or the member is not one of `peers`.
        CorruptError: the file is damaged.
    """
    if member not in peers:
        raise ConfigError(
            f'couldn\'t find local name "{member}" in the initial cluster configuration'
        )
    require_empty(path)
    origin = origin_of(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    built = path.with_name(f".{path.name}.restoring")
    names = sorted(peers)
    members = membership.initial(cluster, names, [peers[name] for name in names])
    founded = Founding(cluster, members)
    build(built, origin, member, founded, bump=bump, fresh=len(peers) > 1)
    put_in_place(built, path)
    return origin


def origin_of(file: Path) -> Origin:
    """Return the state in a snapshot file."""
    disk, name = locate(file)
    header, state = load(disk, name)
    return Origin(state, header.index, header.term)
