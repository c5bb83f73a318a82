"""What else the proxy needs of its host: addresses, a route to the service network, sysctls.

A packet to a cluster IP is routed before it is translated. A host without a default route
would therefore answer "network is unreachable", and pods would get no refusal either; so
where no other route covers it, the service network is routed to the underlay. It must not be
the pods' bridge: a refusal for a packet that leaves where it came in gets lost.
"""

import logging
from ipaddress import IPv4Network
from typing import Any, Final, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wherry.host.thread import HostError, HostThread

log = logging.getLogger(__name__)
ROUTE_PROTOCOL: Final = 120
_AF_INET: Final = 2
_RT_TABLE_MAIN: Final = 254
_RT_SCOPE_LINK: Final = 253
_SCOPE_UNIVERSE: Final = 0
_VIRTUAL: Final = ("bridge", "vxlan", "tun", "dummy")
"""Kinds of links that lead to pods, never to other hosts."""


class NodeHost(Protocol):
    """The host of one proxy. Every method raises `HostError`."""

    async def local_addresses(self) -> frozenset[str]:
        """Return all IPv4 addresses of the host, on which node ports answer."""
        ...

    async def prepare(self, service_cidr: IPv4Network, *, localnet: bool) -> None:
        """Make packets to cluster IPs pass through the rules; repeated, it changes nothing."""
        ...


class NetlinkNodeHost:
    """The host that `host` runs on; `interface` is the underlay, "" for the first that fits."""

    def __init__(self, host: HostThread, interface: str = "") -> None:
        self._host = host
        self._interface = interface
        self._warned = False

    async def local_addresses(self) -> frozenset[str]:
        """Read the addresses of all interfaces."""
        return await self._host.call(_with_route, _local_addresses)

    async def prepare(self, service_cidr: IPv4Network, *, localnet: bool) -> None:
        """Set the sysctls and, without a default route, the service route."""
        await self._host.write_sysctl("net/ipv4/ip_forward", "1")
        if localnet:
            await self._host.write_sysctl("net/ipv4/conf/all/route_localnet", "1")
        await self._filter_bridged()
        await self._host.call(_with_route, _ensure_service_route, service_cidr, self._interface)

    async def _filter_bridged(self) -> None:
        """Let the rules see packets between pods of one bridge.

        Without it the answer of a service's endpoint on the same node goes to its client
        directly and from an address that the client never asked.
        """
        try:
            await self._host.write_sysctl("net/bridge/bridge-nf-call-iptables", "1")
        except HostError as error:
            if not self._warned:
                log.warning("services between pods of one node will not work: %s", error)
            self._warned = True


class FakeNodeHost:
    """A host in memory."""

    def __init__(self, addresses: frozenset[str] = frozenset()) -> None:
        self.addresses = addresses
        self.prepared: list[tuple[IPv4Network, bool]] = []

    async def local_addresses(self) -> frozenset[str]:
        """Return the addresses that the test gave."""
        return self.addresses

    async def prepare(self, service_cidr: IPv4Network, *, localnet: bool) -> None:
        """Remember the call."""
        self.prepared.append((service_cidr, localnet))


def _with_route(function: Any, *args: Any) -> Any:
    try:
        with IPRoute() as route:
            return function(route, *args)
    except (NetlinkError, OSError) as error:
        raise HostError(f"netlink: {function.__name__.lstrip('_')}: {error}") from error


def _local_addresses(route: Any) -> frozenset[str]:
    return frozenset(a.get_attr("IFA_LOCAL") for a in route.get_addr(family=_AF_INET))


def _ensure_service_route(route: Any, service_cidr: IPv4Network, interface: str) -> None:
    ours, covered = [], False
    for found in route.get_routes(family=_AF_INET, table=_RT_TABLE_MAIN):
        length, dst = found["dst_len"], found.get_attr("RTA_DST")
        if found["proto"] == ROUTE_PROTOCOL:
            ours.append((IPv4Network((dst, length)), found.get_attr("RTA_OIF")))
        else:
            covered |= length == 0 or service_cidr.subnet_of(IPv4Network((dst, length)))
    output = None if covered else _underlay(route, interface)
    for dst, link in ours:
        if (dst, link) != (service_cidr, output):
            route.route("del", dst=str(dst), oif=link, proto=ROUTE_PROTOCOL)
    if output is not None and (service_cidr, output) not in ours:
        route.route(
            "replace",
            dst=str(service_cidr),
            oif=output,
            scope=_RT_SCOPE_LINK,
            proto=ROUTE_PROTOCOL,
        )


def _underlay(route: Any, interface: str) -> int:
    """Return the index of the link to the other hosts."""
    addressed = {
        a["index"] for a in route.get_addr(family=_AF_INET) if a["scope"] == _SCOPE_UNIVERSE
    }
    for link in route.get_links():
        name, info = link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info else ""
        fits = name != "lo" and link["index"] in addressed and kind not in _VIRTUAL
        if name == interface or (not interface and fits):
            return int(link["index"])
    raise HostError(f"no interface {interface or 'with a global IPv4 address'}; set --iface")
