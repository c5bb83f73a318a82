"""From Services and EndpointSlices to portals: one per service port, with its endpoints chosen.

Which endpoints count (kube-proxy's rules, `CategorizeEndpoints`):

    policy    first choice        if there is none
    Cluster   ready               serving and terminating
    Local     ready and on us     serving, terminating and on us

An endpoint is ready when its condition says so or is unknown. A pod that is shutting down
but still serving is better than nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from wherry.api.objects import Endpoint, EndpointSlice, Service, ServicePort

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_PROTOCOLS = ("TCP", "UDP", "SCTP")


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """An address and port that a connection may be sent to."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Portal:
    """A service port: where it can be reached, and who answers.

    Attributes:
        name: `namespace/service:port`, without the port's name where it has none.
        protocol: `tcp`, `udp` or `sctp`.
        cluster_ip: The service's address inside the cluster.
        port: Its port there and on external addresses.
        node_port: Its port on every node, 0 for none.
        external_ips: Other addresses that are routed to us.
        affinity_s: How long a client stays with its endpoint; 0 for no affinity.
        internal_local: internalTrafficPolicy is Local.
        external_local: externalTrafficPolicy is Local.
        cluster: Endpoints under policy Cluster, sorted.
        local: Endpoints under policy Local, sorted.
    """

    name: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    affinity_s: int = 0
    internal_local: bool = False
    external_local: bool = False
    cluster: tuple[Backend, ...] = ()
    local: tuple[Backend, ...] = ()

    @property
    def external(self) -> bool:
        """Tell whether it can be reached from outside of the cluster."""
        return bool(self.node_port or self.external_ips)

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Return every endpoint that some traffic may be sent to."""
        return tuple(sorted({*self.cluster, *self.local}))


def portals(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    *,
    node: str,
    skip: frozenset[str] = frozenset(),
) -> list[Portal]:
    """Return all portals, sorted by name and protocol.

    Args:
        services: All services.
        slices: All endpoint slices.
        node: Our node: whose endpoints are local.
        skip: Cluster addresses that somebody else answers on this node (the cluster DNS).
    """
    by_service: dict[str, list[EndpointSlice]] = {}
    for one in slices:
        if one.address_type == "IPv4" and not one.metadata.deleting:
            name = one.metadata.labels.get(SERVICE_NAME_LABEL, "")
            by_service.setdefault(f"{one.metadata.namespace}/{name}", []).append(one)
    found = [
        _portal(service, port, by_service.get(service.metadata.key, ()), node)
        for service in services
        if has_cluster_ip(service) and service.spec.cluster_ip not in skip
        for port in service.spec.ports
        if port.protocol in _PROTOCOLS
    ]
    return sorted(found, key=lambda portal: (portal.name, portal.protocol))


def has_cluster_ip(service: Service) -> bool:
    """Tell whether the service has an IPv4 address: not headless, not an external name."""
    if service.spec.type == "ExternalName":
        return False
    try:
        IPv4Address(service.spec.cluster_ip)
    except ValueError:
        return False
    return True


def _portal(
    service: Service, port: ServicePort, slices: Sequence[EndpointSlice], node: str
) -> Portal:
    spec = service.spec
    endpoints = _endpoints(port, slices)
    name = service.metadata.key + (f":{port.name}" if port.name else "")
    external = spec.type in ("NodePort", "LoadBalancer")
    return Portal(
        name=name,
        protocol=port.protocol.lower(),
        cluster_ip=spec.cluster_ip,
        port=port.port,
        node_port=port.node_port if external else 0,
        external_ips=tuple(sorted(ip for ip in spec.external_ips if ":" not in ip)),
        affinity_s=_affinity_s(service),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=spec.external_traffic_policy == "Local",
        cluster=_choose(endpoints),
        local=_choose({b: e for b, e in endpoints.items() if e.node_name == node}),
    )


def _affinity_s(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    if config is None or config.client_ip is None:
        return 10800
    return config.client_ip.timeout_seconds or 10800


def _endpoints(port: ServicePort, slices: Iterable[EndpointSlice]) -> dict[Backend, Endpoint]:
    """Return the endpoints of a service port; the slice port of the same name says where."""
    found: dict[Backend, Endpoint] = {}
    for one in slices:
        for target in one.ports:
            if (target.name or "") != port.name or target.port is None:
                continue
            if (target.protocol or "TCP") != port.protocol:
                continue
            for endpoint in one.endpoints:
                if endpoint.addresses:  # more addresses of one endpoint mean nothing (API docs)
                    found[Backend(endpoint.addresses[0], target.port)] = endpoint
    return found


def _choose(endpoints: Mapping[Backend, Endpoint]) -> tuple[Backend, ...]:
    ready = [b for b, e in endpoints.items() if e.conditions.ready is not False]
    if ready:
        return tuple(sorted(ready))
    return tuple(sorted(b for b, e in endpoints.items() if _serves_while_terminating(e)))


def _serves_while_terminating(endpoint: Endpoint) -> bool:
    conditions = endpoint.conditions
    return conditions.serving is not False and bool(conditions.terminating)
