"""Which processes a machine runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from wherry.cli.layout import Host
from wherry.cli.plan import PORTS, Machine, listeners, plan, ports_from

ONE, TWO = Host("m1", "10.0.0.1"), Host("m2", "10.0.0.2")
MASTER = Machine(
    host=ONE,
    directory=Path("/d"),
    ports=dict(PORTS),
    roles=frozenset({"master"}),
    masters=(TWO, ONE),
)
MASTERS = ["store", "apiserver", "scheduler", "controller-manager"]


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        pytest.param(MASTER, MASTERS, id="master"),
        pytest.param(replace(MASTER, ephemeral=True), MASTERS[1:], id="ephemeral has no store"),
        pytest.param(
            replace(MASTER, roles=frozenset({"master", "node"})), [*MASTERS, "agent"], id="hollow"
        ),
        pytest.param(
            replace(MASTER, roles=frozenset({"node"}), runtime="cri"),
            ["overlay", "agent", "proxy", "dns"],
            id="node",
        ),
    ],
)
def test_processes(machine: Machine, names: list[str]) -> None:
    assert [p.name for p in plan(machine)] == names


def flags(machine: Machine, name: str) -> list[str]:
    return list(next(p for p in plan(machine) if p.name == name).arguments)


def values(arguments: list[str], flag: str) -> list[str]:
    return [arguments[i + 1] for i, a in enumerate(arguments) if a == flag]


def test_a_client_prefers_the_master_beside_it() -> None:
    endpoints = values(flags(MASTER, "scheduler"), "--apiserver")
    assert endpoints == ["10.0.0.1:6444", "10.0.0.2:6444"]


def test_the_apiserver_falls_back_to_the_other_stores() -> None:
    assert values(flags(MASTER, "apiserver"), "--store") == ["unix:///d/store.sock,10.0.0.2:2381"]
    ephemeral = replace(MASTER, ephemeral=True)
    assert values(flags(ephemeral, "apiserver"), "--store") == ["memory://"]


def test_no_two_ports_are_equal() -> None:
    assert len(set(PORTS.values())) == len(PORTS)
    assert len(set(ports_from(20000).values())) == len(PORTS)


def test_a_node_listens_on_its_own_ports_only() -> None:
    node = replace(MASTER, roles=frozenset({"node"}), runtime="cri")
    names = {name for name, _, _ in listeners(node)}
    assert names == {"agent", "agent-health", "overlay-health", "proxy-health", "dns-health"}
    assert ("secure", "10.0.0.1", 6443) in listeners(MASTER)
    assert ("scheduler-health", "127.0.0.1", 10259) in listeners(MASTER)
    assert "peer" not in {name for name, _, _ in listeners(replace(MASTER, ephemeral=True))}


def test_a_machine_that_joined_asks_where_it_was_told() -> None:
    joined = replace(
        MASTER, roles=frozenset({"node"}), runtime="cri", apiservers=("10.0.0.9:7444",)
    )
    for process in plan(joined):
        assert values(list(process.arguments), "--apiserver") == ["10.0.0.9:7444"]
    assert joined.is_worker
    hollow = replace(joined, runtime="hollow")
    assert values(flags(hollow, "agent"), "--cert-file") == ["/d/pki/agent-m1.crt"]
    assert not replace(MASTER, roles=frozenset({"master", "node"}), runtime="cri").is_worker


def test_only_where_the_authoritys_key_is_certificates_are_signed() -> None:
    assert values(flags(MASTER, "controller-manager"), "--cluster-signing-key-file") == [
        "/d/pki/ca.key"
    ]
    without = flags(replace(MASTER, signs=False), "controller-manager")
    assert not any("signing" in flag for flag in without)
