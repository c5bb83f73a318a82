"""Which subnet a node gets."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import ConfigError
from wherry.api.objects import Node, ObjectMeta
from wherry.api.times import format_time
from wherry.overlay.lease import (
    LIFETIME_S,
    Backend,
    Choice,
    Exhausted,
    Keep,
    NetworkConfig,
    SubnetLease,
    Take,
    allocate,
    lease_object,
    parse_network,
    renewal_due,
    subnet_of,
    vtep_mac,
)

NOW = 1_790_000_000.0
SMALL = parse_network(NetworkConfig(network="10.244.0.0/22"))  # subnets 1, 2 and 3


def subnet(number: int) -> IPv4Network:
    return IPv4Network(f"10.244.{number}.0/24")


def held(number: int, node: str, *, ip: str = "192.0.2.9", expires_s: float = 60) -> SubnetLease:
    return SubnetLease(
        metadata=ObjectMeta(name=f"10.244.{number}.0-24", uid=f"uid-{number}"),
        public_ip=ip,
        expiration=format_time(NOW + expires_s),
        node=node,
    )


@dataclass(frozen=True)
class Case:
    id: str
    leases: tuple[SubnetLease, ...]
    want: Choice
    preferred: tuple[IPv4Network, ...] = ()
    nodes: tuple[str, ...] = ("me", "other")


OTHERS = (held(1, "a"), held(2, "b"), held(3, "c"))
CASES = [
    Case("the lowest free one", (held(1, "other"),), Take(subnet(2))),
    Case("my own, though a lower one is free", (held(3, "me"),), Keep(held(3, "me"))),
    Case("what I had before, if it is free", (), Take(subnet(3)), preferred=(subnet(3),)),
    Case(
        "not what I had before, if another has it now",
        (held(1, "other"),),
        Take(subnet(2)),
        preferred=(subnet(1),),
    ),
    Case("not what is outside of the network", (), Take(subnet(1)), preferred=(subnet(9),)),
    Case(
        "what my host had under a name that is gone",
        (held(2, "renamed", ip="192.0.2.1"),),
        Take(subnet(2), held(2, "renamed", ip="192.0.2.1")),
    ),
    Case(
        "not what has my address under a name that exists",
        (held(1, "other", ip="192.0.2.1"),),
        Take(subnet(2)),
    ),
    Case("none: all nodes may return", OTHERS, Exhausted(3), nodes=("me",)),
    Case(
        "the longest expired one of a node that is gone",
        (held(1, "a"), held(2, "b", expires_s=-5), held(3, "c", expires_s=-9)),
        Take(subnet(3), held(3, "c", expires_s=-9)),
    ),
    Case(
        "never an expired one of a node that exists",
        (held(1, "a"), held(2, "other", expires_s=-5), held(3, "c")),
        Exhausted(3),
    ),
    Case(
        "a lease of another length blocks what it overlaps",
        (SubnetLease(metadata=ObjectMeta(name="10.244.0.0-23"), node="old"),),
        Take(subnet(2)),
    ),
    Case(
        "a lease of mine outside of the network is not kept",
        (held(9, "me"),),
        Take(subnet(1)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_allocate(case: Case) -> None:
    choice = allocate(
        SMALL,
        case.leases,
        node="me",
        public_ip="192.0.2.1",
        preferred=case.preferred,
        nodes=case.nodes,
        now=NOW,
    )
    assert choice == case.want


@given(
    taken=st.dictionaries(st.integers(0, 9), st.sampled_from(["me", "a", "b", "gone"])),
    preferred=st.lists(st.integers(0, 9).map(subnet)),
)
def test_a_choice_never_takes_what_is_in_use(
    taken: dict[int, str], preferred: list[IPv4Network]
) -> None:
    leases = [held(number, node) for number, node in taken.items()]
    choice = allocate(
        SMALL,
        leases,
        node="me",
        public_ip="192.0.2.1",
        preferred=preferred,
        nodes=["me", "a", "b"],
        now=NOW,
    )
    match choice:
        case Take(chosen, None):
            assert chosen not in {subnet_of(lease) for lease in leases}
            assert SMALL.leases(chosen)
        case Keep(lease):
            assert lease.node == "me"
        case Exhausted():
            assert {1, 2, 3} <= set(taken)
        case _:
            pytest.fail(f"nothing has expired here: {choice}")


def test_default_network_is_flannels() -> None:
    network = parse_network(NetworkConfig())
    assert network.first == IPv4Address("10.244.1.0"), "the first subnet is left out, as there"
    assert network.last == IPv4Address("10.244.255.0")
    assert sum(1 for _ in network.subnets()) == 255


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (NetworkConfig(network="10.244.0.1/16"), "Network: .* host bits"),
        (NetworkConfig(network="10.244.0.0/24"), "SubnetLen must be 25 to 30"),
        (NetworkConfig(subnet_min="10.245.0.0"), "SubnetMin 10.245.0.0 is no subnet"),
        (NetworkConfig(subnet_max="x"), "SubnetMax"),
        (NetworkConfig(backend=Backend(type="udp")), "vxlan or host-gw, not 'udp'"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(config: NetworkConfig, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_network(config)


def test_the_stored_form_is_flannels() -> None:
    network = parse_network(
        msgspec.json.decode(
            b'{"metadata":{"name":"config"},"Network":"10.244.0.0/16","SubnetLen":24,'
            b'"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}',
            type=NetworkConfig,
        )
    )
    node = Node(metadata=ObjectMeta(name="n1", uid="u1"))
    stored = lease_object(subnet(1), network, node="n1", owner=node, public_ip="192.0.2.1", now=NOW)
    assert stored == {
        "apiVersion": "wherry.io/v1",
        "kind": "SubnetLease",
        "metadata": {
            "name": "10.244.1.0-24",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}],
        },
        "PublicIP": "192.0.2.1",
        "BackendType": "vxlan",
        "BackendData": {"VNI": 1, "VtepMAC": "0a:77:c0:00:02:01"},
        "Expiration": format_time(NOW + LIFETIME_S),
        "node": "n1",
    }
    view = msgspec.json.decode(msgspec.json.encode(stored), type=SubnetLease)
    assert (view.public_ip, view.backend_data.vtep_mac) == ("192.0.2.1", "0a:77:c0:00:02:01")
    assert not renewal_due(view, NOW + 3599)
    assert renewal_due(view, NOW + 3600)


def test_hardware_addresses_are_local_unicast() -> None:
    first = int(vtep_mac(IPv4Address("255.1.2.3")).split(":", maxsplit=1)[0], 16)
    assert first & 0b10, "locally administered"
    assert not first & 0b01, "not multicast"
