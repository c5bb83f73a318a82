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
from typing import Protocol

from wherry.agent.runtime_config import (
    BACKOFF_ANNOTATION,
    ContainerConfig,
    PodRef,
    Resources,
    SandboxConfig,
)
from wherry.api.errors import WherryError


class RuntimeRefusedError(WherryError):
    """The runtime answered, and the answer is no; `code` is the gRPC code's name (`NotFound`)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {message}")
        self.code = code


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

    async def pod_address(self, sandbox: Sandbox) -> str:
        """Return the address under which the node reaches the pod, "" for the node's own."""
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
