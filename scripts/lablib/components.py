"""The command line of every process of a lab. Pure, but for the files containerd needs.

The flags of Wherry's own processes are those of `wherry up`: both ask `wherry.cli.plan`, so
a lab runs what a user runs. Only what several hosts on one machine would share is set here.
"""

import sys
from pathlib import Path
from typing import Final

from lablib import containerd
from lablib.layout import REGISTRY_PORT, SERVICE_CIDR, Layout
from lablib.names import Host, Role, Runtime
from wherry.cli.layout import Host as ClusterHost
from wherry.cli.plan import PORTS, Machine, Planned, plan

PYTHON: Final = sys.executable


def command(layout: Layout, host: Host, process: str) -> list[str]:
    """The command line of one process."""
    if process == "registry":
        return ["docker-registry", "serve", str(registry_config(layout))]
    if process == "containerd":
        return containerd.command(layout, host)
    wanted = planned(layout, host)[process]
    return [PYTHON, "-m", "wherry.cli", *wanted.arguments, *_extra(layout, host, process)]


def planned(layout: Layout, host: Host) -> dict[str, Planned]:
    """Wherry's own processes on that host."""
    return {p.name: p for p in plan(machine(layout, host))}


def machine(layout: Layout, host: Host) -> Machine:
    """The host as `wherry up` would be told about it."""
    return Machine(
        host=cluster_host(layout, host),
        directory=layout.data_of(host),
        ports=dict(PORTS),
        roles=frozenset({str(host.role)}),
        runtime=str(layout.runtime),
        masters=tuple(cluster_host(layout, master) for master in layout.of(Role.MASTER)),
        runtime_endpoint=f"unix://{layout.containerd_socket(host)}",
        service_cidr=str(SERVICE_CIDR),
    )


def cluster_host(layout: Layout, host: Host) -> ClusterHost:
    """The host as the cluster knows it."""
    return ClusterHost(host.name, str(layout.address(host)))


def tcp_ports(layout: Layout, host: Host, process: str) -> tuple[int, ...]:
    """The TCP ports that a process will listen on."""
    if process == "registry":
        return (REGISTRY_PORT,)
    names = {"store": ("peer", "store-rpc", "etcd"), "apiserver": ("secure", "grpc")}
    own = [PORTS[name] for name in names.get(process, ())]
    if process == "agent" and layout.runtime is Runtime.CRI:
        own.append(PORTS["agent"])
    wherry = planned(layout, host)
    return (*own, wherry[process].health_port) if process in wherry else ()


def registry_config(layout: Layout) -> Path:
    """The registry's configuration file."""
    return layout.data / "registry.yml"


def registry_storage(layout: Layout) -> Path:
    """Where the lab's registry keeps its images."""
    return layout.data / "images"


def _extra(layout: Layout, host: Host, process: str) -> list[str]:
    if layout.runtime is Runtime.HOLLOW:
        return []
    return {
        "overlay": [
            *("--cni-conf-dir", str(containerd.cni_conf(layout, host))),
            *("--cni-data-dir", str(containerd.cni_data(layout, host))),
        ],
        "agent": ["--cgroup-root", layout.cgroup(host)],
    }.get(process, [])
