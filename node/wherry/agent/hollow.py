# ruff: noqa: ARG002 - the arguments are those of the Runtime protocol
"""A runtime without containers: pods "run" in memory, on any number of nodes in one process.

Made for tests, for CI of operators, and for a thousand nodes on a laptop. All images exist,
except those whose name begins with `does-not-exist/`. What a container does can be said by
annotations of its pod (`hollow_life`). A killed container ends at once, with 137.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from wherry.agent.hollow_life import KILLED, life_of, made_up_stats
from wherry.agent.runtime import (
    ContainerRecord,
    ContainerState,
    ContainerStats,
    ExecResult,
    Image,
    ImageAuth,
    RuntimeEvent,
    RuntimeEventKind,
    RuntimeHealth,
    RuntimePod,
    RuntimeRefusedError,
    RuntimeVersion,
    Sandbox,
    runtime_pod,
)
from wherry.agent.runtime_config import (
    INIT_ANNOTATION,
    ContainerConfig,
    PodRef,
    Resources,
    SandboxConfig,
)
from wherry.api.clock import Clock

MISSING_PREFIX: Final = "does-not-exist/"


@dataclass(slots=True)
class _Box:
    """A sandbox, its configuration, its containers and what they may use."""

    sandbox: Sandbox
    config: SandboxConfig
    containers: dict[str, ContainerRecord] = field(default_factory=dict)
    resources: dict[str, Resources] = field(default_factory=dict)


class HollowRuntime:
    """Implements `Runtime` in memory. It outlives the agent that uses it, as containerd does.

    Args:
        clock: Source of timestamps; waiting is the event loop's.
        name: Makes ids unique among the runtimes of one process.
        pod_cidr: Where addresses come from until `use_pod_cidr` gives the node's own.
        start_latency_s: How long a container takes to start.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "hollow",
        pod_cidr: str = "10.244.0.0/24",
        start_latency_s: float = 0.0,
    ) -> None:
        self._clock = clock
        self._name = name
        self._start_latency_s = start_latency_s
        self._boxes: dict[str, _Box] = {}
        self._homes: dict[str, str] = {}
        self._uids: dict[str, list[str]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._images: dict[str, Image] = {}
        self._subscribers: set[asyncio.Queue[RuntimeEvent]] = set()
        self._serial = 0
        self._taken: set[int] = set()
        self.use_pod_cidr(pod_cidr)

    def use_pod_cidr(self, pod_cidr: str) -> None:
        """Give addresses from here; pods that have one keep it."""
        self._network = ipaddress.IPv4Network(pod_cidr)

    async def version(self) -> RuntimeVersion:
        """Return the name `hollow`."""
        return RuntimeVersion("hollow", "0.1.0")

    async def health(self) -> RuntimeHealth:
        """Return that all is well."""
        return RuntimeHealth()

    async def list_pods(self) -> list[RuntimePod]:
        """Return all pods."""
        return [self._pod(uid) for uid in self._uids]

    async def pod_status(self, pod: PodRef) -> RuntimePod:
        """Return one pod."""
        return self._pod(pod.uid) if pod.uid in self._uids else RuntimePod(pod)

    def _pod(self, uid: str) -> RuntimePod:
        boxes = [self._boxes[i] for i in self._uids[uid]]
        records = [c for box in boxes for c in box.containers.values()]
        return runtime_pod(boxes[0].config.pod, [b.sandbox for b in boxes], records)

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Give the pod an address."""
        siblings = [self._boxes[i] for i in self._uids.get(config.pod.uid, ())]
        if any(b.config.attempt == config.attempt for b in siblings):
            raise RuntimeRefusedError(
                "Unknown", f"failed to reserve sandbox name {config.pod.name}"
            )
        sandbox_id = self._new_id()
        ip = "" if config.namespaces.host_network else self._address()
        sandbox = Sandbox(sandbox_id, config.pod, config.attempt, True, self._clock.now(), ip)  # noqa: FBT003
        self._boxes[sandbox_id] = _Box(sandbox, config)
        self._uids.setdefault(config.pod.uid, []).append(sandbox_id)
        self._homes[sandbox_id] = sandbox_id
        return sandbox_id

    def _address(self) -> str:
        first = int(self._network.network_address)
        size = self._network.num_addresses
        for offset in range(2, size - 1):
            if first + offset not in self._taken:
                self._taken.add(first + offset)
                return str(ipaddress.IPv4Address(first + offset))
        raise RuntimeRefusedError(
            "Unknown", f"no IP addresses available in range set: {self._network}"
        )

    def _new_id(self) -> str:
        self._serial += 1
        return f"{self._name}-{self._serial:x}"

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill its containers, free its address."""
        box = self._boxes.get(sandbox_id)
        if box is None or not box.sandbox.ready:
            return
        for container_id in list(box.containers):
            self._end(container_id, KILLED, "Error")
        if box.sandbox.ip:
            self._taken.discard(int(ipaddress.IPv4Address(box.sandbox.ip)))
        box.sandbox = replace(box.sandbox, ready=False, ip="")
        self._publish(RuntimeEventKind.EXITED, sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Forget it."""
        await self.stop_sandbox(sandbox_id)
        box = self._boxes.pop(sandbox_id, None)
        if box is None:
            return
        uid = box.config.pod.uid
        self._uids[uid].remove(sandbox_id)
        if not self._uids[uid]:
            del self._uids[uid]
        for gone in (sandbox_id, *box.containers):
            self._homes.pop(gone, None)

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig
    ) -> str:
        """Make a container."""
        box = self._boxes.get(sandbox_id)
        if box is None:
            raise RuntimeRefusedError("NotFound", f"sandbox {sandbox_id} not found")
        image = await self.image(config.image)
        if image is None:
            raise RuntimeRefusedError("NotFound", f"image {config.image} not found")
        same = [c for c in box.containers.values() if c.name == config.name]
        if any(c.attempt == config.attempt for c in same):
            raise RuntimeRefusedError("Unknown", f"failed to reserve container name {config.name}")
        container_id = self._new_id()
        box.containers[container_id] = ContainerRecord(
            id=container_id,
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            image=image.tags[0],
            image_ref=image.id,
            created_at=self._clock.now(),
            annotations=dict(config.annotations),
        )
        box.resources[container_id] = config.resources
        self._homes[container_id] = sandbox_id
        return container_id

    async def start_container(self, container_id: str) -> None:
        """Let it run, and end when its pod's annotations say."""
        if self._start_latency_s:
            await asyncio.sleep(self._start_latency_s)
        box, record = self._find(container_id)
        if record.state is not ContainerState.CREATED:
            raise RuntimeRefusedError(
                "Unknown", f"container {container_id} is in {record.state} state"
            )
        life = life_of(box.config.annotations, init=INIT_ANNOTATION in record.annotations)
        box.containers[container_id] = replace(
            record, state=ContainerState.RUNNING, started_at=self._clock.now()
        )
        self._publish(RuntimeEventKind.STARTED, container_id)
        if life is not None:
            after_s, code, reason = life
            loop = asyncio.get_running_loop()
            self._timers[container_id] = loop.call_later(
                after_s, self._end, container_id, code, reason
            )

    def _end(self, container_id: str, code: int, reason: str) -> None:
        timer = self._timers.pop(container_id, None)
        if timer is not None:
            timer.cancel()
        home = self._homes.get(container_id)
        record = self._boxes[home].containers.get(container_id) if home is not None else None
        if home is None or record is None or record.state is ContainerState.EXITED:
            return
        self._boxes[home].containers[container_id] = replace(
            record,
            state=ContainerState.EXITED,
            started_at=record.started_at or self._clock.now(),
            finished_at=self._clock.now(),
            exit_code=code,
            reason=reason,
        )
        if reason == "OOMKilled":
            self._publish(RuntimeEventKind.OOM, container_id)
        self._publish(RuntimeEventKind.EXITED, container_id)

    def crash(self, container_id: str, code: int = 1) -> None:
        """End a container from outside, as a test does."""
        self._end(container_id, code, "Completed" if code == 0 else "Error")

    def lose_sandbox(self, sandbox_id: str) -> None:
        """Let a sandbox die, and its containers with it, as when its shim is killed."""
        box = self._boxes[sandbox_id]
        for container_id in list(box.containers):
            self._end(container_id, 255, "Unknown")
        box.sandbox = replace(box.sandbox, ready=False, ip="")
        self._publish(RuntimeEventKind.EXITED, sandbox_id)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """End it at once: nothing in it could want the grace period."""
        self._end(container_id, KILLED, "Error")

    async def remove_container(self, container_id: str) -> None:
        """Forget it."""
        self._end(container_id, KILLED, "Error")
        home = self._homes.pop(container_id, None)
        if home is not None:
            self._boxes[home].containers.pop(container_id, None)
            self._boxes[home].resources.pop(container_id, None)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Remember them: its use is made up from them."""
        box, _ = self._find(container_id)
        box.resources[container_id] = resources

    async def reopen_log(self, container_id: str) -> None:
        """Do nothing: there is no log file."""
        self._find(container_id)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Succeed: every command does nothing, well."""
        _, record = self._find(container_id)
        if record.state is not ContainerState.RUNNING:
            raise RuntimeRefusedError("Unknown", f"container {container_id} is not running")
        return ExecResult(0)

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
        """Refuse."""
        raise _no_processes()

    async def attach_url(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        """Refuse."""
        raise _no_processes()

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Refuse."""
        raise _no_processes()

    async def pod_address(self, sandbox: Sandbox) -> str:
        """Refuse: the address is nobody's, or somebody else's."""
        raise _no_processes()

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        """Have the image, unless it does not exist."""
        if image.startswith(MISSING_PREFIX):
            raise RuntimeRefusedError(
                "NotFound",
                f'failed to pull and unpack image "{image}": failed to resolve reference '
                f'"{image}": {image}: not found',
            )
        self._images[image] = Image(f"hollow:{image}", (image,), size_bytes=1 << 20)
        return f"hollow:{image}"

    async def image(self, image: str) -> Image | None:
        """Return the image if it was pulled."""
        return self._images.get(image.removeprefix("hollow:"))

    async def list_images(self) -> list[Image]:
        """Return the images that were pulled."""
        return list(self._images.values())

    async def remove_image(self, image_id: str) -> None:
        """Forget an image."""
        self._images.pop(image_id.removeprefix("hollow:"), None)

    async def stats(self) -> list[ContainerStats]:
        """Return a tenth of the cpu that was asked for, and a quarter of the memory allowed."""
        now = self._clock.now()
        return [
            made_up_stats(c, box.config.pod, box.resources[c.id], now)
            for box in self._boxes.values()
            for c in box.containers.values()
            if c.state is ContainerState.RUNNING
        ]

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """Yield what happens from now on."""
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            yield RuntimeEvent(RuntimeEventKind.RESYNC)
            while True:
                yield await queue.get()
        finally:
            self._subscribers.discard(queue)

    def _publish(self, kind: RuntimeEventKind, subject: str) -> None:
        for queue in self._subscribers:
            queue.put_nowait(RuntimeEvent(kind, subject))

    def _find(self, container_id: str) -> tuple[_Box, ContainerRecord]:
        home = self._homes.get(container_id)
        record = self._boxes[home].containers.get(container_id) if home is not None else None
        if home is None or record is None:
            raise RuntimeRefusedError("NotFound", f"container {container_id} not found")
        return self._boxes[home], record


def _no_processes() -> RuntimeRefusedError:
    return RuntimeRefusedError("Unimplemented", "hollow pods have no processes")
