"""What names of the cluster resolve to: the Kubernetes DNS specification, as a table."""

from dataclasses import dataclass
from ipaddress import IPv4Address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.objects import EndpointSlice, Service
from wherry.dns.answer import Answer, Domain, Rcode, Record, Srv, Type, answer, name_of
from wherry.dns.zone import ServiceRecord, Zone, service_record

DOMAIN = Domain(name_of("cluster.local"), (IPv4Address("10.96.0.10"),))


def record(
    name: str,
    spec: dict[str, object],
    *endpoints: dict[str, object],
    ports: tuple[dict[str, object], ...] = ({"name": "http", "port": 8080, "protocol": "TCP"},),
) -> ServiceRecord:
    service = msgspec.convert(
        {"metadata": {"name": name, "namespace": "ns"}, "spec": spec}, Service
    )
    one = msgspec.convert({"endpoints": list(endpoints), "ports": list(ports)}, EndpointSlice)
    return service_record(service, [one])


WEB_PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "UDP"}]
NOT_READY = {"ready": False, "serving": True, "terminating": True}
ZONE = Zone(
    [
        record(
            "web", {"clusterIP": "10.96.0.5", "ports": WEB_PORTS}, {"addresses": ["10.244.1.2"]}
        ),
        record(
            "db",
            {"clusterIP": "None", "ports": []},
            {"addresses": ["10.244.1.3"], "hostname": "DB-0"},
            {"addresses": ["10.244.2.3"]},
            {"addresses": ["10.244.2.4"], "conditions": NOT_READY},
        ),
        record("empty", {"clusterIP": "None", "ports": []}),
        record("out", {"type": "ExternalName", "externalName": "www.Example.org."}),
    ]
)


def ask(text: str, wanted: Type = Type.A) -> Answer | None:
    return answer(name_of(text), wanted, ZONE, DOMAIN)


def show(found: Record) -> str:
    match found.data:
        case Srv(weight, port, target):
            return f"0 {weight} {port} {'.'.join(target)}"
        case tuple() as name:
            return ".".join(name)
        case other:
            return str(other)


@dataclass(frozen=True)
class Case:
    name: str
    type: Type
    want: tuple[str, ...]


YES = [
    Case("web.ns.svc.cluster.local", Type.A, ("10.96.0.5",)),
    Case("WEB.NS.svc.Cluster.Local", Type.A, ("10.96.0.5",)),
    Case("_http._tcp.web.ns.svc.cluster.local", Type.SRV, ("0 100 80 web.ns.svc.cluster.local",)),
    Case(
        "web.ns.svc.cluster.local",
        Type.SRV,
        ("0 50 80 web.ns.svc.cluster.local", "0 50 81 web.ns.svc.cluster.local"),
    ),
    Case("10-244-1-2.web.ns.svc.cluster.local", Type.A, ("10.244.1.2",)),
    Case("db.ns.svc.cluster.local", Type.A, ("10.244.1.3", "10.244.2.3")),
    Case("db-0.db.ns.svc.cluster.local", Type.A, ("10.244.1.3",)),
    Case("10-244-2-3.db.ns.svc.cluster.local", Type.A, ("10.244.2.3",)),
    Case(
        "_http._tcp.db.ns.svc.cluster.local",
        Type.SRV,
        ("0 50 8080 db-0.db.ns.svc.cluster.local", "0 50 8080 10-244-2-3.db.ns.svc.cluster.local"),
    ),
    Case("out.ns.svc.cluster.local", Type.CNAME, ("www.example.org",)),
    Case("10-244-1-3.ns.pod.cluster.local", Type.A, ("10.244.1.3",)),
    Case("dns-version.cluster.local", Type.TXT, ("1.1.0",)),
    Case("cluster.local", Type.NS, ("ns.dns.cluster.local",)),
    Case("ns.dns.cluster.local", Type.A, ("10.96.0.10",)),
    Case("5.0.96.10.in-addr.arpa", Type.PTR, ("web.ns.svc.cluster.local",)),
    Case("3.1.244.10.in-addr.arpa", Type.PTR, ("db-0.db.ns.svc.cluster.local",)),
    Case("2.1.244.10.in-addr.arpa", Type.PTR, ("10-244-1-2.web.ns.svc.cluster.local",)),
]


@pytest.mark.parametrize("case", YES, ids=lambda c: f"{c.name} {c.type.name}")
def test_what_there_is(case: Case) -> None:
    found = ask(case.name, case.type)
    assert found is not None
    assert found.rcode is Rcode.NOERROR
    assert tuple(show(r) for r in found.records) == case.want
    assert {r.name for r in found.records} == {name_of(case.name)}
    assert not found.authority


