"""Subnet leases: whose pods live where, in flannel's own form.

The API server keeps one `NetworkConfig` named `config` (flannel's net-conf.json) and one
`SubnetLease` for each node, named after its subnet: `10.244.1.0-24`. That a name exists
once is what makes allocation safe without a lock: two nodes that choose the same subnet
both try to create the same name, and the loser looks again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Any, NewType

import msgspec

from wherry.api.errors import ConfigError
from wherry.api.objects import Node, ObjectMeta, View
from wherry.api.times import format_time, parse_time

MacAddress = NewType("MacAddress", str)
LIFETIME_S = 24 * 3600.0
RENEW_AFTER_S = 3600.0
VXLAN = "vxlan"
HOST_GW = "host-gw"


class Backend(View, frozen=True):
    """How packets travel between hosts: Type is vxlan or host-gw."""

    type: str = msgspec.field(name="Type", default=VXLAN)
    vni: int = msgspec.field(name="VNI", default=1)
    port: int = msgspec.field(name="Port", default=8472)
    direct_routing: bool = msgspec.field(name="DirectRouting", default=False)


class NetworkConfig(View, frozen=True):
    """flannel's net-conf.json; every default is flannel's."""

    metadata: ObjectMeta = ObjectMeta()
    network: str = msgspec.field(name="Network", default="10.244.0.0/16")
    subnet_len: int = msgspec.field(name="SubnetLen", default=24)
    subnet_min: str = msgspec.field(name="SubnetMin", default="")
    subnet_max: str = msgspec.field(name="SubnetMax", default="")
    backend: Backend = msgspec.field(name="Backend", default_factory=Backend)


class BackendData(View, frozen=True):
    """What a VXLAN peer must know."""

    vni: int = msgspec.field(name="VNI", default=0)
    vtep_mac: str = msgspec.field(name="VtepMAC", default="")


class SubnetLease(View, frozen=True):
    """One node's claim to a subnet, as stored."""

    metadata: ObjectMeta = ObjectMeta()
    public_ip: str = msgspec.field(name="PublicIP", default="")
    backend_type: str = msgspec.field(name="BackendType", default="")
    backend_data: BackendData = msgspec.field(name="BackendData", default_factory=BackendData)
    expiration: str = msgspec.field(name="Expiration", default="")
    node: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """The pod network and how it is cut into subnets, checked."""

    cidr: IPv4Network
    subnet_len: int
    first: IPv4Address
    last: IPv4Address
    backend: Backend

    def subnets(self) -> Iterator[IPv4Network]:
        """Yield every subnet that may be leased, from the lowest."""
        step = 1 << (32 - self.subnet_len)
        for address in range(int(self.first), int(self.last) + 1, step):
            yield IPv4Network((address, self.subnet_len))

    def leases(self, subnet: IPv4Network) -> bool:
        """Tell whether `subnet` is one of `subnets`."""
        return (
            subnet.prefixlen == self.subnet_len
            and self.first <= subnet.network_address <= self.last
        )


def parse_network(config: NetworkConfig) -> Network:
    """Check a network configuration.

    Raises:
        ConfigError: it cannot work; says which field.
    """
    try:
        cidr = IPv4Network(config.network)
    except ValueError as error:
        raise ConfigError(f"network configuration: Network: {error}") from error
    if not cidr.prefixlen < config.subnet_len <= 30:
        raise ConfigError(
            f"network configuration: SubnetLen must be {cidr.prefixlen + 1} to 30 in {cidr}, "
            f"not {config.subnet_len}"
        )
    if config.backend.type not in (VXLAN, HOST_GW):
        raise ConfigError(
            f"network configuration: Backend.Type must be vxlan or host-gw, "
            f"not {config.backend.type!r}"
        )
    size = 1 << (32 - config.subnet_len)
    first = _bound(config.subnet_min, "SubnetMin", cidr.network_address + size, cidr, size)
    last = _bound(config.subnet_max, "SubnetMax", cidr.broadcast_address + 1 - size, cidr, size)
    return Network(cidr, config.subnet_len, first, last, config.backend)


def _bound(
    text: str, field: str, default: IPv4Address, cidr: IPv4Network, size: int
) -> IPv4Address:
    if not text:
        return default
    try:
        address = IPv4Address(text)
    except AddressValueError as error:
        raise ConfigError(f"network configuration: {field}: {error}") from error
    if address not in cidr or int(address) % size:
        raise ConfigError(f"network configuration: {field} {text} is no subnet of {cidr}")
    return address


def lease_name(subnet: IPv4Network) -> str:
    """Return flannel's key of a subnet: `10.244.1.0-24`."""
    return f"{subnet.network_address}-{subnet.prefixlen}"


