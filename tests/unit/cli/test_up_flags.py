"""`wherry up`: where its flags come from, and what it refuses before it starts anything."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from ports import claim_row

from wherry.api.errors import ConfigError
from wherry.cli.layout import Host
from wherry.cli.machine_file import JoinedMachine, format_machine
from wherry.cli.plan import PORTS, Machine, ports_from
from wherry.cli.up import _settled, check_ports, command

JOINED = JoinedMachine(Host("n1", "10.0.0.11"), ("10.0.0.1:6444", "10.0.0.2:6444"))


def flags(*arguments: object) -> dict[str, Any]:
    return command.make_context("up", [str(a) for a in arguments]).params


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    (tmp_path / "machine.yaml").write_bytes(format_machine(JOINED))
    return tmp_path


def test_what_join_found_out_is_the_default(joined: Path) -> None:
    found = flags("--data-dir", joined)
    assert found["roles"] == ("node",)
    assert found["runtime"] == "cri"
    assert (found["name"], found["address"]) == ("n1", "10.0.0.11")
    assert found["apiservers"] == JOINED.apiservers


def test_the_command_line_and_a_configuration_file_win(joined: Path) -> None:
    config = joined / "up.yaml"
    config.write_text("runtime: hollow\nmaster: [m=10.0.0.9]\nlog-level: debug\n")
    for arguments in (
        ("--config", config, "--data-dir", joined, "--name", "n2"),
        ("--data-dir", joined, "--name", "n2", "--config", config),
    ):
        found = flags(*arguments)
        assert (found["runtime"], found["log_level"]) == ("hollow", "debug")
        assert found["masters"] == ("m=10.0.0.9",)
        assert (found["name"], found["address"]) == ("n2", "10.0.0.11")


def test_without_a_joined_directory_nothing_changes(tmp_path: Path) -> None:
    found = flags("--data-dir", tmp_path)
    assert (found["roles"], found["runtime"], found["apiservers"]) == (
        ("master", "node"),
        "hollow",
        (),
    )


@pytest.mark.parametrize(
    ("text", "said"), [("colour: red", "no such flag: colour"), ("- a", "expected a mapping")]
)
def test_a_configuration_file_is_read_strictly(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(click.BadParameter, match=said):
        flags("--config", path)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(
        host=Host("n1", "127.0.0.1"),
        directory=tmp_path,
        ports=ports_from(claim_row(len(PORTS))),
        roles=frozenset({"node"}),
        runtime="cri",
    )


def test_a_port_is_missed_only_by_who_needs_it(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.ports["secure"]))
        taken.listen()
        check_ports(machine)
        with pytest.raises(ConfigError, match=r"\(secure\): Address already in use"):
            check_ports(replace(machine, roles=frozenset({"master"})))


def test_a_machine_that_never_joined_is_told_to(machine: Machine) -> None:
    with pytest.raises(ConfigError, match=r"agent-n1\.crt is missing: .* run 'wherry join TOKEN"):
        _settled(machine)
