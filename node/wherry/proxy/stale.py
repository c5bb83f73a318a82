"""Which connection tracking entries still lead where no rule would send them now.

NAT is decided by a connection's first packet. UDP has no connections: a client that keeps
using one socket keeps its entry alive, and with it an endpoint that is gone, or, where the
entry was made before there were endpoints, no endpoint at all.

TCP's connections end by themselves, and one that stands is left alone: its pod may be
finishing what it began. But a SYN that nobody answered leaves an entry for two minutes; what
the client sends again goes to the lost endpoint, and so does a new connection from the same
port, which Linux chose again after seven seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from wherry.proxy.portal import Portal


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """An entry: the client's packet as it came, and who answers it.

    Attributes:
        protocol: `udp`, or `tcp` for a connection that was asked for and never answered.
    """

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    answered_by: str
    answered_port: int


def stale_flows(
    flows: Iterable[Flow],
    portals: Iterable[Portal],
    *,
    local_addresses: frozenset[str],
    service_cidr: IPv4Network,
) -> list[Flow]:
    """Return the entries to delete, sorted.

    Args:
        flows: UDP entries, and TCP's that nobody answered.
        portals: What the rules now say.
        local_addresses: Addresses of this host, on which node ports answer.
        service_cidr: Where cluster IPs come from: what was translated there and belongs to no
            portal belonged to a Service that is gone.
    """
    ends = _ends(portals, local_addresses)
    return sorted(flow for flow in flows if _stale(flow, ends, service_cidr))


_Address = tuple[str, int]
_Ends = dict[tuple[str, str, int], frozenset[_Address]]


def _ends(portals: Iterable[Portal], local_addresses: frozenset[str]) -> _Ends:
    """Return who may answer, by the protocol and address that a client sends to."""
    ends: _Ends = {}
    for portal in portals:
        allowed = frozenset((backend.address, backend.port) for backend in portal.backends)
        for address in (portal.cluster_ip, *portal.external_ips):
            ends[(portal.protocol, address, portal.port)] = allowed
        for address in local_addresses if portal.node_port else ():
            ends[(portal.protocol, address, portal.node_port)] = allowed
    return ends


def _stale(flow: Flow, ends: _Ends, service_cidr: IPv4Network) -> bool:
    destination = (flow.destination, flow.destination_port)
    answered = (flow.answered_by, flow.answered_port)
    allowed = ends.get((flow.protocol, *destination))
    if allowed is not None:
        return answered not in allowed
    return answered != destination and IPv4Address(flow.destination) in service_cidr
