"""Everything that this host should have, from the leases and the facts of the host.

    underlay eth0 192.168.77.1/24 mtu 1500, own lease 10.244.1.0/24
      -> flannel.1  10.244.1.0/32 mtu 1450     the tunnel (vxlan backend)
         cni0       10.244.1.1/24 mtu 1450     the pods' bridge, made before the CNI plugin needs it
         tables     one route (and neighbour, FDB entry) for each peer
         iptables   masquerade only what leaves the pod network
         10-wherry.conflist, subnet.env

The bridge is made here with a fixed hardware address because a bridge that loses its last
port, or whose first ADD failed, has the address 00:00:00:00:00:00, after which every ADD of
the plugin fails. Its MTU is the tunnel's: a pod that sends more is not told so and hangs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import msgspec

from wherry.host.ruleset import Chain, Jump, RuleSet
from wherry.overlay.diff import Tables, desired_tables
from wherry.overlay.lease import VXLAN, MacAddress, Network, SubnetLease, vtep_mac

VXLAN_OVERHEAD = 50
"""Outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 bytes."""
BRIDGE = "cni0"
CNI_FILE = "10-wherry.conflist"
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
OWNED_CHAINS = ("FLANNEL-",)


@dataclass(frozen=True, slots=True)
class Underlay:
    """The interface that carries traffic between hosts."""

    interface: str
    address: IPv4Interface
    mtu: int


@dataclass(frozen=True, slots=True)
class Vxlan:
    """The tunnel device."""

    name: str
    vni: int
    port: int
    mac: MacAddress
    mtu: int
    underlay: str
    local: IPv4Address
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge that pods are attached to."""

    name: str
    mac: MacAddress
    address: IPv4Interface
    mtu: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What this host should have."""

    underlay: Underlay
    vxlan: Vxlan | None
    bridge: Bridge
    tables: Tables
    rules: RuleSet
    cni: bytes
    subnet_env: bytes
    refused: tuple[str, ...]


def plan(
    network: Network,
    own_subnet: IPv4Network,
    leases: Iterable[SubnetLease],
    underlay: Underlay,
    *,
    cni_data_dir: str,
) -> Plan:
    """Say what the host needs to take part in the pod network.

    Args:
        network: The pod network.
        own_subnet: The subnet leased to this node.
        leases: All leases.
        underlay: Facts of the host.
        cni_data_dir: Where the CNI address plugin keeps what it gave out.
    """
    backend = network.backend
    tunnel = backend.type == VXLAN
    mtu = underlay.mtu - (VXLAN_OVERHEAD if tunnel else 0)
    gateway = own_subnet.network_address + 1
    vxlan = Vxlan(
        name=f"flannel.{backend.vni}",
        vni=backend.vni,
        port=backend.port,
        mac=vtep_mac(underlay.address.ip),
        mtu=mtu,
        underlay=underlay.interface,
        local=underlay.address.ip,
        address=own_subnet.network_address,
    )
    wanted = desired_tables(
        leases, own_subnet=own_subnet, underlay=underlay.address, backend=backend
    )
    return Plan(
        underlay=underlay,
        vxlan=vxlan if tunnel else None,
        bridge=Bridge(
            name=BRIDGE,
            # The scheme of the CNI plugins for an address: 0a:58 and its four bytes.
            mac=MacAddress(":".join(f"{b:02x}" for b in (0x0A, 0x58, *gateway.packed))),
            address=IPv4Interface((gateway, own_subnet.prefixlen)),
            mtu=mtu,
        ),
        tables=wanted.tables,
        rules=masquerade_rules(network.cidr, own_subnet),
        cni=cni_config(own_subnet, mtu, cni_data_dir),
        subnet_env=subnet_env(network.cidr, own_subnet, mtu),
        refused=wanted.refused,
    )


def masquerade_rules(network: IPv4Network, own_subnet: IPv4Network) -> RuleSet:
    """Hide pods behind their host only from the world outside of the pod network.

    What the service proxy marked (0x4000) is its business. Traffic from elsewhere into a
    pod subnet on another host is masqueraded, so that the answer comes back this way.
    """
    note = '-m comment --comment "flanneld masq"'
    forward = '-m comment --comment "flanneld forward"'
    return RuleSet(
        chains={
            Chain("nat", "FLANNEL-POSTRTG"): (
                f"-m mark --mark 0x4000/0x4000 {note} -j RETURN",
                f"-s {network} -d {network} {note} -j RETURN",
                f"-s {network} ! -d 224.0.0.0/4 {note} -j MASQUERADE --random-fully",
                f"! -s {network} -d {own_subnet} {note} -j RETURN",
                f"! -s {network} -d {network} {note} -j MASQUERADE --random-fully",
            ),
            Chain("filter", "FLANNEL-FWD"): (
                f"-s {network} {forward} -j ACCEPT",
                f"-d {network} {forward} -j ACCEPT",
            ),
        },
        jumps=(
            Jump(Chain("nat", "POSTROUTING"), f"{note} -j FLANNEL-POSTRTG"),
            Jump(Chain("filter", "FORWARD"), f"{forward} -j FLANNEL-FWD"),
        ),
    )


def cni_config(subnet: IPv4Network, mtu: int, data_dir: str) -> bytes:
    """Write the CNI network list that containerd runs for each pod.

    A default route by `routes` and not by `isDefaultGateway`: both together fail with
    "file exists". No `ipMasq`: masquerading is the overlay's.
    """
    conflist = {
        "cniVersion": "0.4.0",
        "name": "wherry",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "mtu": mtu,
                "ipam": {
                    "type": "host-local",
                    "dataDir": data_dir,
                    "ranges": [[{"subnet": str(subnet)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }
    return msgspec.json.format(msgspec.json.encode(conflist), indent=2) + b"\n"


def subnet_env(network: IPv4Network, subnet: IPv4Network, mtu: int) -> bytes:
    """Write flannel's subnet.env; the gateway's address stands for the subnet, as there."""
    return (
        f"FLANNEL_NETWORK={network}\n"
        f"FLANNEL_SUBNET={subnet.network_address + 1}/{subnet.prefixlen}\n"
        f"FLANNEL_MTU={mtu}\n"
        "FLANNEL_IPMASQ=true\n"
    ).encode()
