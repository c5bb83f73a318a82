"""Where everything of one lab is: its hosts, addresses, namespaces and directories. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from lablib import ranges
from lablib.errors import LabError
from lablib.names import Host, Role, Runtime, hosts

RUN: Final = Path("/run/wherry")
DATA: Final = Path("/var/lib/wherry")
CACHE: Final = Path("/var/cache/wherry")
NETNS: Final = Path("/run/netns")

CLUSTER_CIDR: Final = IPv4Network("10.244.0.0/16")
SERVICE_CIDR: Final = IPv4Network("10.96.0.0/12")
DNS_ADDRESS: Final = IPv4Address("10.96.0.10")

APISERVER_PORT: Final = 6443
APISERVER_GRPC_PORT: Final = 6444
CLIENT_PORT: Final = 2379
PEER_PORT: Final = 2380
AGENT_PORT: Final = 10250
REGISTRY_PORT: Final = 5000


@dataclass(frozen=True, slots=True)
class Layout:
    """One lab's shape; everything else about it is derived."""

    lab: str
    network: IPv4Network
    masters: int
    nodes: int
    runtime: Runtime

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Every host, in the order in which they start."""
        return hosts(self.masters, self.nodes, self.runtime)

    def of(self, role: Role) -> tuple[Host, ...]:
        """The hosts of one role."""
        return tuple(host for host in self.hosts if host.role is role)

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            LabError: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        known = " ".join(host.name for host in self.hosts)
        raise LabError(f"lab {self.lab!r} has no host {name!r}", f"its hosts: {known}")

    def check_process(self, host: Host, process: str) -> None:
        """Make sure that `process` belongs on `host`.

        Raises:
            LabError: it does not.
        """
        known = host.processes(self.runtime)
        if process not in known:
            raise LabError(
                f"{host.name} runs no process {process!r}", f"its processes: {' '.join(known)}"
            )

    # --- addresses ----------------------------------------------------------

    def address(self, host: Host) -> IPv4Address:
        """The host's address on the underlay."""
        first = {
            Role.REGISTRY: ranges.REGISTRY_HOST,
            Role.MASTER: ranges.FIRST_MASTER_HOST,
            Role.NODE: ranges.FIRST_NODE_HOST,
        }[host.role]
        return ranges.address(self.network, first + host.index - 1)

    @property
    def root_address(self) -> IPv4Address:
        """The root namespace's address on the underlay: from there kubectl reaches masters."""
        return ranges.address(self.network, ranges.ROOT_HOST)

    @property
    def registry(self) -> str:
        """HOST:PORT of the image registry."""
        return f"{self.address(Host(Role.REGISTRY, 1))}:{REGISTRY_PORT}"

    # --- namespaces and devices ---------------------------------------------

    @property
    def underlay(self) -> str:
        """The namespace that holds the bridge all hosts are plugged into."""
        return f"{self.lab}-underlay"

    @property
    def uplink(self) -> str:
        """The device by which the root namespace is plugged into the bridge."""
        return f"wry-{self.lab}"

    def netns(self, host: Host) -> str:
        """The name of the host's network namespace."""
        return f"{self.lab}-{host.name}"

    @staticmethod
    def port(host: Host) -> str:
        """The bridge's end of the host's cable, in the underlay namespace."""
        return f"p-{host.name}"

    # --- directories --------------------------------------------------------

    @property
    def run(self) -> Path:
        """Sockets, pid files, the state file: what means nothing once the lab is down."""
        return RUN / self.lab

    @property
    def data(self) -> Path:
        """Stores, containers, images, logs, keys."""
        return DATA / self.lab

    @property
    def pki(self) -> Path:
        """What `wherry init` wrote."""
        return self.data / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.data / "admin.kubeconfig"

    def run_of(self, host: Host) -> Path:
        """The host's own directory for sockets and pid files."""
        return self.run / host.name

    def data_of(self, host: Host) -> Path:
        """The host's own directory for what it keeps."""
        return self.data / host.name

    def log(self, host: Host, process: str) -> Path:
        """The log file of one process."""
        return self.data / "log" / f"{host.name}-{process}.log"

    def containerd_socket(self, host: Host) -> Path:
        """Where the node's containerd listens."""
        return self.run_of(host) / "containerd.sock"

    def cgroup(self, host: Host) -> str:
        """The cgroup below which all containers of the node are."""
        return f"/wherry/{self.lab}/{host.name}"
