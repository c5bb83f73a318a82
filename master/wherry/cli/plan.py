"""Which processes one machine runs, and with which flags: pure.

    master    store, apiserver, scheduler, controller-manager
    node      overlay, agent, proxy, dns           (with the cri runtime)
    node      agent, standing for many nodes       (with the hollow runtime)

Each process waits for what it needs by itself. Beside an API server, its clients are held back
until that has answered once (`after`): they could do nothing yet, and would only take the
cores that store and API server start on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherry.cli.layout import Host

PORTS: Final = {
    "secure": 6443,
    "grpc": 6444,
    "etcd": 2379,
    "peer": 2380,
    "store-rpc": 2381,
    "store-health": 2382,
    "apiserver-health": 6445,
    "scheduler-health": 10259,
    "controller-manager-health": 10257,
    "agent": 10250,
    "agent-health": 10248,
    "overlay-health": 10254,
    "proxy-health": 10256,
    "dns-health": 10258,
}
"""Well-known ports, as Kubernetes and etcd use them."""


_LISTENERS: Final = {
    "store": ("etcd", "peer", "store-rpc"),
    "apiserver": ("secure", "grpc"),
    "agent": ("agent",),
}
"""What each process listens on besides its /readyz."""


def ports_from(first: int) -> dict[str, int]:
    """Return consecutive ports instead, so that clusters can stand side by side on a machine."""
    return {name: first + offset for offset, name in enumerate(PORTS)}


@dataclass(frozen=True, slots=True)
class Machine:
    """What `wherry up` was told about this machine and its cluster."""

    host: Host
    directory: Path
    ports: dict[str, int]
    roles: frozenset[str]
    runtime: str = "hollow"
    nodes: int = 1
    ephemeral: bool = False
    masters: tuple[Host, ...] = ()
    apiservers: tuple[str, ...] = ()
    """gRPC doors of the masters, of a machine that joined; then `masters` means nothing."""
    signs: bool = True
    """The authority's key is here: the controller manager signs nodes' certificates."""
    signing_duration: str = "8760h0m0s"
    """How long they last."""
    runtime_endpoint: str = "unix:///run/containerd/containerd.sock"
    service_cidr: str = "10.96.0.0/12"

    @property
    def pki(self) -> Path:
        """Return where the certificates are."""
        return self.directory / "pki"

    @property
    def is_worker(self) -> bool:
        """Tell whether this is one node and no master: it has what `wherry join` writes."""
        one = self.runtime == "cri" or bool(self.apiservers)
        return "master" not in self.roles and one

    @property
    def doors(self) -> list[str]:
        """Return the gRPC doors of the masters; a master prefers its own."""
        masters = sorted(self.masters, key=lambda m: m != self.host)
        return list(self.apiservers) or [f"{m.address}:{self.ports['grpc']}" for m in masters]


@dataclass(frozen=True, slots=True)
class Planned:
    """A process to run: arguments after `wherry`, and the port of its /readyz on loopback."""

    name: str
    arguments: tuple[str, ...]
    health_port: int
    after: tuple[str, ...] = ()


def plan(machine: Machine) -> list[Planned]:
    """Return the processes of this machine, in the order to start them."""
    planned: list[Planned] = []
    if "master" in machine.roles:
        planned += [] if machine.ephemeral else [_store(machine)]
        planned += [_apiserver(machine), *_deciders(machine)]
    if "node" in machine.roles:
        planned += [_hollow(machine)] if machine.runtime == "hollow" else _node(machine)
    return planned


def _planned(machine: Machine, name: str, flags: Sequence[str | int | Path]) -> Planned:
    port = machine.ports[f"{name}-health"]
    arguments = (name, *map(str, flags), "--health-port", str(port))
    client = "master" in machine.roles and name not in ("store", "apiserver")
    return Planned(name, arguments, port, ("apiserver",) if client else ())


def _tls(machine: Machine, identity: str) -> list[str | Path]:
    pki = machine.pki
    return [
        *("--ca-file", pki / "ca.crt"),
        *("--cert-file", pki / f"{identity}.crt"),
        *("--key-file", pki / f"{identity}.key"),
    ]


def _client(machine: Machine, identity: str) -> list[str | Path]:
    """Flags of a client of the API servers."""
    flags: list[str | Path] = []
    for door in machine.doors:
        flags += ["--apiserver", door]
    return flags + _tls(machine, identity)


def _store(machine: Machine) -> Planned:
    ports, name = machine.ports, machine.host.name
    address = machine.host.address
    cluster = ",".join(f"{m.name}={m.address}:{ports['peer']}" for m in machine.masters)
    return _planned(
        machine,
        "store",
        [
            *("--name", name),
            *("--data-dir", machine.directory / "store"),
            *("--socket", machine.directory / "store.sock"),
            *("--initial-cluster", cluster),
            *("--listen-peer", f"{address}:{ports['peer']}"),
            *("--listen-client-rpc", f"{address}:{ports['store-rpc']}"),
            *("--listen-etcd", f"{address}:{ports['etcd']}"),
            *_tls(machine, f"store-{name}"),
        ],
    )


def _apiserver(machine: Machine) -> Planned:
    pki, ports = machine.pki, machine.ports
    stores = [f"unix://{machine.directory / 'store.sock'}"]
    stores += [f"{m.address}:{ports['store-rpc']}" for m in machine.masters if m != machine.host]
    return _planned(
        machine,
        "apiserver",
        [
            *("--advertise-address", machine.host.address),
            *("--bind-address", machine.host.address),
            *("--secure-port", ports["secure"]),
            *("--grpc-port", ports["grpc"]),
            *("--store", "memory://" if machine.ephemeral else ",".join(stores)),
            *("--service-cluster-ip-range", machine.service_cidr),
            *("--tls-cert-file", pki / "apiserver.crt"),
            *("--tls-private-key-file", pki / "apiserver.key"),
            *("--client-ca-file", pki / "ca.crt"),
            *("--kubelet-client-certificate", pki / "apiserver-kubelet-client.crt"),
            *("--kubelet-client-key", pki / "apiserver-kubelet-client.key"),
            *("--token-auth-file", machine.directory / "tokens.csv"),
            *("--service-account-signing-key-file", pki / "sa.key"),
        ],
    )


def _deciders(machine: Machine) -> list[Planned]:
    signing: list[str | Path] = [
        *("--cluster-signing-cert-file", machine.pki / "ca.crt"),
        *("--cluster-signing-key-file", machine.pki / "ca.key"),
        *("--cluster-signing-duration", machine.signing_duration),
    ]
    return [
        _planned(machine, "scheduler", _client(machine, "scheduler")),
        _planned(
            machine,
            "controller-manager",
            [
                *_client(machine, "controller-manager"),
                *("--kube-root-ca-file", machine.pki / "ca.crt"),
                *(signing if machine.signs else ()),
            ],
        ),
    ]


def _hollow(machine: Machine) -> Planned:
    return _planned(
        machine,
        "agent",
        [
            *("--runtime", "hollow"),
            *("--nodes", machine.nodes),
            *("--node-name", machine.host.name),
            *("--node-ip", machine.host.address),
            *("--port", machine.ports["agent"]),
            *("--root-dir", machine.directory / "agent"),
            *_client(machine, _hollow_identity(machine)),
        ],
    )


def _hollow_identity(machine: Machine) -> str:
    """One process speaks for many nodes; a machine that joined is one node and no more."""
    return agent_identity(machine.host) if machine.apiservers else "hollow"


def agent_identity(host: Host) -> str:
    """Return the file name of an agent's certificate."""
    return f"agent-{host.name}"


