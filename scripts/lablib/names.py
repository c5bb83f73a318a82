"""The words of the lab's command line: labs, hosts and their processes."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lablib.errors import LabError

MAX_MASTERS: Final = 5
MAX_NODES: Final = 99

MASTER_PROCESSES: Final = ("store", "apiserver", "scheduler", "controller-manager")
NODE_PROCESSES: Final = ("containerd", "overlay", "agent", "proxy", "dns")
HOLLOW_PROCESSES: Final = ("agent",)
REGISTRY_PROCESSES: Final = ("registry",)

_LAB: Final = re.compile(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?")


class Role(StrEnum):
    """What a host is for."""

    MASTER = "master"
    NODE = "node"
    REGISTRY = "registry"


class Runtime(StrEnum):
    """What runs the pods: containerd, or nothing (pods that only exist in the API)."""

    CRI = "cri"
    HOLLOW = "hollow"


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a lab; `index` counts from 1 within its role."""

    role: Role
    index: int

    @property
    def name(self) -> str:
        """Its name on the command line and in the cluster."""
        return self.role if self.role is Role.REGISTRY else f"{self.role}-{self.index}"

    def processes(self, runtime: Runtime) -> tuple[str, ...]:
        """The processes that belong on it, in the order in which they start."""
        if self.role is Role.MASTER:
            return MASTER_PROCESSES
        if self.role is Role.REGISTRY:
            return REGISTRY_PROCESSES
        return NODE_PROCESSES if runtime is Runtime.CRI else HOLLOW_PROCESSES


def validate_lab(name: str) -> str:
    """Return `name` if it can name a lab.

    It becomes part of namespace names and of a network device (15 characters at most).

    Raises:
        LabError: it cannot.
    """
    if not _LAB.fullmatch(name):
        raise LabError(
            f"{name!r} cannot name a lab",
            "a name has 1 to 10 characters, a-z, 0-9 and -, and begins with a letter",
        )
    return name


def hosts(masters: int, nodes: int, runtime: Runtime) -> tuple[Host, ...]:
    """All hosts of a lab of this size.

    Raises:
        LabError: the size is out of bounds.
    """
    if masters not in (1, 3, MAX_MASTERS):
        raise LabError(f"{masters} masters", "Raft wants a majority: choose 1, 3 or 5")
    if not 0 <= nodes <= MAX_NODES:
        raise LabError(f"{nodes} nodes", f"choose 0 to {MAX_NODES}")
    registry = (Host(Role.REGISTRY, 1),) if runtime is Runtime.CRI else ()
    return (
        *registry,
        *(Host(Role.MASTER, i) for i in range(1, masters + 1)),
        *(Host(Role.NODE, i) for i in range(1, nodes + 1)),
    )
