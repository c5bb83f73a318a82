"""The overlay diff: a table for the cases people ask about, properties for the rest."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.objects import ObjectMeta
from wherry.overlay.diff import (
    Delete,
    Entry,
    Fdb,
    Neigh,
    Op,
    Put,
    Route,
    Tables,
    desired_tables,
    diff,
)
from wherry.overlay.lease import Backend, BackendData, SubnetLease

OWN = IPv4Network("10.244.0.0/24")
UNDERLAY = IPv4Interface("192.0.2.100/25")


def lease(
    node: int, mac: int | None = None, *, backend: str = "vxlan", ip: str = "", vni: int = 1
) -> SubnetLease:
    """Build node `node`'s lease; `mac` differs when its tunnel endpoint was recreated."""
    return SubnetLease(
        metadata=ObjectMeta(name=f"10.244.{node}.0-24"),
        public_ip=ip or f"192.0.2.{node}",
        backend_type=backend,
        backend_data=BackendData(
            vni=vni, vtep_mac=f"02:00:00:00:00:{node if mac is None else mac:02x}"
        ),
        node=f"node-{node}",
    )


def tables(*leases: SubnetLease, backend: Backend | None = None) -> Tables:
    return desired_tables(
        leases, own_subnet=OWN, underlay=UNDERLAY, backend=backend or Backend()
    ).tables


def entries(node: int, mac: int | None = None) -> tuple[Fdb, Neigh, Route]:
    wanted = tables(lease(node, mac))
    return (*wanted.fdb.values(), *wanted.neigh.values(), *wanted.routes.values())  # type: ignore[return-value]  # one of each


@dataclass(frozen=True)
class Case:
    id: str
    desired: tuple[SubnetLease, ...]
    actual: tuple[SubnetLease, ...]
    want: tuple[Op, ...]


OLD, NEW = entries(2), entries(2, mac=0xFF)

CASES = [
    Case("nothing to do", (lease(1),), (lease(1),), ()),
    Case("own lease is never programmed", (lease(0),), (), ()),
    Case("a node joins: bottom-up", (lease(2),), (), tuple(Put(e) for e in OLD)),
    Case("a node leaves: top-down", (), (lease(2),), tuple(Delete(e) for e in OLD[::-1])),
    Case(
        "a tunnel endpoint is recreated: the route stays up",
        (lease(2, mac=0xFF),),
        (lease(2),),
        (Put(NEW[0]), Put(NEW[1]), Delete(OLD[0])),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_diff(case: Case) -> None:
    assert tuple(diff(tables(*case.desired), tables(*case.actual))) == case.want


def test_from_tunnel_to_host_gw_the_route_is_replaced_before_its_tunnel_goes() -> None:
    direct = tables(lease(2, backend="host-gw"), backend=Backend(type="host-gw"))
    ops = diff(direct, tables(lease(2)))
    assert [type(op).__name__ + type(op.entry).__name__ for op in ops] == [
        "PutRoute",
        "DeleteNeigh",
        "DeleteFdb",
    ]


@pytest.mark.parametrize(
    ("backend", "peer", "direct"),
    [
        (Backend(), lease(2), False),
        (Backend(direct_routing=True), lease(2), True),
        (Backend(direct_routing=True), lease(2, ip="203.0.113.2"), False),
        (Backend(type="host-gw"), lease(2, backend="host-gw"), True),
    ],
    ids=["vxlan", "direct routing on one segment", "direct routing elsewhere", "host-gw"],
)
def test_which_way_packets_take(backend: Backend, peer: SubnetLease, direct: bool) -> None:
    (route,) = tables(peer, backend=backend).routes.values()
    assert route.direct is direct


@pytest.mark.parametrize(
    ("backend", "peer", "why"),
    [
        ("host-gw", lease(2, backend="host-gw", ip="203.0.113.2"), "layer 2"),
        ("vxlan", lease(2, backend="host-gw"), "backend is 'host-gw', ours 'vxlan'"),
        ("vxlan", lease(2, vni=7), "VNI is 7, ours 1"),
        ("vxlan", lease(2, ip="nonsense"), "'nonsense' is no IPv4 address"),
        ("vxlan", lease(2, ip="192.0.2.100"), "is our own"),
        (
            "vxlan",
            SubnetLease(metadata=ObjectMeta(name="x"), public_ip="192.0.2.9", backend_type="vxlan"),
            "name is no subnet",
        ),
        (
            "vxlan",
            SubnetLease(
                metadata=ObjectMeta(name="10.244.9.0-24"),
                public_ip="192.0.2.9",
                backend_type="vxlan",
            ),
            "no hardware address",
        ),
    ],
)
def test_a_peer_that_cannot_be_reached_is_named_and_harms_no_other(
    backend: str, peer: SubnetLease, why: str
) -> None:
    good = lease(3, backend=backend)
    wanted = desired_tables(
        [peer, good], own_subnet=OWN, underlay=UNDERLAY, backend=Backend(type=backend)
    )
    assert list(wanted.tables.routes) == [IPv4Network("10.244.3.0/24")]
    (sentence,) = wanted.refused
    assert why in sentence


# --- properties -------------------------------------------------------------

backends = st.sampled_from([Backend(), Backend(direct_routing=True)])
clusters = st.builds(
    lambda leases, backend: tables(*leases, backend=backend),
    st.lists(
        st.builds(
            lease,
            st.integers(0, 5),
            st.none() | st.integers(0x10, 0x14),
            ip=st.sampled_from(["", "203.0.113.7"]),
        ),
        unique_by=(lambda found: found.metadata.name, lambda found: found.backend_data.vtep_mac),
    ),
    backends,
)


def after(start: Tables, ops: Iterable[Op]) -> Tables:
    """Model of the kernel: keyed tables, put replaces, delete needs the entry."""
    end = Tables(dict(start.fdb), dict(start.neigh), dict(start.routes))
    for op in ops:
        table, key = _place(end, op.entry)
        if isinstance(op, Put):
            table[key] = op.entry
        else:
            del table[key]
    return end


def _place(where: Tables, entry: Entry) -> tuple[dict[object, Entry], object]:
    match entry:
        case Fdb(mac=mac):
            return where.fdb, mac  # type: ignore[return-value]  # one untyped seam for three tables
        case Neigh(ip=ip):
            return where.neigh, ip  # type: ignore[return-value]
        case Route(dst=dst):
            return where.routes, dst  # type: ignore[return-value]


def is_connected(state: Tables) -> bool:
    return all(
        route.direct
        or (route.gateway in state.neigh and state.neigh[route.gateway].mac in state.fdb)
        for route in state.routes.values()
    )


@given(desired=clusters, actual=clusters)
def test_applying_the_diff_gives_what_was_desired(desired: Tables, actual: Tables) -> None:
    assert after(actual, diff(desired, actual)) == desired


@given(state=clusters)
def test_diff_of_equals_is_empty(state: Tables) -> None:
    assert diff(state, state) == []


@given(desired=clusters, actual=clusters)
def test_every_prefix_keeps_routes_connected(desired: Tables, actual: Tables) -> None:
    """A crash between any two operations leaves no route that drops packets in silence."""
    ops = diff(desired, actual)
    for done in range(len(ops) + 1):
        assert is_connected(after(actual, ops[:done])), ops[:done]
