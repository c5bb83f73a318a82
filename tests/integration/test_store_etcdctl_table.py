"""Debian's etcdctl, every command of it, against our door and against a real etcd.

The rows run in order, on two stores that begin fresh, and each must print the same and end
alike. What differs from cluster to cluster is made equal before: ids, terms, raft indices,
sizes, hashes, durations, addresses, and the time that each line of a log begins with.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from etcd_pair import Server, pair, told
from store_process import ETCDCTL_PATIENT

from wherry.process.clock import SystemClock
from wherry.wire.etcd import rpc_pb2

pytestmark = pytest.mark.integration
CLOCK = SystemClock()


@dataclass(frozen=True)
class Row:
    """A command; with `lines`, one that does not end: so many lines are read from it."""

    command: str
    stdin: str = ""
    lines: int = 0
    keep: str = ""  # a name for the lease that it prints


TXN = 'value("/a") = "1"\nmod("/a") > "1"\nver("/a") = "1"\ncreate("/a") < "99"\n\nput /a 2\nget /a\nget /k --prefix\ndel /none\n\nget /none\n\n'
ROWS = (
    # put
    Row("put /a 1"), Row("put /a 2 --prev-kv"), Row("put /a 3 --prev-kv -w json"), Row("put /a 4 -w fields"),
    Row("put /in", stdin="from standard input"), Row("put /a --ignore-value"), Row("put /a 5 --ignore-lease"),
    Row("put /none --ignore-value"), Row("put /a 1 --lease=99"), Row("put /a -- -dash"), Row("put ''  v"), Row("put"), Row("put /a 1 2"),
    *(Row(f"put /k/{key} {value}") for key, value in zip("dbace", "45123", strict=True)),
    # get
    Row("get /a"), Row("get /none"), Row("get /a -w json"), Row("get /a -w fields"), Row("get /a -w simple"), Row("get /a -w table"),
    Row("get /a --hex"), Row("get /a --print-value-only"), Row("get"), Row("get ''"), Row("get /k/ /k/c"),
    Row("get --prefix /k/"), Row("get --prefix ''"), Row("get --from-key /k/c"), Row("get --prefix --keys-only /k/"),
    Row("get --prefix --count-only -w fields /k/"), Row("get --prefix --limit=2 /k/"), Row("get --prefix --limit=2 -w json /k/"),
    *(Row(f"get --prefix --sort-by={by} --order={order} /k/") for by in ("CREATE", "KEY", "MODIFY", "VALUE") for order in ("ASCEND", "DESCEND")),
    Row("get --prefix --sort-by=VALUE /k/"), Row("get --prefix --order=DESCEND /k/"), Row("get --prefix --sort-by=VERSION --limit=1 --order=ASCEND /a"),
    Row("get /a --rev=2"), Row("get --prefix --rev=3 /"), Row("get /a --rev=99"), Row("get /a --consistency=s"), Row("get /a --consistency=l"),
    Row("get --prefix --from-key /k/"), Row("get /a --sort-by=nothing"),
    # del
    Row("del /none"), Row("del /k/a"), Row("del /k/b --prev-kv"), Row("del --prefix /k/ --prev-kv -w json"), Row("del /a -w fields"),
    Row("del"), Row("del ''"), Row("put /a 1"), Row("del --from-key /a"),
    # txn
    Row("put /a 1"), Row("txn", stdin=TXN), Row("txn", stdin=TXN), Row("txn -i", stdin=TXN), Row("txn -w json", stdin=TXN), Row("txn -w fields", stdin=TXN),
    Row("txn", stdin="\nput /t 1\nput /t 2\n\n\n"), Row("txn", stdin="\nput /t 1 --lease=99\n\n\n"), Row("txn", stdin="\nget /t --rev=999\n\n\n"),
    Row("txn", stdin="bad\n\n\n\n"), Row("txn", stdin="\n\n\n"),
    # watch
    Row("put /w/a 1"), Row("put /w/a 2"), Row("put /w/b 1"), Row("del /w/a"),
    Row("watch --rev=2 /a", lines=3), Row("watch --prefix --rev=2 /w/", lines=12), Row("watch --prefix --rev=2 --prev-kv /w/", lines=15),
    Row("watch --rev=2 /w/a /w/z", lines=12), Row("watch --rev=2 --prefix /w -w json", lines=1),
    Row("watch -i", stdin="watch --rev=2 /w/b\n", lines=3), Row("watch -i", stdin="watch --rev=2 --prefix /w/\nwatch /other\n", lines=12),
    Row("watch"),
    # leases
    Row("lease grant 100", keep="lease"), Row("lease grant 100 -w json"), Row("lease grant x"), Row("lease grant 9000000001"),
    Row("put /l 1 --lease={lease}"), Row("put /l 2 --ignore-lease"), Row("get /l -w json"), Row("lease keep-alive --once {lease}"),
    Row("lease keep-alive {lease}", lines=1), Row("lease timetolive {lease} --keys"), Row("lease timetolive 99"),
    Row("lease timetolive 99 -w json"), Row("lease keep-alive 99"), Row("lease revoke 99"), Row("lease revoke {lease}"), Row("get /l"),
    Row("lease list"),
    # locks and elections
    Row("lock /lock echo held"), Row("lock /lock -- sh -c 'exit 3'"), Row("lock /lock", lines=1), Row("elect /election me", lines=2),
    Row("elect /election"), Row("elect"),
    # compaction
    Row("compaction 5"), Row("compaction 5"), Row("compaction 999"), Row("compaction 6 --physical"), Row("compaction"),
    Row("get /a --rev=4"), Row("get /a --rev=6"), Row("watch --rev=2 /a"), Row("txn", stdin="\nget /t --rev=2\n\n\n"),
    # the cluster
    Row("endpoint health"), Row("endpoint status"), Row("endpoint status -w json"), Row("endpoint hashkv"), Row("endpoint hashkv --rev=7"),
    Row("endpoint hashkv --rev=3"), Row("endpoint health --cluster"), Row("endpoint status --cluster"),
    Row("member list"), Row("member list -w json"), Row("member list -w fields"), Row("member remove 99"), Row("member promote 99"),
    Row("member update 99 --peer-urls=http://127.0.0.1:9"), Row("member add x --peer-urls=nonsense"), Row("member add"),
    Row("move-leader 99"), Row("move-leader"), Row("alarm list"), Row("alarm disarm"), Row("defrag"), Row("snapshot save {directory}/saved"),
    Row("version"), Row("nonsense"),
)  # fmt: skip

# In our own words, or with what only one of the two has: looked at below, one by one.
DIFFERENT = {
    "auth enable": "rpc error: code = Unimplemented desc = etcdserver: authentication is not enabled",
    "auth disable": "authentication is not enabled",
    "user list": "authentication is not enabled",
    "user add me:word --interactive=false": "authentication is not enabled",
    "user get me": "authentication is not enabled",
    "role add some": "authentication is not enabled",
    "role list": "authentication is not enabled",
    "role grant-permission some readwrite /": "authentication is not enabled",
}


class Etcdctl:
    """Debian's etcdctl for one server."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.words = {"directory": str(directory)}
        self.arguments = (
            *("etcdctl", "--endpoints", server.endpoint, *server.flags),
            *ETCDCTL_PATIENT,
        )
        self.environment: Mapping[str, str] = {**os.environ, "ETCDCTL_API": "3"}

    def start(self, command: str) -> subprocess.Popen[bytes]:
        for name, value in self.words.items():
            command = command.replace(f"{{{name}}}", value)
        return subprocess.Popen(
            [*self.arguments, *shlex.split(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )

    def __call__(self, row: Row) -> str:
        """Return how it ended, and what it printed."""
        with self.start(row.command) as process:
            if row.lines:
                return self._begin(process, row)
            out, err = process.communicate(row.stdin.encode(), timeout=90)
        text = out.decode(errors="backslashreplace") + err.decode(errors="backslashreplace")
        if row.keep:
            self.words[row.keep] = re.findall(r"lease ([0-9a-f]{16})", text)[0]
        return f"{process.returncode}\n{self._normal(text)}"

    def _begin(self, process: subprocess.Popen[bytes], row: Row) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(row.stdin.encode())
        process.stdin.flush()
        read = b"".join(process.stdout.readline() for _ in range(row.lines))
        # Not an interrupt: what is started in the background of a shell is deaf to it.
        process.send_signal(signal.SIGTERM)
        try:  # who holds a lock lets it go now: that counts for revisions
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._normal(read.decode())

    def _normal(self, text: str) -> str:
        for pattern, word in (
            (re.escape(self.server.endpoint), "ENDPOINT"),
            (r"https?://(127\.0\.0\.1:\d+|ENDPOINT)", "URL"),
            (re.escape(self.words["directory"]), "DIRECTORY"),
            (r"took = [0-9.µmn]+s", "TOOK"),
            (r"/(lock|election)/[0-9a-f]+\b", r"/\1/ID"),
            # Ids are chosen by chance and printed without leading zeros: 15 digits for one in 16.
            (r"\b[0-9a-f]{12,20}\b", "ID"),
            (r'"(ID|lease)":\d+', r'"\1":ID'),
            (
                r'"(raft_term|dbSize|dbSizeInUse|raftIndex|raftAppliedIndex|raftTerm)":\d+',
                r'"\1":N',
            ),
            (r'"RaftTerm" : \d+', '"RaftTerm" : N'),
            (r"remaining\(\d+s\)", "remaining"),
            (r"ENDPOINT, \d+\n", "ENDPOINT, HASH\n"),
            (r'"version":"3\.\d+\.\d+"', "VERSION"),
            (r"3\.\d+\.\d+, [\d.]+ [kM]?B, true, false, \d+, \d+, \d+,", "STATUS"),
            (r'(?m)^\{"level":.*\}\n', ""),  # etcdctl's own log
        ):
            text = re.sub(pattern, word, text)
        return text


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Etcdctl, Etcdctl]]:
    with pair() as (one, other):
        yield (
            Etcdctl(one, tmp_path_factory.mktemp("ours")),
            Etcdctl(other, tmp_path_factory.mktemp("etcd")),
        )


