"""The kernel's side of the overlay, by netlink.

What pyroute2 does not say, and what was measured:

* `fdb("replace")` without `flags=NTF_SELF` fails with EOPNOTSUPP (`add` sets it by itself);
* `fdb("dump", ifindex=...)` returns nothing: all entries are dumped and filtered;
* when the underlay goes down the kernel drops every route through it, and brings none back.

Routes of ours carry a protocol number of their own, so that reading back and removing never
touches what the administrator or another program has put there.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wherry.host.thread import HostError, HostThread
from wherry.overlay.diff import Fdb, Neigh, Op, Put, Route, Tables
from wherry.overlay.lease import MacAddress
from wherry.overlay.plan import Bridge, Underlay, Vxlan

P = ParamSpec("P")
R = TypeVar("R")

ROUTE_PROTOCOL: Final = 119
_RTPROT_KERNEL: Final = 2
_NUD_PERMANENT: Final = 0x80
_NTF_SELF: Final = 0x02
_RTNH_F_ONLINK: Final = 0x04
_RT_TABLE_MAIN: Final = 254
_RTN_UNICAST: Final = 1
_AF_INET: Final = 2
_SCOPE_UNIVERSE: Final = 0
_IFF_UP: Final = 1


class Kernel(Protocol):
    """What the overlay asks of the host's kernel. Every method raises `HostError`."""

    async def underlay(self, interface: str, public_ip: str) -> Underlay:
        """Return facts of the interface of that name or address, or of the default route."""
        ...

    async def prepare(self) -> None:
        """Let the host forward packets."""
        ...

    async def ensure_bridge(self, bridge: Bridge) -> None:
        """Make the bridge, or make it so."""
        ...

    async def ensure_vxlan(self, vxlan: Vxlan) -> None:
        """Make the tunnel device, or make it so; made anew only where it must be."""
        ...

    async def remove_vxlan(self, name: str) -> None:
        """Remove the tunnel device if it is there."""
        ...

    async def read(self, underlay: Underlay, vxlan: Vxlan | None) -> Tables:
        """Return our entries."""
        ...

    async def apply(self, ops: Iterable[Op], underlay: Underlay, vxlan: Vxlan | None) -> None:
        """Perform the operations in their order; deleting what is gone is no error."""
        ...


