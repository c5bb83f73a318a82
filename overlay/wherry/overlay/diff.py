"""From subnet leases to kernel entries, and from there to the fewest changes.

For each remote node the kernel needs three entries (the flannel VXLAN scheme):

    route   10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
    neigh   10.244.2.0    lladdr <vtep mac>
    fdb     <vtep mac>    dst <the node's public address>

or, where both hosts are on one layer 2 segment and the backend says so (host-gw), one:

    route   10.244.2.0/24 via <the node's public address> dev eth0

A route through the tunnel whose neighbour or FDB entry is missing drops packets in silence,
so the order is part of the result: entries are put bottom-up and deleted top-down, and
after every single operation each route still has its neighbour and FDB entry.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TypeVar

from wherry.overlay.lease import HOST_GW, Backend, MacAddress, SubnetLease, subnet_of


@dataclass(frozen=True, slots=True, order=True)
class Fdb:
    """Bridge forwarding entry: which host carries this tunnel endpoint."""

    mac: MacAddress
    dst: IPv4Address


@dataclass(frozen=True, slots=True, order=True)
class Neigh:
    """Permanent neighbour (ARP) entry for a remote tunnel endpoint."""

    ip: IPv4Address
    mac: MacAddress


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """Route to a remote pod subnet; through the tunnel, or `direct` through the underlay."""

    dst: IPv4Network
    gateway: IPv4Address
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Tables:
    """Our entries, each table keyed as the kernel keys it."""

    fdb: dict[MacAddress, Fdb]
    neigh: dict[IPv4Address, Neigh]
    routes: dict[IPv4Network, Route]


Entry = Fdb | Neigh | Route


@dataclass(frozen=True, slots=True)
class Put:
    """Create the entry, or replace the one with the same key (NLM_F_REPLACE)."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the entry."""

    entry: Entry


Op = Put | Delete

_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
K = TypeVar("K", MacAddress, IPv4Address, IPv4Network)
E = TypeVar("E", Fdb, Neigh, Route)


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be in the kernel, and a sentence for each peer that cannot be reached."""

    tables: Tables
    refused: tuple[str, ...] = ()


def desired_tables(
    leases: Iterable[SubnetLease],
    *,
    own_subnet: IPv4Network,
    underlay: IPv4Interface,
    backend: Backend,
) -> Desired:
    """Say which entries this node should have, leaving out its own lease.

    Args:
        leases: All leases.
        own_subnet: Ours.
        underlay: Our address on the underlay, with its prefix: who is in it is on our segment.
        backend: What this cluster uses.
    """
    tables = Tables({}, {}, {})
    refused: list[str] = []
    for lease in sorted(leases, key=lambda found: found.metadata.name):
        subnet = subnet_of(lease)
        if subnet == own_subnet:
            continue
        problem = _problem(lease, subnet, underlay, backend)
        if problem or subnet is None:
            refused.append(f"subnet lease {lease.metadata.name} of node {lease.node}: {problem}")
            continue
        public_ip = IPv4Address(lease.public_ip)
        if backend.type == HOST_GW or (backend.direct_routing and public_ip in underlay.network):
            tables.routes[subnet] = Route(subnet, public_ip, direct=True)
            continue
        gateway, mac = subnet.network_address, MacAddress(lease.backend_data.vtep_mac.lower())
        tables.fdb[mac] = Fdb(mac, public_ip)
        tables.neigh[gateway] = Neigh(gateway, mac)
        tables.routes[subnet] = Route(subnet, gateway)
    return Desired(tables, tuple(refused))


def _problem(
    lease: SubnetLease, subnet: IPv4Network | None, underlay: IPv4Interface, backend: Backend
) -> str:
    """Return why no packet could reach the peer, "" if it can be reached."""
    try:
        public_ip = IPv4Address(lease.public_ip)
    except ValueError:
        return f"PublicIP {lease.public_ip!r} is no IPv4 address"
    if subnet is None:
        return "its name is no subnet"
    if public_ip == underlay.ip:
        return f"PublicIP {public_ip} is our own"
    if lease.backend_type != backend.type:
        return f"its backend is {lease.backend_type!r}, ours {backend.type!r}"
    if backend.type == HOST_GW:
        return _host_gw_problem(public_ip, underlay)
    return _vxlan_problem(lease, backend)


def _host_gw_problem(public_ip: IPv4Address, underlay: IPv4Interface) -> str:
    if public_ip in underlay.network:
        return ""
    return (
        f"host-gw needs both hosts on one layer 2 network, and {public_ip} is not in "
        f"{underlay.network}: use the vxlan backend"
    )


def _vxlan_problem(lease: SubnetLease, backend: Backend) -> str:
    data = lease.backend_data
    if not _MAC.fullmatch(data.vtep_mac):
        return f"VtepMAC {data.vtep_mac!r} is no hardware address"
    if data.vni not in (0, backend.vni):
        return f"its VNI is {data.vni}, ours {backend.vni}"
    return ""


def diff(desired: Tables, actual: Tables) -> list[Op]:
    """Return the operations that turn `actual` into `desired`, in a safe order."""
    return [
        *_puts(desired.fdb, actual.fdb),
        *_puts(desired.neigh, actual.neigh),
        *_puts(desired.routes, actual.routes),
        *_deletes(desired.routes, actual.routes),
        *_deletes(desired.neigh, actual.neigh),
        *_deletes(desired.fdb, actual.fdb),
    ]


def _puts(desired: dict[K, E], actual: dict[K, E]) -> list[Put]:
    changed = [entry for key, entry in desired.items() if actual.get(key) != entry]
    return [Put(entry) for entry in sorted(changed)]


def _deletes(desired: dict[K, E], actual: dict[K, E]) -> list[Delete]:
    return [Delete(entry) for entry in sorted(e for k, e in actual.items() if k not in desired)]
