"""Which endpoints a portal gets, and which UDP entries are stale."""

from dataclasses import dataclass
from ipaddress import IPv4Network

import msgspec
import pytest

from wherry.api.objects import EndpointSlice, Service
from wherry.proxy.portal import Backend, Portal, portals
from wherry.proxy.stale import Flow, stale_flows

READY = {"ready": True}
DRAINING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
STARTING = {"ready": False, "serving": False, "terminating": False}


def service(**spec: object) -> Service:
    ports = [{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"}]
    raw = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.5", "ports": ports, **spec},
    }
    return msgspec.convert(raw, Service)


def endpoints(*found: tuple[str, str, dict[str, bool]], **extra: object) -> EndpointSlice:
    raw = {
        "metadata": {
            "name": "web-x",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "nodeName": node, "conditions": conditions}
            for address, node, conditions in found
        ],
        **extra,
    }
    return msgspec.convert(raw, EndpointSlice)


def one_portal(of: Service, *slices: EndpointSlice) -> Portal:
    (found,) = portals([of], slices, node="here")
    return found


@dataclass(frozen=True)
class Case:
    id: str
    found: tuple[tuple[str, str, dict[str, bool]], ...]
    cluster: tuple[str, ...]
    local: tuple[str, ...] = ()


CASES = [
    Case("ready ones", (("a", "here", READY), ("b", "there", READY)), ("a", "b"), ("a",)),
    Case("unknown counts as ready", (("a", "there", {}),), ("a",)),
    Case("none that starts", (("a", "here", STARTING), ("b", "there", READY)), ("b",)),
    Case("draining only if nobody is ready", (("a", "there", DRAINING), ("b", "x", READY)), ("b",)),
    Case("draining rather than nobody", (("a", "here", DRAINING), ("b", "x", GONE)), ("a",), ("a",)),
    Case(
        "locally the choice is its own",
        (("a", "here", DRAINING), ("b", "there", READY)),
        ("b",),
        ("a",),
    ),
    Case("nobody", (("a", "here", GONE),), ()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_which_endpoints_count(case: Case) -> None:
    found = one_portal(service(), endpoints(*case.found))
    assert [b.address for b in found.cluster] == list(case.cluster)
    assert [b.address for b in found.local] == list(case.local)


def test_slices_are_merged_and_strangers_ignored() -> None:
    found = one_portal(
        service(),
        endpoints(("10.0.0.1", "here", READY)),
        endpoints(("10.0.0.2", "here", READY), ("10.0.0.1", "here", READY)),
        endpoints(("fd00::1", "here", READY), addressType="IPv6"),
        endpoints(("10.0.0.3", "here", READY), ports=[{"name": "other", "port": 1}]),
        endpoints(("10.0.0.4", "here", READY), ports=[{"name": "http", "port": None}]),
        endpoints(("10.0.0.5", "here", READY), metadata={"name": "x", "namespace": "default"}),
    )
    assert found.cluster == (Backend("10.0.0.1", 8080), Backend("10.0.0.2", 8080))


@pytest.mark.parametrize(
    "spec",
    [{"clusterIP": "None"}, {"clusterIP": ""}, {"type": "ExternalName"}, {"clusterIP": "fd00::5"}],
    ids=["headless", "not allocated yet", "external name", "IPv6"],
)
def test_services_without_an_address_have_no_portal(spec: dict[str, str]) -> None:
    assert portals([service(**spec)], [], node="here") == []


def test_the_cluster_dns_is_left_to_itself() -> None:
    skip = frozenset({"10.96.0.5"})
    assert portals([service()], [], node="here", skip=skip) == []


@pytest.mark.parametrize(
    ("spec", "attribute", "want"),
    [
        ({"type": "ClusterIP"}, "node_port", 0),
        ({"type": "LoadBalancer"}, "node_port", 30080),
        ({"externalTrafficPolicy": "Local"}, "external_local", True),
        ({"internalTrafficPolicy": "Local"}, "internal_local", True),
        ({"externalIPs": ["192.0.2.2", "fd00::1"]}, "external_ips", ("192.0.2.2",)),
        ({}, "affinity_s", 0),
        ({"sessionAffinity": "ClientIP"}, "affinity_s", 10800),
        (
            {
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
            },
            "affinity_s",
            5,
        ),
        ({}, "name", "default/web:http"),
        ({"ports": [{"port": 80}]}, "name", "default/web"),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, "protocol", "udp"),
    ],
)
def test_what_a_portal_says(spec: dict[str, object], attribute: str, want: object) -> None:
    assert getattr(one_portal(service(**spec)), attribute) == want


# --- stale entries ----------------------------------------------------------

DNS = Portal(
    "d/dns", "udp", "10.96.0.53", 53, node_port=30053, cluster=(Backend("10.244.1.2", 5353),)
)
LOCAL = frozenset({"192.0.2.1"})
CIDR = IPv4Network("10.96.0.0/12")


def flow(destination: str, port: int, answered_by: str, answered_port: int = 5353) -> Flow:
    return Flow("udp", "10.244.1.9", 40000, destination, port, answered_by, answered_port)


FLOWS = [
    ("leads to an endpoint", flow("10.96.0.53", 53, "10.244.1.2"), False),
    ("leads to one that is gone", flow("10.96.0.53", 53, "10.244.1.3"), True),
    ("leads to another port", flow("10.96.0.53", 53, "10.244.1.2", 53), True),
    ("was made before there was one", flow("10.96.0.53", 53, "10.96.0.53", 53), True),
    ("node port, gone", flow("192.0.2.1", 30053, "10.244.1.3"), True),
    ("node port, there", flow("192.0.2.1", 30053, "10.244.1.2"), False),
    ("another host's node port", flow("192.0.2.9", 30053, "10.244.1.3"), False),
    ("a Service that is gone", flow("10.96.0.99", 53, "10.244.1.3"), True),
    ("not translated: the node's own DNS", flow("10.96.0.10", 53, "10.96.0.10", 53), False),
    ("not ours", flow("8.8.8.8", 53, "8.8.8.8", 53), False),
]


@pytest.mark.parametrize(("entry", "stale"), [f[1:] for f in FLOWS], ids=[f[0] for f in FLOWS])
def test_stale_flows(entry: Flow, stale: bool) -> None:
    found = stale_flows([entry], [DNS], local_addresses=LOCAL, service_cidr=CIDR)
    assert found == ([entry] if stale else [])


WEB = Portal("d/web", "tcp", "10.96.0.53", 53, cluster=(Backend("10.244.1.2", 8080),))


def test_each_protocol_of_one_address_has_its_own_endpoints() -> None:
    asked = ("10.244.1.9", 40000, "10.96.0.53", 53)
    right = [Flow("udp", *asked, "10.244.1.2", 5353), Flow("tcp", *asked, "10.244.1.2", 8080)]
    wrong = [Flow("tcp", *asked, "10.244.1.2", 5353), Flow("udp", *asked, "10.244.1.2", 8080)]
    found = stale_flows([*right, *wrong], [DNS, WEB], local_addresses=LOCAL, service_cidr=CIDR)
    assert found == wrong


def test_without_endpoints_every_entry_is_stale() -> None:
    empty = Portal("d/dns", "udp", "10.96.0.53", 53)
    entry = flow("10.96.0.53", 53, "10.244.1.2")
    assert stale_flows([entry], [empty], local_addresses=LOCAL, service_cidr=CIDR) == [entry]
