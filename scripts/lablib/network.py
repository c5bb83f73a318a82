"""The lab's cables: namespaces, one bridge, a veth for every host and one for the root namespace.

    root namespace                      LAB-underlay                    LAB-node-1
    wry-LAB 172.30.X.1  ---- veth ---- [uplink   br0   p-node-1] ---- veth ---- eth0 172.30.X.101

The bridge has a namespace of its own, so that the machine's firewall and its bridges do
not meet it. Hosts have a default route to the root namespace, which forwards nothing for
them: without one, a host could not even try an address that its proxy would translate.
"""

import json
import re
from collections.abc import Sequence
from ipaddress import IPv4Network

from lablib.layout import NETNS, Layout
from lablib.names import Host
from lablib.shell import attempt, in_netns, run


def create(layout: Layout) -> None:
    """Make everything; nothing of it may exist yet.

    Raises:
        LabError: a step failed; `destroy` removes what came before it.
    """
    underlay, uplink = layout.underlay, layout.uplink
    _batch(
        None,
        [
            f"netns add {underlay}",
            *(f"netns add {layout.netns(host)}" for host in layout.hosts),
            f"link add {uplink} type veth peer name uplink netns {underlay}",
            f"addr add {layout.root_address}/{layout.network.prefixlen} dev {uplink}",
            f"link set {uplink} up",
        ],
    )
    _batch(
        underlay,
        [
            "link set lo up",
            "link add br0 type bridge forward_delay 0",
            "link set br0 up",
            "link set uplink master br0 up",
            *(
                f"link add {layout.port(host)} type veth peer name eth0 netns {layout.netns(host)}"
                for host in layout.hosts
            ),
            *(f"link set {layout.port(host)} master br0 up" for host in layout.hosts),
        ],
    )
    for host in layout.hosts:
        _batch(
            layout.netns(host),
            [
                "link set lo up",
                f"addr add {layout.address(host)}/{layout.network.prefixlen} dev eth0",
                "link set eth0 up",
                f"route add default via {layout.root_address}",
            ],
        )
        run(in_netns(layout.netns(host), ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))


def destroy(lab: str, uplink: str) -> None:
    """Remove whatever of it exists. Harmless when nothing does."""
    attempt(["ip", "link", "delete", uplink])
    for netns in namespaces(lab):
        attempt(["ip", "netns", "delete", netns])


def namespaces(lab: str) -> list[str]:
    """The names of the lab's namespaces that exist."""
    if not NETNS.is_dir():
        return []
    ours = ("underlay", "registry", "master-", "node-")
    return sorted(
        file.name
        for file in NETNS.iterdir()
        if file.name.startswith(tuple(f"{lab}-{kind}" for kind in ours))
    )


def cut(layout: Layout, host: Host) -> None:
    """Pull the host's cable at the bridge's end: the host keeps its addresses and routes."""
    run(["ip", "-n", layout.underlay, "link", "set", layout.port(host), "down"])


def heal(layout: Layout, host: Host) -> None:
    """Plug it in again."""
    run(["ip", "-n", layout.underlay, "link", "set", layout.port(host), "up"])


def is_cut(layout: Layout, host: Host) -> bool:
    """Whether the host's cable is pulled."""
    text = run(["ip", "-j", "-n", layout.underlay, "link", "show", layout.port(host)])
    flags: list[str] = json.loads(text)[0]["flags"]
    return "UP" not in flags


def routed_networks() -> list[IPv4Network]:
    """What this machine's routes cover, its own addresses included."""
    found = []
    for route in json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"])):
        destination = "0.0.0.0/0" if route["dst"] == "default" else route["dst"]
        found.append(IPv4Network(destination, strict=False))
    return found


def listener(layout: Layout, host: Host, port: int) -> str | None:
    """Who listens on a TCP port of the host, in words; None if nobody does."""
    table = run(in_netns(layout.netns(host), ["ss", "-H", "-ltnp", f"sport = :{port}"])).strip()
    if not table:
        return None
    # ... users:(("python",pid=24336,fd=22))
    found = re.search(r'\("([^"]*)",pid=(\d+)', table)
    return f"{found[1]} (pid {found[2]})" if found else "somebody"


def _batch(netns: str | None, lines: Sequence[str]) -> None:
    inside = [] if netns is None else ["-n", netns]
    run(
        ["ip", *inside, "-batch", "-"],
        stdin="\n".join(lines) + "\n",
        advice="run `scripts/lab down` and try again",
    )
