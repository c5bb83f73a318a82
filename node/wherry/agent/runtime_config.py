"""What a container runtime is told: configurations of sandboxes and containers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BACKOFF_ANNOTATION: Final = "wherry.io/restart-backoff-seconds"
"""On a container: how long its successor will have to wait (see `sync`)."""
INIT_ANNOTATION: Final = "wherry.io/init-container"
"""On a container that is expected to end; the hollow runtime lets it."""


@dataclass(frozen=True, slots=True)
class PodRef:
    """Which pod a sandbox or container belongs to."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """A pod's resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the node that leads into the pod."""

    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Which of the node's namespaces the pod uses, and whether its containers share one for pids."""

    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_pid: bool = False


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What `run_sandbox` needs."""

    pod: PodRef
    attempt: int
    hostname: str
    log_directory: str
    cgroup_parent: str = ""
    dns: DnsSettings = DnsSettings()
    ports: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespaces: Namespaces = Namespaces()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = False
    seccomp: str = "RuntimeDefault"


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount; `propagation` is None, HostToContainer or Bidirectional."""

    container_path: str
    host_path: str
    readonly: bool = False
    propagation: str = "None"


@dataclass(frozen=True, slots=True)
class Resources:
    """cgroup values; 0 means not set. The quota is per `cpu_period_us`."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 100_000
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True)
class Security:
    """Privileges of a container; `seccomp` is RuntimeDefault, Unconfined or a profile's path."""

    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: str = "RuntimeDefault"


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What `create_container` needs; `log_path` is below the sandbox's log directory."""

    name: str
    attempt: int
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target_id: str = ""
    """The container whose processes this one sees, for debugging."""
    resources: Resources = Resources()
    security: Security = Security()
