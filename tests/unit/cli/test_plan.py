"""Which processes a machine runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from wherry.cli.layout import Host
from wherry.cli.plan import PORTS, Machine, plan, ports_from

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