class NetlinkKernel:
    """The kernel of the host that `host` runs on."""

    def __init__(self, host: HostThread) -> None:
        self._host = host
        self._route: Any = None

    async def underlay(self, interface: str, public_ip: str) -> Underlay:
        """Find the interface that carries traffic between hosts."""
        return await self._call(_underlay, interface, public_ip)

    async def prepare(self) -> None:
        """Set `ip_forward`."""
        await self._host.write_sysctl("net/ipv4/ip_forward", "1")

    async def ensure_bridge(self, bridge: Bridge) -> None:
        """Make the bridge with its hardware address, address and MTU, and set it up."""
        await self._call(_ensure_bridge, bridge)

    async def ensure_vxlan(self, vxlan: Vxlan) -> None:
        """Make the device; VNI, port, local address and underlay cannot be changed in place."""
        await self._call(_ensure_vxlan, vxlan)

    async def remove_vxlan(self, name: str) -> None:
        """Remove the device."""
        await self._call(_remove_link, name)

    async def read(self, underlay: Underlay, vxlan: Vxlan | None) -> Tables:
        """Dump FDB, neighbours and routes, and keep what is ours."""
        return await self._call(_read, underlay, vxlan)

    async def apply(self, ops: Iterable[Op], underlay: Underlay, vxlan: Vxlan | None) -> None:
        """Perform the operations one by one."""
        await self._call(_apply, tuple(ops), underlay, vxlan)

    async def close(self) -> None:
        """Close the netlink socket."""
        if self._route is not None:
            await self._host.call(self._route.close)
            self._route = None

    async def _call(
        self, function: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        def work() -> R:
            if self._route is None:
                self._route = IPRoute()
            try:
                return function(self._route, *args, **kwargs)
            except (NetlinkError, OSError) as error:
                raise HostError(f"netlink: {function.__name__.lstrip('_')}: {error}") from error

        return await self._host.call(work)


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise HostError(f"no interface {name}")
    return int(found[0])


def _addresses(route: Any, **match: Any) -> list[tuple[int, IPv4Interface]]:
    """Return (interface index, address) of the global IPv4 addresses that match."""
    return [
        (int(a["index"]), IPv4Interface((a.get_attr("IFA_LOCAL"), a["prefixlen"])))
        for a in route.get_addr(family=_AF_INET, **match)
        if a["scope"] == _SCOPE_UNIVERSE
    ]


def _underlay(route: Any, interface: str, public_ip: str) -> Underlay:
    if interface:
        candidates = _addresses(route, index=_index(route, interface))
    elif public_ip:
        candidates = _addresses(route)
    else:
        defaults = list(route.get_default_routes(family=_AF_INET))
        outputs = {d.get_attr("RTA_OIF") for d in defaults}
        candidates = [a for a in _addresses(route) if a[0] in outputs]
    if public_ip:
        candidates = [a for a in candidates if str(a[1].ip) == public_ip]
    if not candidates:
        wanted = interface or public_ip or "the default route"
        raise HostError(f"no underlay: {wanted} has no IPv4 address here; set --iface")
    index, address = candidates[0]
    link = route.get_links(index)[0]
    return Underlay(link.get_attr("IFLA_IFNAME"), address, int(link.get_attr("IFLA_MTU")))


def _ensure_bridge(route: Any, bridge: Bridge) -> None:
    if not route.link_lookup(ifname=bridge.name):
        route.link("add", ifname=bridge.name, kind="bridge", address=bridge.mac)
    _configure(route, bridge.name, bridge.mac, bridge.address, bridge.mtu)


def _ensure_vxlan(route: Any, vxlan: Vxlan) -> None:
    wanted = {
        "vxlan_id": vxlan.vni,
        "vxlan_link": _index(route, vxlan.underlay),
        "vxlan_local": str(vxlan.local),
        "vxlan_port": vxlan.port,
        "vxlan_learning": 0,
    }
    existing = route.link_lookup(ifname=vxlan.name)
    if existing and _vxlan_options(route.get_links(existing[0])[0]) != wanted:
        route.link("del", index=existing[0])
        existing = ()
    if not existing:
        route.link("add", ifname=vxlan.name, kind="vxlan", address=vxlan.mac, **wanted)
    _configure(route, vxlan.name, vxlan.mac, IPv4Interface((vxlan.address, 32)), vxlan.mtu)


def _vxlan_options(link: Any) -> dict[str, Any]:
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info.get_attr("IFLA_INFO_KIND") == "vxlan" else None
    if data is None:
        return {}
    return {
        f"vxlan_{option.lower()}": data.get_attr(f"IFLA_VXLAN_{option}")
        for option in ("ID", "LINK", "LOCAL", "PORT", "LEARNING")
    }


def _configure(route: Any, name: str, mac: MacAddress, address: IPv4Interface, mtu: int) -> None:
    """Give a device its hardware address, MTU and the one address, and set it up."""
    index = _index(route, name)
    link = route.get_links(index)[0]
    if link.get_attr("IFLA_ADDRESS") != mac:
        route.link("set", index=index, address=mac)
    if link.get_attr("IFLA_MTU") != mtu:
        route.link("set", index=index, mtu=mtu)
    present = {a for _, a in _addresses(route, index=index)}
    if address not in present:
        route.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
    for stale in present - {address}:
        prefix = stale.network.prefixlen
        route.addr("delete", index=index, address=str(stale.ip), prefixlen=prefix)
    if not link["flags"] & _IFF_UP:
        route.link("set", index=index, state="up")


def _remove_link(route: Any, name: str) -> None:
    for index in route.link_lookup(ifname=name):
        route.link("del", index=index)


def _read(route: Any, underlay: Underlay, vxlan: Vxlan | None) -> Tables:
    under = _index(route, underlay.interface)
    tunnel = _index(route, vxlan.name) if vxlan else 0
    tables = Tables({}, {}, {})
    for found in route.get_routes(family=_AF_INET, table=_RT_TABLE_MAIN, type=_RTN_UNICAST):
        output, protocol = found.get_attr("RTA_OIF"), found["proto"]
        ours = protocol == ROUTE_PROTOCOL if output == under else protocol != _RTPROT_KERNEL
        if output not in (under, tunnel) or not ours or found.get_attr("RTA_DST") is None:
            continue
        dst = IPv4Network((found.get_attr("RTA_DST"), found["dst_len"]))
        # A route of ours without gateway is a drifted one: no entry equals it.
        gateway = IPv4Address(found.get_attr("RTA_GATEWAY") or "0.0.0.0")  # noqa: S104
        tables.routes[dst] = Route(dst, gateway, direct=output == under)
    if not tunnel:
        return tables
    for found in route.get_neighbours(family=_AF_INET, ifindex=tunnel):
        if found["state"] & _NUD_PERMANENT:
            ip = IPv4Address(found.get_attr("NDA_DST"))
            tables.neigh[ip] = Neigh(ip, MacAddress(found.get_attr("NDA_LLADDR")))
    for found in route.fdb("dump"):
        dst = found.get_attr("NDA_DST")
        if found["ifindex"] == tunnel and dst:
            mac = MacAddress(found.get_attr("NDA_LLADDR"))
            tables.fdb[mac] = Fdb(mac, IPv4Address(dst))
    return tables


def _apply(route: Any, ops: tuple[Op, ...], underlay: Underlay, vxlan: Vxlan | None) -> None:
    under = _index(route, underlay.interface)
    tunnel = _index(route, vxlan.name) if vxlan else 0
    for op in ops:
        try:
            _perform(route, op, under, tunnel)
        except NetlinkError as error:
            if isinstance(op, Put) or error.code not in _GONE:
                raise HostError(f"netlink: {op}: {error}") from error


_GONE: Final = (2, 3, 99)
"""ENOENT, ESRCH, EADDRNOTAVAIL: what the three tables say when there is nothing to delete."""


def _perform(route: Any, op: Op, under: int, tunnel: int) -> None:
    verb = "replace" if isinstance(op, Put) else "del"
    match op.entry:
        case Fdb(mac, dst):
            route.fdb(
                verb,
                ifindex=tunnel,
                lladdr=mac,
                dst=str(dst),
                state=_NUD_PERMANENT,
                flags=_NTF_SELF,
            )
        case Neigh(ip, mac):
            route.neigh(verb, ifindex=tunnel, dst=str(ip), lladdr=mac, state=_NUD_PERMANENT)
        case Route(dst, gateway, direct):
            # A deletion names the destination and the device only: a drifted gateway would
            # make the kernel miss the route.
            how = {
                "gateway": str(gateway),
                "proto": ROUTE_PROTOCOL,
                "flags": 0 if direct else _RTNH_F_ONLINK,
            }
            chosen = how if isinstance(op, Put) else {"proto": 0}
            route.route(verb, dst=str(dst), oif=under if direct else tunnel, **chosen)
