"""Members of a real cluster come and go: processes, mTLS, disks, `wherry store member`."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from store_process import ETCDCTL_PATIENT, PATIENT, Processes

from wherry.process.clock import SystemClock
from wherry.store.kv import Put, Range

pytestmark = pytest.mark.integration
WITHIN_S = 90.0
CLOCK = SystemClock()
KEYS = Range(b"/n/", b"/n0", count_only=True)


class Growing(Processes):
    """Four machines; the first three make a cluster."""

    def __init__(self) -> None:
        super().__init__(4, flags=PATIENT)
        self.newcomer = self.names[-1]
        self.names = self.names[:-1]

    def start_newcomer(self) -> None:
        self.names = (*self.names, self.newcomer)
        self.start_newcomer_again()

    def start_newcomer_again(self) -> None:
        flags = self._flags
        self._flags = (*flags, "--initial-cluster-state", "existing")
        self.start(self.newcomer)
        self._flags = flags

    def member(self, *words: str, through: str = "m1") -> subprocess.CompletedProcess[str]:
        socket = self.socket(through).removeprefix("unix://")
        return subprocess.run(
            [sys.executable, "-m", "wherry.cli", "store", "member", *words, "--socket", socket],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def list(self, through: str = "m1") -> dict[str, Any]:
        done = self.member("list", "-w", "json", through=through)
        assert done.returncode == 0, done.stderr
        return {one.get("name", ""): one for one in json.loads(done.stdout)["members"]}

    def until_done(self, *words: str, through: str = "m1") -> str:
        """Repeat what is refused because the newcomer is behind, or a leader just changed."""
        deadline = CLOCK.monotonic() + WITHIN_S
        while True:
            done = self.member(*words, through=through)
            if done.returncode == 0:
                return done.stdout
            assert CLOCK.monotonic() < deadline, done.stderr


@pytest.fixture
def processes() -> Iterator[Growing]:
    made = Growing()
    try:
        made.start_all()
        yield made
    finally:
        made.close()


async def put(processes: Growing, first: int, count: int) -> None:
    client = processes.client(timeout_s=WITHIN_S)
    for number in range(first, first + count):
        await client.txn([], [Put(b"/n/%06d" % number, b"x" * 100)])
    await client.close()


async def holds(processes: Growing, name: str, count: int) -> None:
    """Wait until one member has so many keys, by itself: it learns what is committed a little later."""
    client = processes.pinned(name, timeout_s=WITHIN_S)
    try:
        async with asyncio.timeout(WITHIN_S):
            while (await client.range(KEYS, serializable=True)).count != count:
                await asyncio.sleep(0.05)
    finally:
        await client.close()


def leader(processes: Growing, through: str) -> str:
    """Wait until one member knows who leads."""

    async def ask() -> str:
        client = processes.pinned(through, timeout_s=WITHIN_S)
        try:
            async with asyncio.timeout(WITHIN_S):
                while not (named := (await client.status()).leader):
                    await asyncio.sleep(0.05)
        finally:
            await client.close()
        return named

    return asyncio.run(ask())


def test_a_member_is_added_as_a_learner_promoted_and_another_lost_and_removed(
    processes: Growing,
) -> None:
    asyncio.run(put(processes, 0, 200))
    before = processes.list()
    assert set(before) == {"m1", "m2", "m3"}
    newcomer = processes.newcomer
    added = processes.until_done(
        "add", newcomer, "--peer-addr", processes.peer(newcomer), "--learner"
    )
    assert " added to cluster " in added
    again = processes.member("add", "m9", "--peer-addr", "127.0.0.1:1", "--learner")
    assert again.stderr == "Error: etcdserver: too many learner members in cluster\n"
    number = f"{processes.list()[newcomer]['ID']:x}"
    early = processes.member("promote", number)
    assert early.stderr == (
        "Error: etcdserver: can only promote a learner member which is in sync with leader\n"
    )
    processes.start_newcomer()
    asyncio.run(put(processes, 200, 100))
    promoted = processes.until_done("promote", number, through="m2")
    assert promoted.startswith(f"Member {number:>16} promoted in cluster ")
    assert "isLearner" not in processes.list(newcomer)[newcomer]
    asyncio.run(holds(processes, newcomer, 300))

    victim = leader(processes, newcomer)
    processes.kill(victim)
    asyncio.run(put(processes, 300, 50))
    survivor = next(name for name in processes.names if name != victim)
    gone = f"{before[victim]['ID']:x}"
    removed = processes.until_done("remove", gone, through=survivor)
    assert removed.startswith(f"Member {gone:>16} removed from cluster ")
    asyncio.run(put(processes, 350, 50))
    assert victim not in processes.list(newcomer)

    processes.start(victim)
    assert processes.processes[victim].wait(timeout=WITHIN_S) != 0
    said = processes.log(victim)
    assert "the member has been permanently removed from the cluster" in said
    del processes.processes[victim]
    asyncio.run(put(processes, 400, 10))


def test_a_leader_that_is_removed_hands_over_first_and_stops(processes: Growing) -> None:
    asyncio.run(put(processes, 0, 10))
    old = leader(processes, "m1")
    other = next(name for name in processes.names if name != old)
    number = f"{processes.list()[old]['ID']:x}"
    processes.until_done("remove", number, through=other)
    assert processes.processes[old].wait(timeout=WITHIN_S) != 0
    assert "permanently removed" in processes.log(old)
    del processes.processes[old]
    processes.names = tuple(name for name in processes.names if name != old)
    asyncio.run(put(processes, 10, 10))
    assert set(processes.list(other)) == set(processes.names)


def test_a_machine_with_a_new_disk_comes_back_under_a_new_id(processes: Growing) -> None:
    asyncio.run(put(processes, 0, 50))
    before = processes.list()
    lost = next(name for name in processes.names if name != leader(processes, "m1"))
    processes.kill(lost)
    for file in processes.data(lost).iterdir():
        file.unlink()
    asyncio.run(put(processes, 50, 50))
    processes.start(lost)
    deadline = CLOCK.monotonic() + WITHIN_S
    while True:
        through = next(name for name in processes.names if name != lost)
        now = processes.list(through).get(lost)  # for a moment it is no member at all
        if now and now["ID"] != before[lost]["ID"] and "isLearner" not in now:
            break
        assert CLOCK.monotonic() < deadline, now
    asyncio.run(holds(processes, lost, 100))
    assert processes.list(lost)[lost]["ID"] == now["ID"]


@pytest.mark.parametrize("how", ["etcdctl", "wherry"])
def test_a_voter_keeps_the_id_that_was_printed_until_its_disk_is_lost(
    processes: Growing, how: str
) -> None:
    asyncio.run(processes.ready())
    newcomer = processes.newcomer
    if how == "etcdctl":
        tls = processes.tls("admin")
        flags = ["--endpoints", processes.etcd("m2"), "--cacert", str(tls.ca)]
        flags += ["--cert", str(tls.cert), "--key", str(tls.key), *ETCDCTL_PATIENT]
        words = ["member", "add", newcomer, f"--peer-urls=https://{processes.peer(newcomer)}"]
        done = subprocess.run(
            ["etcdctl", *flags, *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout
    else:
        said = processes.until_done("add", newcomer, "--peer-addr", processes.peer(newcomer))
        assert f"{newcomer}={processes.peer(newcomer)}" in said
    printed = int(said.split()[1], 16)
    assert processes.list()[""]["ID"] == printed, "not started yet"
    processes.start_newcomer()
    deadline = CLOCK.monotonic() + WITHIN_S
    while newcomer not in (members := processes.list("m2")):
        assert CLOCK.monotonic() < deadline, processes.log(newcomer)
    asyncio.run(processes.ready())
    found = members[newcomer]
    assert found["ID"] == printed
    assert not found.get("isLearner")
    processes.kill(newcomer)
    shutil.rmtree(processes.data(newcomer))
    processes.start_newcomer_again()
    deadline = CLOCK.monotonic() + WITHIN_S
    while True:
        again = processes.list("m2").get(newcomer)
        if again and again["ID"] != printed and not again.get("isLearner"):
            break
        assert CLOCK.monotonic() < deadline, again
