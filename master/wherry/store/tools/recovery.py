"""Lost quorum: what the survivors hold, which is best, and a cluster of one made out of it.

Without a majority nobody can say what was acknowledged. What a survivor holds beyond its
commit index may or may not have been; all of it is kept. What only members that are gone
held is lost, and nobody can say how much that was: an entry counts as acknowledged when *any*
majority has it. So the best survivor is the one that would win an election among them: the
highest term of a last entry, then the highest index.

The new directory is complete before it gets its name. A kill leaves one of these:

    DIR   DIR.recovering    DIR.before-recovery-*
    old   absent or partial   -                        begin again
    old   complete            -                        begin again
    -     complete            old                      give it its name: all that is left to do
    new   -                   old                      done
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from wherry.api.errors import ConfigError
from wherry.store import membership
from wherry.store.membership import Configuration
from wherry.store.raft import snapshot
from wherry.store.raft.disk import CorruptError
from wherry.store.tools.files import ReadOnly
from wherry.store.tools.inspection import Inspection, inspect, state_of
from wherry.store.tools.rebuild import Founding, Origin, build, exchange, put_in_place

ASIDE: Final = "before-recovery"
BUILDING: Final = "recovering"


class Survivor(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one member's directory holds. As JSON it travels to where `recover` runs.

    Attributes:
        directory: On the machine where it was looked at.
        damage: Why it cannot be used; empty if it can.
        peers: The voters that it knows of, and where they listen; empty if only its flags say.
        fresh: Its disk was new and had not been given everything yet.
        last_index, last_term: Of the last entry.
        committed: Up to here it knew entries to be committed.
        revision, keys: Of the state after its last entry.
        written_at: When its last entry was written, to the second, in seconds since 1970; where
            no record says that, when its newest file was, and `of_file` is true: a restart
            writes, too.
    """

    directory: str
    damage: tuple[str, ...] = ()
    member: str = ""
    cluster: str = ""
    peers: dict[str, str] = {}
    fresh: bool = False
    term: int = 0
    last_index: int = 0
    last_term: int = 0
    committed: int = 0
    snapshot_index: int = 0
    revision: int = 0
    keys: int = 0
    written_at: float = 0.0
    of_file: bool = True

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Return what makes one better than another."""
        return (not self.fresh, self.last_term, self.last_index)


@dataclass(frozen=True, slots=True)
class Choice:
    """The best survivor, and what is to be said before anything is done."""

    best: Survivor
    majority: bool  # the survivors could elect a leader: there is nothing to recover from
    warnings: tuple[str, ...]


def survey(path: Path) -> Survivor:
    """Look at a stopped member's directory; damage is part of the answer."""
    found = inspect(path)
    disk = ReadOnly(path)
    changed_at = max(disk.changed_at(file.name) for file in found.files)
    wal, meta = found.wal, found.meta
    if not found.usable or wal is None or meta is None:
        damage = [*found.damage, *_way_out(found)]
        return Survivor(directory=str(path), damage=tuple(damage), written_at=changed_at)
    index, state = state_of(found)
    return Survivor(
        directory=str(path),
        member=meta.member,
        cluster=meta.cluster,
        peers=_voters(found),
        fresh=wal.fresh,
        term=wal.term,
        last_index=index,
        last_term=last_term(found),
        committed=min(max(wal.commit, found.newest.index if found.newest else 0), index),
        snapshot_index=found.newest.index if found.newest else 0,
        revision=state.revision,
        keys=state.live_count,
        written_at=wal.written_ms / 1000 or changed_at,
        of_file=not wal.written_ms,
    )


def _way_out(found: Inspection) -> list[str]:
    if found.newest is None:
        return []
    file = found.path / found.newest.name
    return [f"what it held at entry {found.newest.index} can be restored: snapshot restore {file}"]


def _voters(found: Inspection) -> dict[str, str]:
    known = configuration_of(found)
    return {one.key: one.peer for one in known.voters} if known is not None else {}