def test_every_command_says_the_same(both: tuple[Etcdctl, Etcdctl]) -> None:
    problems = []
    for row in ROWS:
        mine, theirs = (etcdctl(row) for etcdctl in both)
        if mine != theirs:
            problems.append(f"{row.command}\n  ours: {mine!r}\n  etcd: {theirs!r}")
    assert not problems, "\n".join(problems)
    assert len(ROWS) > 120


def test_protobuf_output(both: tuple[Etcdctl, Etcdctl]) -> None:
    seen = []
    for etcdctl in both:
        etcdctl(Row("put /p 1"))
        with etcdctl.start("get /p -w protobuf") as process:
            out, _ = process.communicate(timeout=90)
        response = rpc_pb2.RangeResponse.FromString(out)
        assert response.header.cluster_id
        seen.append(told(response))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("command", DIFFERENT)
def test_authentication_is_refused_in_words(both: tuple[Etcdctl, Etcdctl], command: str) -> None:
    said = both[0](Row(command))
    assert said.startswith("1\n")
    assert DIFFERENT[command] in said


def test_a_snapshot_is_that_of_our_own_format(both: tuple[Etcdctl, Etcdctl]) -> None:
    """It is for `wherry store snapshot`, not for etcdctl: another format than etcd's."""
    ours, _ = both
    assert "Snapshot saved at" in ours(Row("snapshot save {directory}/another"))
    assert (Path(ours.words["directory"]) / "another").stat().st_size > 0
    assert ours(Row("snapshot status {directory}/another")).startswith("1\n")


@pytest.mark.parametrize("source", [0, 1], ids=["from ours", "to ours"])
def test_make_mirror(both: tuple[Etcdctl, Etcdctl], source: int) -> None:
    here, there = both[source], both[1 - source]
    here(Row("put /mirror/a 1"))
    destination = there.server
    flags = " ".join(
        flag.replace("--", "--dest-") if flag.startswith("--") else flag
        for flag in destination.flags
    )
    plain = "" if destination.flags else "--dest-insecure-transport"
    command = f"make-mirror --prefix /mirror/ --dest-prefix /copy{source}/ --no-dest-prefix=false"
    with here.start(f"{command} {flags} {plain} {destination.endpoint}") as process:
        try:
            _until(there, f"get /copy{source}/a --print-value-only", "0\n1\n")
            here(Row("put /mirror/b 2"))
            _until(there, f"get /copy{source}/b --print-value-only", "0\n2\n")
        finally:
            process.kill()


def _until(etcdctl: Etcdctl, command: str, want: str) -> None:
    deadline = CLOCK.monotonic() + 60
    while (said := etcdctl(Row(command))) != want:  # each takes a process
        assert CLOCK.monotonic() < deadline, f"{command}: {said!r}"
