"""Debian's etcdctl against the side door: a table of commands and what they print."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from store_process import ETCDCTL_PATIENT, Processes, cluster

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Row:
    id: str
    command: str
    want: str  # a regular expression that all of the output matches
    stdin: str = ""
    fails: bool = False
    before: tuple[str, ...] = field(default=())


TXN = 'value("/a") = "1"\n\nput /a 2\nget /a\n\nget /none\n\n'
ROWS = (
    Row("put", "put /a 1", "OK\n"),
    Row("get", "get /a", "/a\n1\n", before=("put /a 1",)),
    Row("keys", "get --prefix --keys-only /", "/a\n\n/b\n\n", before=("put /b 1", "put /a 1")),
    Row("limit", "get --prefix / --limit=1 --keys-only", "/a\n\n", before=("put /b 1", "put /a 1")),
    Row("sort", "get --prefix / --sort-by=MODIFY --order=DESCEND --keys-only", "/a\n\n/b\n\n", before=("put /b 1", "put /a 1")),
    Row("old revision", "get /a --rev=2", "/a\n1\n", before=("put /a 1", "put /a 2")),
    Row("prev-kv", "put /a 2 --prev-kv", "OK\n/a\n1\n", before=("put /a 1",)),
    Row("ignore-value", "put /a --ignore-value", "OK\n", before=("put /a 1",)),
    Row("del", "del /a --prev-kv", "1\n/a\n1\n", before=("put /a 1",)),
    Row("del prefix", "del --prefix /", "2\n", before=("put /b 1", "put /a 1")),
    Row("txn succeeds", "txn", "SUCCESS\n\nOK\n\n/a\n2\n", stdin=TXN, before=("put /a 1",)),
    Row("txn fails", "txn", "FAILURE\n\n", stdin=TXN, before=("put /a 3",)),
    Row("lease grant", "lease grant 60", r"lease [0-9a-f]{16} granted with TTL\(60s\)\n"),
    Row("lease list", "lease list", "found 0 leases\n"),
    Row("no such lease", "put /a 1 --lease=99", "(?s).*requested lease not found.*", fails=True),
    Row("lease of none", "lease timetolive 99", "lease 0000000000000099 already expired\n"),
    Row("revoke none", "lease revoke 99", "(?s).*requested lease not found.*", fails=True),
    Row("compaction", "compaction 2", "compacted revision 2\n", before=("put /a 1", "put /a 2")),
    Row("compacted", "get /a --rev=1", "(?s).*required revision has been compacted\n", fails=True, before=("put /a 1", "put /a 2", "compaction 3")),
    Row("future", "get /a --rev=99", "(?s).*required revision is a future revision\n", fails=True),
    Row("status", "endpoint status -w table", r"(?s)\+-.*ENDPOINT.*\|\s+3\.5\.0 \|.*\| +true \|.*"),
    Row("health", "endpoint health", ".*is healthy.*\n"),
    Row("members", "member list -w table", r"(?s).*\| started \| +m1 \| https://127.*"),
    Row("hash", "endpoint hashkv", r"127.0.0.1:\d+, \d+\n"),
    Row("defragment", "defrag", "Finished defragmenting.*\n"),
    Row("alarms", "alarm list", ""),
    Row("users are not served", "user list", "(?s).*Unimplemented.*", fails=True),
)  # fmt: skip


class Etcdctl:
    def __init__(self, processes: Processes, identity: str = "admin") -> None:
        tls = processes.tls(identity)
        self.arguments = [
            *("etcdctl", "--endpoints", ",".join(map(processes.etcd, processes.names))),
            *("--cacert", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)),
            *ETCDCTL_PATIENT,
        ]
        self.environment = {**os.environ, "ETCDCTL_API": "3"}

    def __call__(self, command: str, stdin: str = "") -> tuple[bool, str]:
        done = subprocess.run(
            [*self.arguments, *command.split()],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            env=self.environment,
            check=False,
        )
        return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes(1)
    with contextlib.closing(made):
        made.start_all()
        yield made


def test_commands(processes: Processes) -> None:
    """Each row begins with an empty store, so revisions are known."""
    etcdctl = Etcdctl(processes)
    problems = []
    for row in ROWS:
        processes.kill("m1")
        fresh(processes)
        for command in row.before:
            ok, out = etcdctl(command)
            assert ok, (row.id, command, out)
        ok, out = etcdctl(row.command, row.stdin)
        if ok is row.fails or not re.fullmatch(row.want, out):
            problems.append(f"{row.id}: {ok} {out!r}")
    assert not problems, "\n".join(problems)


def fresh(processes: Processes) -> None:
    shutil.rmtree(processes.directory / "m1", ignore_errors=True)
    processes.start("m1")


def test_watch_and_keep_alive(processes: Processes) -> None:
    etcdctl = Etcdctl(processes)
    ok, out = etcdctl("lease grant 60")
    assert ok
    lease = out.split()[1]

    async def lines(command: str, count: int) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *etcdctl.arguments,
            *command.split(),
            stdout=asyncio.subprocess.PIPE,
            env=etcdctl.environment,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(90):
                return [(await process.stdout.readline()).decode().strip() for _ in range(count)]
        finally:
            process.kill()
            await process.wait()

    assert etcdctl("put /w/a 1")[0]
    assert etcdctl("put /w/a 2")[0]
    assert etcdctl("del /w/a")[0]
    watched = asyncio.run(lines("watch --prefix /w --rev=2 --prev-kv", 11))
    assert watched == [
        *("PUT", "/w/a", "1"),
        *("PUT", "/w/a", "1", "/w/a", "2"),
        *("DELETE", "/w/a", "2"),
    ]
    kept = asyncio.run(lines(f"lease keep-alive {lease}", 1))
    assert kept == [f"lease {lease} keepalived with TTL(60)"]


def test_a_nodes_certificate_is_refused(processes: Processes) -> None:
    assert Etcdctl(processes)("put /a 1")[0]
    ok, out = Etcdctl(processes, "nobody")("get /a")
    assert not ok
    assert "permission denied" in out


def test_every_member_serves_and_is_listed() -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            etcdctl = Etcdctl(processes)
            async with asyncio.timeout(90):
                while True:  # members are asked one after the other: meanwhile one may be elected
                    ok, out = await asyncio.to_thread(etcdctl, "endpoint status -w simple")
                    assert ok
                    assert len(out.splitlines()) == 3
                    if out.count(", true, ") == 1:
                        break
            for name in processes.names:
                one = Etcdctl(processes)
                one.arguments[2] = processes.etcd(name)
                assert (await asyncio.to_thread(one, f"put /from {name}"))[0]
                assert (await asyncio.to_thread(one, "get /from --print-value-only"))[
                    1
                ] == f"{name}\n"

    asyncio.run(main())


def test_a_quota_and_the_way_out_of_its_alarm() -> None:
    """As etcd's manual has it: write until it is full, make room, end the alarm."""
    made = Processes(1, flags=("--quota-backend-bytes", "200000"))
    with contextlib.closing(made):
        made.start_all()
        etcdctl = Etcdctl(made)
        value = "x" * 20_000
        refused = next(
            out for out in (etcdctl("put /full", value)[1] for _ in range(50)) if out != "OK\n"
        )
        assert "etcdserver: mvcc: database space exceeded" in refused
        listed = r"memberID:(\d+) alarm:NOSPACE \n"
        assert re.fullmatch(listed, etcdctl("alarm list")[1])
        ok, out = etcdctl("endpoint status -w json")
        assert ok
        (status,) = json.loads(out)
        assert "alarm:NOSPACE" in str(status["Status"]["errors"])
        assert etcdctl("get /full --keys-only") == (True, "/full\n\n")
        assert not etcdctl("lease grant 60")[0]
        assert etcdctl(f"compaction {status['Status']['header']['revision']}")[0]
        assert etcdctl("defrag")[0]
        assert re.fullmatch(listed, etcdctl("alarm disarm")[1])
        assert etcdctl("alarm list") == (True, "")
        assert etcdctl("put /full", "1") == (True, "OK\n")
