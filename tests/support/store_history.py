"""What every replica must agree on, written down by the first one that gets there.

`Canon` sits between Raft and each replica's state machine (`TappedMachine`). The first replica
to apply a command writes it down; every other one must apply the same command at the same
place, and get the same outcome and events. A replica that restores a snapshot must hold the
state that the others had there. So replicas cannot part unseen, not even for a while.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wherry.store.entry import Outcome
from wherry.store.kv import Event, KeyValue
from wherry.store.mvcc import MvccState
from wherry.store.raft.machine import Restorer, View


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease ended: when its end was applied first, and in whose hands it had been."""

    at_s: float
    granted_s: float
    ttl_s: int


class Canon:
    """The one history. Revisions, commands and lease ends, as they were first applied."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.outcomes: list[Outcome] = []
        self.events: dict[int, tuple[Event, ...]] = {}
        self.ended: dict[tuple[int, int], Ended] = {}  # (lease, serial)
        self.revision = 1
        self._digests: dict[int, str] = {}
        self._granted: dict[tuple[int, int], tuple[float, int]] = {}
        self._versions: dict[bytes, list[tuple[int, KeyValue | None]]] = {}

    def add(self, command: bytes, outcome: Outcome, state: MvccState) -> None:
        """A replica is the first to apply a command."""
        self.commands.append(command)
        self.outcomes.append(outcome)
        for revision in range(self.revision + 1, state.revision + 1):
            (events,) = state.kept_events(revision - 1, revision)
            self.events[revision] = events
            for event in events:
                kv = None if event.deleted else event.kv
                self._versions.setdefault(event.kv.key, []).append((revision, kv))
        self.revision = state.revision
        self._note_leases(state)

    def _note_leases(self, state: MvccState) -> None:
        now = asyncio.get_running_loop().time()
        alive = {(lease, one.serial): one.ttl_s for lease, one in state.leases.items()}
        for each, (granted_s, ttl_s) in list(self._granted.items()):
            if each not in alive:
                del self._granted[each]
                self.ended[each] = Ended(now, granted_s, ttl_s)
        for each, ttl_s in alive.items():
            self._granted.setdefault(each, (now, ttl_s))

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """Return what a key held at a revision."""
        found = None
        for written, kv in self._versions.get(key, ()):
            if written > revision:
                break
            found = kv
        return found

    def keys(self) -> list[bytes]:
        """Every key that was ever written."""
        return sorted(self._versions)

    def see_digest(self, position: int, digest: str, who: str) -> None:
        """A replica's state after `position` commands hashes to `digest`."""
        known = self._digests.setdefault(position, digest)
        assert known == digest, f"replicas part: the state of {who} after {position} commands"


class TappedMachine:
    """`Machine` on a replica's state, under the eyes of the canon."""

    def __init__(self, state: MvccState, canon: Canon, name: str) -> None:
        self._state = state
        self._canon = canon
        self._name = name

    def apply(self, data: bytes) -> Outcome:
        canon, state = self._canon, self._state
        position, before = state.applied, state.revision
        outcome = state.apply(data)
        assert state.applied == position + 1, "every command counts one"
        where = f"{self._name} at command {position}"
        if position == len(canon.commands):
            canon.add(data, outcome, state)
            return outcome
        assert position < len(canon.commands), f"replicas part: {where} came from nowhere"
        assert canon.commands[position] == data, f"replicas part: {where} applies another command"
        assert canon.outcomes[position] == outcome, f"replicas part: {where} has another outcome"
        for revision in range(before + 1, state.revision + 1):
            (events,) = state.kept_events(revision - 1, revision)
            assert canon.events[revision] == events, f"replicas part: {where} has other events"
        return outcome

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[View]:
        self.check()
        with self._state.snapshot() as view:
            yield view

    def check(self) -> None:
        """Compare the whole state with what others had here."""
        self._canon.see_digest(self._state.applied, digest(self._state), self._name)

    def restorer(self) -> Restorer:
        return _TappedRestorer(self, self._state.restorer())


class _TappedRestorer:
    def __init__(self, machine: TappedMachine, restorer: Restorer) -> None:
        self._machine = machine
        self._restorer = restorer

    def feed(self, chunk: bytes) -> None:
        self._restorer.feed(chunk)

    def finish(self) -> None:
        self._restorer.finish()
        self._machine.check()


def digest(state: Any) -> str:
    """Hash the whole logical state."""
    sha = hashlib.sha256()
    with state.snapshot() as view:
        for chunk in view.chunks():
            sha.update(chunk)
    return sha.hexdigest()