def configuration_of(found: Inspection) -> membership.Configuration | None:
    """Return the members as the directory last knew them; None if only flags said it."""
    wal = found.wal
    if wal is None:
        return None
    index, payload = 0, wal.base
    if found.newest is not None:
        header = snapshot.header(ReadOnly(found.path), found.newest.name)
        index, payload = header.members_index, header.members or payload
    if wal.configurations and wal.configurations[-1][0] > index:
        payload = wal.configurations[-1][1]
    return membership.decode(payload) if payload else None


def last_term(found: Inspection) -> int:
    """Return the term of the last entry, in the log or else in the snapshot."""
    terms = [found.newest.term] if found.newest else []
    if found.wal is not None and found.wal.entries:
        terms.append(found.wal.entries[-1][2])
    return max(terms, default=0)


def choose(survivors: Sequence[Survivor]) -> Choice:
    """Pick the best survivor, and say what its choice means.

    Raises:
        ConfigError: none is usable, or they are of different clusters.
    """
    usable = [one for one in survivors if not one.damage]
    if not usable:
        why = "; ".join(text for one in survivors for text in one.damage)
        raise ConfigError(f"no survivor can be used: {why or 'none was given'}")
    if len({one.cluster for one in usable}) > 1:
        raise ConfigError(f"not of one cluster: {sorted({one.cluster for one in usable})}")
    if len({one.member for one in usable}) < len(usable):
        raise ConfigError("a member was given twice")
    best = max(usable, key=lambda one: one.rank)
    size = max(len(one.peers) for one in usable)
    solid = sum(not one.fresh for one in usable)
    return Choice(best, bool(size) and solid > size // 2, tuple(_warnings(best, usable)))


def _warnings(best: Survivor, usable: Sequence[Survivor]) -> list[str]:
    committed = max(one.committed for one in usable)
    open_entries = max(0, best.last_index - committed)
    said = [
        f"entries up to {min(committed, best.last_index)} are known to have been committed: kept",
        f"{open_entries} entries after that may or may not have been acknowledged: kept",
        "entries that only the missing members held are lost; how many there were, if any, "
        "nobody can say: compare the last write here with when the others stopped",
    ]
    if best.last_index < committed:
        said.append(
            f"LOST: entries {best.last_index + 1} to {committed} are known to have been committed, "
            "and no usable survivor holds them"
        )
    if best.fresh:
        said.append(
            f"{best.member}'s disk was new: it had not been given everything when it stopped"
        )
    return said


def founding_of(cluster: str, member: str, peers: Mapping[str, str]) -> Founding:
    """Return a cluster of one, with places for the others: learners, promoted when they are back.

    Args:
        cluster: The new cluster's identity.
        member: Who has the state, and alone votes.
        peers: Where everybody listens, by name.
    """
    names = sorted(peers)
    everybody = membership.initial(cluster, names, [peers[name] for name in names]).members
    members = tuple(msgspec.structs.replace(one, learner=one.name != member) for one in everybody)
    returning = tuple(one.id for one in members if one.learner)
    return Founding(cluster, Configuration(members, (), returning))


def recover(path: Path, founded: Founding, *, bump: int) -> Path:
    """Put a cluster of one in the place of a survivor's directory; returns where the old one is.

    Raises:
        CorruptError: it cannot be used.
        ConfigError: it is not there.
    """
    building = path.with_name(f"{path.name}.{BUILDING}")
    aside = path.with_name(f"{path.name}.{ASIDE}-{founded.cluster}")
    found = inspect(path)
    if found.meta is None or not found.usable:
        raise CorruptError("; ".join(found.damage) or f"{path} does not say whose it is")
    index, state = state_of(found)
    origin = Origin(state, index, max(last_term(found), 1))
    build(building, origin, found.meta.member, founded, bump=bump, fresh=False)
    exchange(building, path, aside)
    return aside


def finish_killed(path: Path) -> bool:
    """Finish a recovery that was killed between its last two steps; whether there was one."""
    building = path.with_name(f"{path.name}.{BUILDING}")
    if path.exists() or not building.is_dir():
        return False
    if not any(path.parent.glob(f"{path.name}.{ASIDE}-*")):
        raise ConfigError(f"{path} is not there, and {building} does not come from it")
    if not inspect(building).usable:
        raise ConfigError(f"{path} is not there, and {building} is not complete")
    put_in_place(building, path)
    return True
