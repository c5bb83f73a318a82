"""The container runtime as the agent sees it: `Runtime`, and the values that cross it.

Two implementations, one contract suite (tests/contract/test_runtime.py): `cri.CriRuntime`
(containerd) and `hollow.HollowRuntime` (memory). Times are seconds since the epoch, 0.0
where a thing has not happened. Stopping and removing what is gone already succeeds.

Errors: `UnavailableError` when the runtime does not answer (retry), `RuntimeRefusedError`
when it answered no; its text is what users see, as `rpc error: code = X desc = Y`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from wherry.api.errors import WherryError

BACKOFF_ANNOTATION: Final = "wherry.io/restart-backoff-seconds"
"""On a container: how long its successor will have to wait (see `sync`)."""
INIT_ANNOTATION: Final = "wherry.io/init-container"
"""On a container that is expected to end; the hollow runtime lets it."""


class RuntimeRefusedError(WherryError):
    """The runtime answered, and the answer is no; `code` is the gRPC code's name (`NotFound`)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class PodRef:
    """Which pod a sandbox or container belongs to."""

    namespace: str
    name: str
    uid: str


class ContainerState(StrEnum):
    """The life of a container, one way."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's namespaces and address; `ip` is "" on the host's network."""

    id: str
    pod: PodRef
    attempt: int
    ready: bool
    created_at: float
    ip: str = ""


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A container as the runtime knows it, alive or dead."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    image: str
    image_ref: str
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def backoff_s(self) -> float:
        """Return how long the next attempt waits after this one's end."""
        return float(self.annotations.get(BACKOFF_ANNOTATION, "0"))


@dataclass(frozen=True, slots=True)
class RuntimePod:
    """All that the runtime has of one pod; sandboxes and containers newest first."""

    pod: PodRef
    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()

    @property
    def sandbox(self) -> Sandbox | None:
        """Return the newest sandbox."""
        return self.sandboxes[0] if self.sandboxes else None

    def attempts(self, name: str) -> list[ContainerRecord]:
        """Return the containers of that name, newest first."""
        return [c for c in self.containers if c.name == name]


def runtime_pod(
    pod: PodRef, sandboxes: Sequence[Sandbox], containers: Sequence[ContainerRecord]
) -> RuntimePod:
    """Build a `RuntimePod`, sorting its parts newest first."""
    return RuntimePod(
        pod,
        tuple(sorted(sandboxes, key=lambda s: (s.attempt, s.created_at), reverse=True)),
        tuple(sorted(containers, key=lambda c: (c.attempt, c.created_at), reverse=True)),
    )


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


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the node."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size_bytes: int = 0
    uid: int | None = None
    username: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ImageAuth:
    """A registry login."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command printed and how it ended."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """Use of one running container."""

    id: str
    name: str
    pod: PodRef
    at: float
    cpu_usage_ns: int
    memory_working_set_bytes: int
    rootfs_used_bytes: int


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """Name and version, as `containerd` `1.6.20`."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class RuntimeHealth:
    """What the runtime says of itself; a message says what is not ready, "" when all is."""

    runtime_message: str = ""
    network_message: str = ""


class RuntimeEventKind(StrEnum):
    """What happened in the runtime."""

    STARTED = "started"
    EXITED = "exited"
    OOM = "oom"
    RESYNC = "resync"  # events may have been lost: look at everything


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """A change of a container or sandbox; `id` is either's."""

    kind: RuntimeEventKind
    id: str = ""


class Runtime(Protocol):
    """Verbs of the container runtime, after the CRI's."""

    async def version(self) -> RuntimeVersion:
        """Return who answers."""
        ...

    async def health(self) -> RuntimeHealth:
        """Return whether containers and networks can be made."""
        ...

    async def list_pods(self) -> list[RuntimePod]:
        """Return all pods with the full status of each container."""
        ...

    async def pod_status(self, pod: PodRef) -> RuntimePod:
        """Return what there is of the pod with `pod.uid`; empty where there is nothing."""
        ...

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make and start a sandbox; return its id."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill its containers, free its address."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Forget it and its containers."""
        ...

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig
    ) -> str:
        """Make a container of an image that is on the node; return its id."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Start it; a command that cannot run is refused, and the container EXITED 128."""
        ...

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """Signal it, kill it after `grace_s`, return when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Forget it."""
        ...

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Give a running container other cgroup values."""
        ...

    async def reopen_log(self, container_id: str) -> None:
        """Open the log file anew, after it was renamed."""
        ...

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run a command in the container.

        Raises:
            RuntimeRefusedError: with code DeadlineExceeded after `timeout_s`.
        """
        ...

    async def exec_url(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        tty: bool,
    ) -> str:
        """Return a one-time URL of the stream server that runs the command."""
        ...

    async def attach_url(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        """Return a one-time URL that attaches to the container's own process."""
        ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Return a one-time URL that forwards to ports of the pod."""
        ...

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        """Fetch an image; return its id."""
        ...

    async def image(self, image: str) -> Image | None:
        """Return the image if it is on the node."""
        ...

    async def list_images(self) -> list[Image]:
        """Return all images on the node."""
        ...

    async def remove_image(self, image_id: str) -> None:
        """Delete an image."""
        ...

    async def stats(self) -> list[ContainerStats]:
        """Return the use of every running container."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Yield what happens, once `pod_status` shows it.

        Begins with RESYNC; raises `UnavailableError` when cut off.
        """
        ...