def subnet_of(lease: SubnetLease) -> IPv4Network | None:
    """Return the subnet that a lease is named after, None for any other name."""
    try:
        return IPv4Network(lease.metadata.name.replace("-", "/"))
    except (AddressValueError, NetmaskValueError, ValueError):
        return None


def vtep_mac(public_ip: IPv4Address) -> MacAddress:
    """Return the hardware address of a host's tunnel endpoint.

    It follows from the host's address, so that a device made anew is the same to every peer.
    """
    return MacAddress(":".join(f"{byte:02x}" for byte in (0x0A, 0x77, *public_ip.packed)))


@dataclass(frozen=True, slots=True)
class Keep:
    """The node holds this lease already."""

    lease: SubnetLease


@dataclass(frozen=True, slots=True)
class Take:
    """Create the lease of `subnet`, after deleting `reclaim` where that stands in the way."""

    subnet: IPv4Network
    reclaim: SubnetLease | None = None


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Every subnet is leased to a node that exists or may return."""

    subnets: int


Choice = Keep | Take | Exhausted


def allocate(
    network: Network,
    leases: Iterable[SubnetLease],
    *,
    node: str,
    public_ip: str,
    preferred: Sequence[IPv4Network],
    nodes: Collection[str],
    now: float,
) -> Choice:
    """Choose this node's subnet.

    The node's own lease first; then what it had before (`preferred`); then what was leased
    to this very address under a name that is gone; then the lowest free one; and only when
    none is free, the longest expired one of a node that is gone: a node that is merely away
    finds its subnet again.

    Args:
        network: What may be leased.
        leases: All leases.
        node: Our node's name.
        public_ip: Our address on the underlay.
        preferred: Subnets that pods of this node may still use, best first.
        nodes: Names of the nodes that exist.
        now: Epoch seconds.
    """
    held = {s: lease for lease in leases if (s := subnet_of(lease)) is not None}
    mine = sorted(s for s, lease in held.items() if lease.node == node)
    if kept := next((s for s in mine if network.leases(s)), None):
        return Keep(held[kept])
    same_host = sorted(
        s
        for s, lease in held.items()
        if lease.public_ip == public_ip and lease.node not in nodes and network.leases(s)
    )
    for subnet in (*preferred, *same_host):
        if subnet in same_host:
            return Take(subnet, held[subnet])
        if network.leases(subnet) and not _taken(subnet, held):
            return Take(subnet)
    free = (s for s in network.subnets() if not _taken(s, held))
    if found := next(free, None):
        return Take(found)
    gone = [
        (expires_at(lease), s)
        for s, lease in held.items()
        if lease.node not in nodes and expires_at(lease) <= now and network.leases(s)
    ]
    if gone:
        _, subnet = min(gone)
        return Take(subnet, held[subnet])
    return Exhausted(sum(1 for _ in network.subnets()))


def _taken(subnet: IPv4Network, held: dict[IPv4Network, SubnetLease]) -> bool:
    if subnet in held:
        return True
    # Leases of another length remain from before a change of the configuration.
    others = (s for s in held if s.prefixlen != subnet.prefixlen)
    return any(subnet.overlaps(other) for other in others)


def expires_at(lease: SubnetLease) -> float:
    """Return the lease's end in epoch seconds; 0 where it states none that can be read."""
    try:
        return parse_time(lease.expiration)
    except ValueError:
        return 0.0


def renewal_due(lease: SubnetLease, now: float) -> bool:
    """Tell whether an hour of the lease's day has passed."""
    return expires_at(lease) - now <= LIFETIME_S - RENEW_AFTER_S


def lease_object(
    subnet: IPv4Network,
    network: Network,
    *,
    node: str,
    owner: Node | None,
    public_ip: str,
    now: float,
) -> dict[str, Any]:
    """Build the lease as it should be stored; it is deleted with the Node that owns it."""
    metadata: dict[str, Any] = {"name": lease_name(subnet)}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "name": owner.metadata.name,
                "uid": owner.metadata.uid,
            }
        ]
    data: dict[str, Any] = {}
    if network.backend.type == VXLAN:
        data = {"VNI": network.backend.vni, "VtepMAC": vtep_mac(IPv4Address(public_ip))}
    return {
        "apiVersion": "wherry.io/v1",
        "kind": "SubnetLease",
        "metadata": metadata,
        "PublicIP": public_ip,
        "BackendType": network.backend.type,
        "BackendData": data,
        "Expiration": format_time(now + LIFETIME_S),
        "node": node,
    }
