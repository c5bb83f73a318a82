"""Members of the store on hosts of their own: network namespaces on one bridge, and their links.

    ws-PID-net: br0 -- veth -- eth0 192.168.78.N in ws-PID-mN

Clients reach members by their Unix sockets, which no cut link touches; so what is cut is what
stands between members. A link is cut in one direction where the packets would arrive. The
kernel that tests run on may have no netem: loss is nftables' dice, delay a narrow pipe (tbf).
Nothing that begins with the prefix is left behind; what a killed run has left, the next removes.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from netns_lab import namespaces, remove_stale, sh
from store_process import Host, Processes

PREFIX = "ws"


class Hosts:
    """Namespaces m1, m2, ..., and what is between them."""

    def __init__(self, count: int) -> None:
        self._name = f"{PREFIX}-{os.getpid()}"
        self.names = tuple(f"m{number + 1}" for number in range(count))
        self.hosts = {
            name: Host(f"192.168.78.{number + 1}", ("nsenter", f"--net={self._path(name)}", "--"))
            for number, name in enumerate(self.names)
        }

    def _path(self, name: str) -> str:
        return f"/run/netns/{self._name}-{name}"

    def _in(self, name: str, *command: str, stdin: str = "") -> str:
        return sh("nsenter", f"--net={self._path(name)}", "--", *command, stdin=stdin)

    def start(self) -> None:
        remove_stale(PREFIX)
        net = f"{self._name}-net"
        sh("ip", "netns", "add", net)
        sh("ip", "-n", net, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", net, "link", "set", "br0", "up")
        for name in self.names:
            there = f"{self._name}-{name}"
            sh("ip", "netns", "add", there)
            sh("ip", "-n", there, "link", "set", "lo", "up")
            sh("ip", "-n", net, "link", "add", name, "type", "veth", "peer", "name", "eth0",
               "netns", there)  # fmt: skip
            sh("ip", "-n", net, "link", "set", name, "master", "br0", "up")
            sh("ip", "-n", there, "addr", "add", f"{self.hosts[name].address}/24", "dev", "eth0")
            sh("ip", "-n", there, "link", "set", "eth0", "up")
            table = "table ip cut { chain input { type filter hook input priority 0; }; }\n"
            self._in(name, "nft", "-f", "-", stdin=table)

    def close(self) -> None:
        for name in namespaces():
            if name.startswith(f"{self._name}-"):
                sh("ip", "netns", "del", name)

    # ---- links

    def half_cut(self, source: str, to: str) -> None:
        """Let nothing from `source` arrive at `to`; the other direction stays."""
        self._rule(to, source, "drop")

    def cut(self, group: Iterable[str], other: Iterable[str]) -> None:
        """Let nothing pass between two groups."""
        there = tuple(other)
        for one in group:
            for two in there:
                self.half_cut(one, two)
                self.half_cut(two, one)

    def isolate(self, name: str) -> None:
        """Cut one member off from all others."""
        self.cut([name], [other for other in self.names if other != name])

    def lose(self, percent: int) -> None:
        """Lose so many of all packets, in every direction."""
        for name in self.names:
            for other in self.names:
                if other != name:
                    self._rule(name, other, f"numgen random mod 100 < {percent} drop")

    def narrow(self, rate: str) -> None:
        """Make what each member sends wait in a queue: `rate` as tc has it."""
        for name in self.names:
            self._in(
                name,
                *("tc", "qdisc", "replace", "dev", "eth0", "root"),
                *("tbf", "rate", rate, "burst", "16kb", "latency", "300ms"),
            )

    def heal(self) -> None:
        """Undo all of the above."""
        for name in self.names:
            self._in(name, "nft", "flush", "chain", "ip", "cut", "input")
            with contextlib.suppress(AssertionError):  # there is none
                self._in(name, "tc", "qdisc", "del", "dev", "eth0", "root")

    def _rule(self, to: str, source: str, verdict: str) -> None:
        rule = f"add rule ip cut input ip saddr {self.hosts[source].address} {verdict}\n"
        self._in(to, "nft", "-f", "-", stdin=rule)


def left_behind() -> list[str]:
    """Return the namespaces of this process that still stand."""
    return [name for name in namespaces() if name.startswith(f"{PREFIX}-{os.getpid()}-")]


@contextlib.contextmanager
def hosts(count: int) -> Iterator[Hosts]:
    """Make hosts and remove them whatever happens."""
    made = Hosts(count)
    try:
        made.start()
        yield made
    finally:
        made.close()


@contextlib.asynccontextmanager
async def members(
    count: int, *, flags: Sequence[str] = ()
) -> AsyncIterator[tuple[Processes, Hosts]]:
    """Run members, each on its host; they answer when the block begins."""
    with hosts(count) as where:
        processes = Processes(count, flags=flags, hosts=where.hosts)
        try:
            processes.start_all()
            await processes.ready()
            yield processes, where
        finally:
            processes.close()