def listeners(machine: Machine) -> list[tuple[str, str, int]]:
    """Return (name, address, port) of all TCP ports that this machine's processes listen on."""
    found: list[tuple[str, str, int]] = []
    for planned in plan(machine):
        names = _LISTENERS.get(planned.name, ())
        found += [(name, machine.host.address, machine.ports[name]) for name in names]
        found.append((f"{planned.name}-health", "127.0.0.1", planned.health_port))
    return found


def _node(machine: Machine) -> list[Planned]:
    name, directory = machine.host.name, machine.directory
    return [
        _planned(
            machine,
            "overlay",
            [
                *("--node-name", name),
                *("--public-ip", machine.host.address),
                *("--state-dir", directory / "overlay"),
                *_client(machine, "overlay"),
            ],
        ),
        _planned(
            machine,
            "agent",
            [
                *("--runtime", "cri"),
                *("--runtime-endpoint", machine.runtime_endpoint),
                *("--node-name", name),
                *("--node-ip", machine.host.address),
                *("--port", machine.ports["agent"]),
                *("--root-dir", directory / "agent"),
                *_client(machine, agent_identity(machine.host)),
            ],
        ),
        _planned(machine, "proxy", ["--node-name", name, *_client(machine, "proxy")]),
        _planned(machine, "dns", ["--state-dir", directory / "dns", *_client(machine, "dns")]),
    ]
