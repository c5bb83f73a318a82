"""Names, sizes and addresses of labs."""

from ipaddress import IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lablib.errors import LabError
from lablib.layout import Layout
from lablib.names import Host, Role, Runtime, hosts, validate_lab
from lablib.ranges import POOL, choose

IFNAMSIZ = 15


@pytest.mark.parametrize("name", ["lab", "a", "t1", "my-lab", "abcdefghij"])
def test_names_that_can_name_a_lab(name: str) -> None:
    assert validate_lab(name) == name


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "lab-", "a_b", "abcdefghijk", "../x", "a b"])
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab"):
        validate_lab(name)


@pytest.mark.parametrize(
    ("masters", "nodes", "what"), [(2, 2, "2 masters"), (0, 1, "0 masters"), (3, 100, "100 nodes")]
)
def test_sizes_that_are_refused(masters: int, nodes: int, what: str) -> None:
    with pytest.raises(LabError, match=what):
        hosts(masters, nodes, Runtime.CRI)


def test_hosts_start_registry_first_and_masters_before_nodes() -> None:
    names = [host.name for host in hosts(3, 2, Runtime.CRI)]
    assert names == ["registry", "master-1", "master-2", "master-3", "node-1", "node-2"]


def test_a_hollow_lab_has_no_registry_and_only_agents() -> None:
    found = hosts(1, 1, Runtime.HOLLOW)
    assert [(h.name, h.processes(Runtime.HOLLOW)) for h in found] == [
        ("master-1", ("store", "apiserver", "scheduler", "controller-manager")),
        ("node-1", ("agent",)),
    ]


LARGEST = Layout("abcdefghij", IPv4Network("172.30.7.0/24"), 5, 99, Runtime.CRI)


def test_every_host_has_an_address_of_its_own() -> None:
    addresses = [LARGEST.root_address, *map(LARGEST.address, LARGEST.hosts)]
    assert len(set(addresses)) == len(addresses)
    assert all(address in LARGEST.network for address in addresses)
    assert LARGEST.network.broadcast_address not in addresses


def test_device_names_fit_the_kernel() -> None:
    names = [LARGEST.uplink, *map(LARGEST.port, LARGEST.hosts)]
    assert max(map(len, names)) <= IFNAMSIZ


def test_unknown_hosts_and_processes_are_named_with_the_known_ones() -> None:
    with pytest.raises(LabError, match="no host 'node-3'") as failed:
        Layout("lab", IPv4Network("172.30.7.0/24"), 1, 2, Runtime.CRI).host("node-3")
    assert "node-2" in failed.value.advice
    with pytest.raises(LabError, match="runs no process 'agent'") as failed:
        LARGEST.check_process(Host(Role.MASTER, 1), "agent")
    assert "apiserver" in failed.value.advice


networks = st.builds(
    lambda third, prefix: IPv4Network(f"172.30.{third}.0/{prefix}", strict=False),
    st.integers(0, 255),
    st.integers(20, 32),
)


@given(lab=st.from_regex(r"[a-z]{1,10}", fullmatch=True), taken=st.lists(networks, max_size=10))
def test_a_range_overlaps_no_route(lab: str, taken: list[IPv4Network]) -> None:
    chosen = choose(lab, [*taken, IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")])
    assert chosen.subnet_of(POOL)
    assert chosen.prefixlen == 24
    assert not any(chosen.overlaps(route) for route in taken)


def test_a_lab_gets_the_same_range_every_time_and_the_next_free_one_otherwise() -> None:
    first = choose("lab", [])
    assert choose("lab", []) == first
    order = [first]
    for _ in range(3):
        order.append(choose("lab", order))
    steps = [int(b.network_address) - int(a.network_address) for a, b in pairwise(order)]
    assert all(step in (256, 256 - POOL.num_addresses) for step in steps)


def test_a_covered_pool_is_an_error_that_says_so() -> None:
    with pytest.raises(LabError, match="no free /24"):
        choose("lab", [IPv4Network("172.16.0.0/12")])
