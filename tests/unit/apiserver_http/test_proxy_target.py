"""Names in proxy paths, ports, endpoints, addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadRequestError, ServiceUnavailableError
from wherry.api.objects import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    ObjectReference,
    ServicePort,
)
from wherry.apiserver.proxy.target import (
    Asked,
    Candidate,
    EndpointsAddress,
    EndpointsPort,
    EndpointsSubset,
    ProxyContainer,
    ProxyEndpoints,
    ProxyPod,
    ProxyPodSpec,
    ProxyPort,
    check_address,
    of_endpoints,
    of_slices,
    parse_name,
    pod_port,
    service_port,
)

NAMES = [
    ("echo", Asked("echo")),
    ("echo:80", Asked("echo", "80")),
    ("echo:web", Asked("echo", "web")),
    ("echo:", Asked("echo")),
    ("https:echo:web", Asked("echo", "web", "https")),
    ("https:echo:", Asked("echo", "", "https")),
    ("http:echo:80", Asked("echo", "80", "http")),
    (":echo:80", Asked("echo", "80")),
    ("https:echo", Asked("https", "echo")),
]


@pytest.mark.parametrize(("text", "asked"), NAMES)
def test_names(text: str, asked: Asked) -> None:
    assert parse_name(text, "pod") == asked
    assert asked.secure == (asked.scheme == "https")


@pytest.mark.parametrize(
    "text", ["", ":", ":80", "https::80", "ftp:echo:80", "a:b:c:d", "HTTPS:a:1"]
)
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(BadRequestError, match=r'^invalid service request "'):
        parse_name(text, "service")


@given(st.text(":ahtps", max_size=12))
def test_any_name_is_read_or_refused(text: str) -> None:
    try:
        asked = parse_name(text, "pod")
    except BadRequestError:
        return
    assert asked.name
    assert text in (
        asked.name,
        f"{asked.name}:{asked.port}",
        f"{asked.scheme}:{asked.name}:{asked.port}",
    )


def pod(*containers: tuple[ProxyPort, ...]) -> ProxyPod:
    return ProxyPod(
        spec=ProxyPodSpec(containers=tuple(ProxyContainer(ports=c) for c in containers))
    )


WEB, ADMIN = (
    ProxyPort(name="web", container_port=8080),
    ProxyPort(name="admin", container_port=9000),
)
POD_PORTS: list[tuple[ProxyPod, Asked, int | str]] = [
    (pod((), (WEB, ADMIN)), Asked("p"), 8080),
    (pod(()), Asked("p"), 80),
    (pod(()), Asked("p", "", "https"), 443),
    (pod((WEB,)), Asked("p", "1"), 1),
    (pod((WEB,)), Asked("p", "65535"), 65535),
    (pod((WEB,), (ADMIN,)), Asked("p", "admin"), 9000),
    (pod((WEB,)), Asked("p", "nope"), "dial tcp: lookup tcp/nope: unknown port"),
    (pod((WEB,)), Asked("p", "0"), "dial tcp: address 0: invalid port"),
    (pod((WEB,)), Asked("p", "65536"), "dial tcp: address 65536: invalid port"),
    (pod((WEB,)), Asked("p", "9" * 5000), f"dial tcp: address {'9' * 5000}: invalid port"),
    (pod((WEB,)), Asked("p", "٣"), "dial tcp: lookup tcp/٣: unknown port"),
    (pod((WEB,)), Asked("p", "-1"), "dial tcp: lookup tcp/-1: unknown port"),
]


@pytest.mark.parametrize(("one", "asked", "expected"), POD_PORTS)
def test_ports_of_a_pod(one: ProxyPod, asked: Asked, expected: int | str) -> None:
    try:
        found: int | str = pod_port(one, asked)
    except ServiceUnavailableError as error:
        found = error.message.removeprefix("error trying to reach service: ")
    assert found == expected


NAMED = (ServicePort(name="web", port=80), ServicePort(name="admin", port=9000))
MIXED = (ServicePort(name="web", port=80), ServicePort(port=81))
SERVICE_PORTS: list[tuple[tuple[ServicePort, ...], str, str]] = [
    (NAMED, "", "web"),
    (NAMED, "web", "web"),
    (NAMED, "9000", "admin"),
    (NAMED[1:], "", "admin"),
    (MIXED, "", ""),
    (MIXED, "81", ""),
    ((), "", ""),
    (NAMED, "nope", '503 no service port "nope" found for service "s"'),
    (NAMED, "8080", '503 no service port 8080 found for service "s"'),
    (NAMED, "080", "web"),
    (NAMED, "-80", '503 no service port -80 found for service "s"'),
]


@pytest.mark.parametrize(("ports", "asked", "expected"), SERVICE_PORTS)
def test_ports_of_a_service(ports: tuple[ServicePort, ...], asked: str, expected: str) -> None:
    try:
        found = service_port(ports, Asked("s", asked))
    except ServiceUnavailableError as error:
        found = f"{error.code} {error.message}"
    assert found == expected


def ref(name: str, namespace: str = "a", kind: str = "Pod") -> ObjectReference:
    return ObjectReference(kind=kind, namespace=namespace, name=name)


def test_endpoints_that_may_be_asked() -> None:
    ready, unready = EndpointConditions(ready=True), EndpointConditions(ready=False)
    endpoints = [
        Endpoint(addresses=["10.0.0.1", "10.0.0.2"], conditions=ready, target_ref=ref("p")),
        Endpoint(addresses=["10.0.0.3"], target_ref=ref("q")),
        Endpoint(addresses=["10.0.0.4"], conditions=unready, target_ref=ref("r")),
        Endpoint(addresses=["10.0.0.5"], target_ref=ref("s", "b")),
        Endpoint(addresses=["10.0.0.6"], target_ref=ref("n", kind="Node")),
        Endpoint(addresses=["10.0.0.7"]),
        Endpoint(),
    ]
    ports = [EndpointPort(name="admin", port=1), EndpointPort(name="web", port=2)]
    slices = [
        EndpointSlice(endpoints=endpoints, ports=ports),
        EndpointSlice(endpoints=endpoints, ports=ports[:1]),
    ]
    assert of_slices(slices, "web", "a") == [
        Candidate("10.0.0.1", 2, "p"),
        Candidate("10.0.0.3", 2, "q"),
    ]
    unnamed = EndpointSlice(endpoints=endpoints[:1], ports=[EndpointPort(name=None, port=3)])
    assert of_slices([unnamed], "", "a") == [Candidate("10.0.0.1", 3, "p")]


def test_endpoints_of_the_old_kind() -> None:
    addresses = (
        EndpointsAddress(ip="10.0.0.1", target_ref=ref("p")),
        EndpointsAddress(ip="10.0.0.2"),
        EndpointsAddress(ip="10.0.0.3", target_ref=ref("q", "b")),
    )
    subsets = (
        EndpointsSubset(addresses=addresses, ports=(EndpointsPort(port=1),)),
        EndpointsSubset(addresses=addresses, ports=(EndpointsPort(name="x", port=2),)),
    )
    found = of_endpoints(ProxyEndpoints(subsets=subsets), "", "a")
    assert found == [Candidate("10.0.0.1", 1, "p")]


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.0.1", "8.8.8.8", "fd00::1", "::ffff:10.1.2.3"]
)
def test_addresses_that_may_be_asked(address: str) -> None:
    check_address(address)


OURS = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",  # noqa: S104
    "::",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "",
    "localhost",
    "10.1",
]


@pytest.mark.parametrize("address", OURS)
def test_addresses_that_are_no_hosts(address: str) -> None:
    with pytest.raises(BadRequestError, match=r"^address not allowed$"):
        check_address(address)
