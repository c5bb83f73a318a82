"""Where a proxied request goes: the name in its path, the port that is meant, the endpoint. Pure.

Sources: apimachinery `net.SplitSchemeNamePort`; `ResourceLocation` of kube-apiserver's storages
of pods, services and nodes. Beyond them, a port of a pod may be called by its name, and a Service
whose ports all have names may be asked for without one: its first is meant.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from wherry.api.errors import BadRequestError, ServiceUnavailableError
from wherry.api.objects import (
    Decoder,
    EndpointSlice,
    ObjectMeta,
    ObjectReference,
    ServicePort,
    View,
)

_SCHEMES = ("", "http", "https")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_MOST_PORT = 65535


class Asked(msgspec.Struct, frozen=True):
    """`[[SCHEME:]NAME[:PORT]]`, as it stands in a path; `port` is a number, a name or ""."""

    name: str
    port: str = ""
    scheme: str = ""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme == "https"


class ProxyPort(View, frozen=True):
    """A port of a container."""

    name: str = ""
    container_port: int = 0


class ProxyContainer(View, frozen=True):
    """A container, with its ports."""

    ports: tuple[ProxyPort, ...] = ()


class ProxyPodSpec(View, frozen=True):
    """Where a pod runs, and what it listens on."""

    node_name: str = ""
    containers: tuple[ProxyContainer, ...] = ()


class ProxyPodIP(View, frozen=True):
    """One of a pod's addresses."""

    ip: str = ""


class ProxyPodStatus(View, frozen=True):
    """A pod's addresses."""

    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[ProxyPodIP, ...] = msgspec.field(name="podIPs", default=())


class ProxyPod(View, frozen=True):
    """A pod, for the proxy."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ProxyPodSpec = ProxyPodSpec()
    status: ProxyPodStatus = ProxyPodStatus()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return all of its addresses, the first one first."""
        return tuple(dict.fromkeys(a for a in (self.status.pod_ip, *self._others) if a))

    @property
    def _others(self) -> tuple[str, ...]:
        return tuple(one.ip for one in self.status.pod_ips)


class EndpointsAddress(View, frozen=True):
    """An address of Endpoints."""

    ip: str = ""
    target_ref: ObjectReference | None = None


class EndpointsPort(View, frozen=True):
    """A port of Endpoints."""

    name: str = ""
    port: int = 0


class EndpointsSubset(View, frozen=True):
    """Addresses and the ports that all of them have."""

    addresses: tuple[EndpointsAddress, ...] = ()
    ports: tuple[EndpointsPort, ...] = ()


class ProxyEndpoints(View, frozen=True):
    """Endpoints, for the proxy."""

    subsets: tuple[EndpointsSubset, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """An endpoint that may be asked, and the pod behind it."""

    address: str
    port: int
    pod: str


decode_pod = Decoder(ProxyPod)
decode_slice = Decoder(EndpointSlice)
decode_endpoints = Decoder(ProxyEndpoints)


def parse_name(text: str, singular: str) -> Asked:
    """Read the name of a path.

    Raises:
        BadRequestError: it has too many parts, no name, or another scheme.
    """
    parts = text.split(":")
    match parts:
        case [name]:
            asked = Asked(name)
        case [name, port]:
            asked = Asked(name, port)
        case [scheme, name, port]:
            asked = Asked(name, port, scheme)
        case _:
            asked = Asked("")
    if not asked.name or asked.scheme not in _SCHEMES:
        raise BadRequestError(f'invalid {singular} request "{text}"')
    return asked


def pod_port(pod: ProxyPod, asked: Asked) -> int:
    """Return the port of a pod: the one asked for, else its first, else the scheme's.

    Raises:
        ServiceUnavailableError: no container has a port of that name, or it is out of range.
    """
    ports = [port for container in pod.spec.containers for port in container.ports]
    if not asked.port:
        return ports[0].container_port if ports else _usual(asked)
    if asked.port.isdecimal():
        return port_number(asked.port)
    for port in ports:
        if port.name == asked.port:
            return port.container_port
    raise unreachable(f"dial tcp: lookup tcp/{asked.port}: unknown port")


def port_number(text: str) -> int:
    """Return a port given as a number.

    Raises:
        ServiceUnavailableError: it is none.
    """
    if not text.isascii() or not text.isdecimal():
        raise unreachable(f"dial tcp: lookup tcp/{text}: unknown port")
    if len(text) > len(str(_MOST_PORT)) or not 0 < int(text) <= _MOST_PORT:
        raise unreachable(f"dial tcp: address {text}: invalid port")
    return int(text)


def unreachable(why: str) -> ServiceUnavailableError:
    """Say that what a request is for cannot be asked."""
    return ServiceUnavailableError(f"error trying to reach service: {why}")


def _usual(asked: Asked) -> int:
    return 443 if asked.secure else 80


def service_port(ports: Sequence[ServicePort], asked: Asked) -> str:
    """Return the name of the port of a Service that is meant, "" for the one without a name.

    Raises:
        ServiceUnavailableError: it has no such port, or none at all.
    """
    if _NUMBER.fullmatch(asked.port):
        number = int(asked.port)
        for port in ports:
            if port.port == number:
                return port.name
        raise ServiceUnavailableError(f'no service port {number} found for service "{asked.name}"')
    names = [port.name for port in ports]
    if asked.port and asked.port not in names:
        raise ServiceUnavailableError(
            f'no service port "{asked.port}" found for service "{asked.name}"'
        )
    if asked.port in names:
        return asked.port
    return names[0] if names else ""


def no_endpoints(name: str) -> ServiceUnavailableError:
    """Say that nobody stands behind a Service."""
    return ServiceUnavailableError(f'no endpoints available for service "{name}"')


def of_slices(slices: Iterable[EndpointSlice], port: str, namespace: str) -> list[Candidate]:
    """Return the ready endpoints of pods that have a port of that name."""
    return [
        Candidate(endpoint.addresses[0], number, pod)
        for one in slices
        for number in [p.port for p in one.ports if (p.name or "") == port and p.port][:1]
        for endpoint in one.endpoints
        if endpoint.addresses and endpoint.conditions.ready is not False
        for pod in _pod(endpoint.target_ref, namespace)
    ]


def of_endpoints(endpoints: ProxyEndpoints, port: str, namespace: str) -> list[Candidate]:
    """Return the same of Endpoints, whose addresses are ready."""
    return [
        Candidate(address.ip, number, pod)
        for subset in endpoints.subsets
        for number in [p.port for p in subset.ports if p.name == port and p.port][:1]
        for address in subset.addresses
        for pod in _pod(address.target_ref, namespace)
    ]


def _pod(ref: ObjectReference | None, namespace: str) -> Iterator[str]:
    """Yield the pod that an address is of, nothing where it is of no pod in the namespace.

    Whoever writes endpoints must not reach by them what the API server can reach.
    """
    if ref is not None and ref.kind == "Pod" and ref.namespace == namespace and ref.name:
        yield ref.name


def check_address(address: str) -> None:
    """Refuse an address that is no host's in the cluster: ours, the link's, a group's.

    Raises:
        BadRequestError: as upstream's, for who may write addresses must not reach what listens
            on loopback beside the API server, or a cloud's metadata.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError as error:
        raise BadRequestError("address not allowed") from error
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if (
        ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_unspecified
        or ip == ipaddress.IPv4Address("255.255.255.255")
    ):
        raise BadRequestError("address not allowed")