NO_DATA = [
    ("web.ns.svc.cluster.local", Type.AAAA),
    ("web.ns.svc.cluster.local", Type.TXT),
    ("db.ns.svc.cluster.local", Type.AAAA),
    ("empty.ns.svc.cluster.local", Type.A),
    ("_tcp.web.ns.svc.cluster.local", Type.A),
    ("_http._tcp.web.ns.svc.cluster.local", Type.A),
    ("ns.svc.cluster.local", Type.A),
    ("svc.cluster.local", Type.A),
    ("cluster.local", Type.A),
    ("10-244-1-3.ns.pod.cluster.local", Type.AAAA),
    ("5.0.96.10.in-addr.arpa", Type.A),
]
NO_NAME = [
    "nope.ns.svc.cluster.local",
    "web.nope.svc.cluster.local",
    "nope.svc.cluster.local",
    "10-244-2-4.db.ns.svc.cluster.local",
    "db-1.db.ns.svc.cluster.local",
    "_https._tcp.web.ns.svc.cluster.local",
    "_http._udp.web.ns.svc.cluster.local",
    "_sctp.web.ns.svc.cluster.local",
    "a.b.c.web.ns.svc.cluster.local",
    "10-244-1.ns.pod.cluster.local",
    "x.ns.pod.cluster.local",
    "nope.cluster.local",
    "web.ns.svc.cluster.local.cluster.local",
]
NOT_OURS = ["example.org", "local", "xcluster.local", "9.9.9.9.in-addr.arpa", "in-addr.arpa", ""]


@pytest.mark.parametrize(("name", "wanted"), NO_DATA)
def test_a_name_without_that_type_is_no_error(name: str, wanted: Type) -> None:
    found = ask(name, wanted)
    assert found is not None
    assert (found.rcode, found.records) == (Rcode.NOERROR, ())
    assert found.authority == (DOMAIN.soa,)


@pytest.mark.parametrize("name", NO_NAME)
@pytest.mark.parametrize("wanted", [Type.A, Type.AAAA, Type.SRV])
def test_a_name_that_is_not_there(name: str, wanted: Type) -> None:
    assert ask(name, wanted) == Answer(Rcode.NXDOMAIN, authority=(DOMAIN.soa,))


@pytest.mark.parametrize("name", NOT_OURS)
def test_other_names_are_not_ours(name: str) -> None:
    assert ask(name) is None


def test_an_alias_says_where_to_go_on() -> None:
    found = ask("out.ns.svc.cluster.local", Type.AAAA)
    assert found is not None
    assert found.chase == ("www", "example", "org")
    assert [r.type for r in found.records] == [Type.CNAME]


def test_addresses_come_with_srv() -> None:
    found = ask("_http._tcp.db.ns.svc.cluster.local", Type.SRV)
    assert found is not None
    assert sorted(show(r) for r in found.additional) == ["10.244.1.3", "10.244.2.3"]


def test_an_endpoint_in_two_slices_has_the_ports_of_both() -> None:
    service = msgspec.convert(
        {"metadata": {"name": "db", "namespace": "ns"}, "spec": {"clusterIP": "None"}}, Service
    )
    slices = [
        msgspec.convert(
            {
                "endpoints": [{"addresses": ["10.0.0.1"]}],
                "ports": [{"name": name, "port": port}],
            },
            EndpointSlice,
        )
        for name, port in (("a", 1), ("b", 2), ("a", 1))
    ]
    (endpoint,) = service_record(service, slices).endpoints
    assert [(p.name, p.port) for p in endpoint.ports] == [("a", 1), ("b", 2)]


# --- properties -------------------------------------------------------------

addresses = st.sampled_from([f"10.244.0.{n}" for n in range(4)])
records = st.builds(
    lambda name, namespace, ip, ends: record(
        name,
        {"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        *(dict[str, object](addresses=[address]) for address in ends),
    ),
    st.sampled_from("abc"),
    st.just("ns"),
    st.sampled_from(["10.96.0.1", "10.96.0.2", "None"]),
    st.lists(addresses, unique=True),
)


@given(puts=st.lists(records), removed=st.sets(st.sampled_from("abc")))
def test_a_zone_that_changed_equals_one_made_anew(
    puts: list[ServiceRecord], removed: set[str]
) -> None:
    changed = Zone()
    for one in puts:
        changed.put(one)
    for name in removed:
        changed.remove(("ns", name))
    fresh = Zone(changed.records())
    assert changed.has_namespace("ns") == fresh.has_namespace("ns") == bool(fresh.records())
    for address in ("10.96.0.1", "10.96.0.2", *(f"10.244.0.{n}" for n in range(4))):
        assert changed.by_address(address) == fresh.by_address(address)


@given(
    one=records,
    wanted=st.sampled_from(list(Type)),
    labels=st.lists(st.sampled_from(["a", "ns", "svc", "pod", "_http", "_tcp", "10-244-0-1", "x"])),
)
def test_no_name_is_there_and_not_there(
    one: ServiceRecord, wanted: Type, labels: list[str]
) -> None:
    """The outcome does not depend on the type, and "no" always carries the SOA."""
    name = (*labels, *DOMAIN.name)
    zone = Zone([one])
    found, other = (answer(name, t, zone, DOMAIN) for t in (wanted, Type.AAAA))
    assert found is not None
    assert other is not None
    assert found.rcode is other.rcode
    assert bool(found.records) != bool(found.authority)


@given(puts=st.lists(records))
def test_records_survive_the_disk(puts: list[ServiceRecord]) -> None:
    kept = Zone(puts).records()
    assert msgspec.json.decode(msgspec.json.encode(kept), type=list[ServiceRecord]) == kept
