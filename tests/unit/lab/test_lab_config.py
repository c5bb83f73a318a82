"""What a lab's processes are told: containerd's configuration, command lines, status."""

import tomllib
from ipaddress import IPv4Network

import click
import pytest

from lablib import components, containerd, status
from lablib.layout import Layout
from lablib.names import Host, Role, Runtime
from wherry.cli.main import wherry

LAYOUT = Layout("lab", IPv4Network("172.30.7.0/24"), 3, 2, Runtime.CRI)
HOLLOW = Layout("lab", IPv4Network("172.30.7.0/24"), 1, 2, Runtime.HOLLOW)
NODE, OTHER = LAYOUT.of(Role.NODE)


def test_two_nodes_share_no_directory_and_no_socket() -> None:
    def paths(host: Host) -> set[str]:
        config = tomllib.loads(containerd.render_config(LAYOUT, host))
        cri = config["plugins"]["io.containerd.grpc.v1.cri"]
        runc = cri["containerd"]["runtimes"]["runc"]["options"]
        return {
            config["root"],
            config["state"],
            config["grpc"]["address"],
            config["ttrpc"]["address"],
            config["plugins"]["io.containerd.internal.v1.opt"]["path"],
            cri["cni"]["conf_dir"],
            cri["registry"]["config_path"],
            runc["Root"],
        }

    assert len(paths(NODE)) == 8
    assert not paths(NODE) & paths(OTHER)


def test_streaming_stays_on_loopback() -> None:
    cri = tomllib.loads(containerd.render_config(LAYOUT, NODE))["plugins"][
        "io.containerd.grpc.v1.cri"
    ]
    assert (cri["stream_server_address"], cri["stream_server_port"]) == ("127.0.0.1", "0")


def test_a_missing_image_is_not_looked_for_elsewhere() -> None:
    mirror = tomllib.loads(containerd.render_mirror("172.30.7.2:5000"))
    assert mirror["server"] == "http://172.30.7.2:5000"
    assert mirror["host"] == {"http://172.30.7.2:5000": {"capabilities": ["pull", "resolve"]}}


WHERRY = [
    (layout, host, process)
    for layout in (LAYOUT, HOLLOW)
    for host in layout.hosts
    for process in host.processes(layout.runtime)
    if process not in ("containerd", "registry")
]


@pytest.mark.parametrize(
    ("layout", "host", "process"),
    WHERRY,
    ids=lambda v: getattr(v, "name", getattr(v, "runtime", v)),
)
def test_every_flag_of_a_command_line_is_known_to_its_command(
    layout: Layout, host: Host, process: str
) -> None:
    arguments = components.command(layout, host, process)[3:]
    command = wherry.get_command(click.Context(wherry), process)
    assert command is not None
    command.make_context(process, arguments[1:])


def test_status_is_a_table_of_host_process_pid_state() -> None:
    rows = [
        status.Row("master-1", "store", 12, "running"),
        status.Row("node-1", "agent", None, "killed"),
    ]
    assert status.render(rows).splitlines() == [
        "HOST      PROCESS  PID  STATE",
        "master-1  store    12   running",
        "node-1    agent    -    killed",
    ]
    assert status.is_running(rows)
    assert not status.is_running(rows[1:])
