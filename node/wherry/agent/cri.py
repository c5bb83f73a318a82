"""The runtime behind the CRI: containerd, over its Unix socket.

One gRPC channel carries the CRI and containerd's own event stream; the channel re-connects by
itself when containerd returns. Exits and OOM kills come from the event stream (containerd 1.6
does not serve CRI's own); it loses what happens while it is cut off, so it begins with RESYNC.
gRPC's errors are mapped in `_refusal` and nowhere else. Conversions: `cri_values`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Final, TypeVar

import grpc
import grpc.aio

from wherry.agent import cri_values as values
from wherry.agent.configure import POD_UID
from wherry.agent.runtime import (
    ContainerRecord,
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
from wherry.agent.runtime_config import ContainerConfig, PodRef, Resources, SandboxConfig
from wherry.api.errors import UnavailableError
from wherry.wire.containerd import events_pb2, events_pb2_grpc
from wherry.wire.cri import runtime_pb2 as pb
from wherry.wire.cri import runtime_pb2_grpc as rpc

NAMESPACE: Final = "k8s.io"
"""The containerd namespace in which its CRI plugin keeps everything."""
CALL_TIMEOUT_S: Final = 120.0
QUICK_TIMEOUT_S: Final = 10.0
PULL_TIMEOUT_S: Final = 1800.0
MOST_SETTLE_S: Final = 0.6
TASK_FILTER: Final = 'topic~="/tasks/(start|exit|oom)"'

T = TypeVar("T")


class CriRuntime:
    """Implements `Runtime`; use as an async context manager, which owns the channel.

    Args:
        endpoint: `unix:///run/containerd/containerd.sock`.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._channel: grpc.aio.Channel | None = None
        self._runtime: rpc.RuntimeServiceAsyncStub
        self._images: rpc.ImageServiceAsyncStub
        self._events: events_pb2_grpc.EventsAsyncStub

    async def __aenter__(self) -> "CriRuntime":
        options = [
            ("grpc.max_receive_message_length", 16 << 20),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.aio.insecure_channel(self._endpoint, options=options)
        self._runtime = rpc.RuntimeServiceStub(self._channel)
        self._images = rpc.ImageServiceStub(self._channel)
        self._events = events_pb2_grpc.EventsStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close(None)

    async def version(self) -> RuntimeVersion:
        """Return who answers."""
        reply = await _call(self._runtime.Version(pb.VersionRequest(), timeout=QUICK_TIMEOUT_S))
        return RuntimeVersion(reply.runtime_name, reply.runtime_version)

    async def health(self) -> RuntimeHealth:
        """Return the runtime's conditions as messages."""
        reply = await _call(self._runtime.Status(pb.StatusRequest(), timeout=QUICK_TIMEOUT_S))
        bad = {
            c.type: f"{c.type}=false reason:{c.reason} message:{c.message}"
            for c in reply.status.conditions
            if not c.status
        }
        return RuntimeHealth(bad.get("RuntimeReady", ""), bad.get("NetworkReady", ""))

    async def list_pods(self) -> list[RuntimePod]:
        """Return all pods with the full status of each container."""
        return await self._pods({})

    async def pod_status(self, pod: PodRef) -> RuntimePod:
        """Return what there is of one pod."""
        found = await self._pods({POD_UID: pod.uid})
        return next((p for p in found if p.pod.uid == pod.uid), RuntimePod(pod))

    async def _pods(self, labels: dict[str, str]) -> list[RuntimePod]:
        sandboxes = await _call(
            self._runtime.ListPodSandbox(
                pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=labels)),
                timeout=QUICK_TIMEOUT_S,
            )
        )
        containers = await _call(
            self._runtime.ListContainers(
                pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=labels)),
                timeout=QUICK_TIMEOUT_S,
            )
        )
        homes: dict[str, PodRef] = {}
        found: dict[str, tuple[PodRef, list[Sandbox], list[ContainerRecord]]] = {}
        for item in sandboxes.items:
            sandbox = await self._sandbox(item)
            entry = found.setdefault(sandbox.pod.uid, (sandbox.pod, [], []))
            entry[1].append(sandbox)
            homes[sandbox.id] = sandbox.pod
        for listed in containers.containers:
            pod = homes.get(listed.pod_sandbox_id) or values.pod_of_labels(listed.labels)
            record = await self._record(listed)
            if record is not None:
                found.setdefault(pod.uid, (pod, [], []))[2].append(record)
        return [runtime_pod(*entry) for entry in found.values()]

    async def _sandbox(self, item: pb.PodSandbox) -> Sandbox:
        address = ""
        if item.state == pb.SANDBOX_READY:
            try:
                reply = await _call(
                    self._runtime.PodSandboxStatus(
                        pb.PodSandboxStatusRequest(pod_sandbox_id=item.id), timeout=QUICK_TIMEOUT_S
                    )
                )
                address = reply.status.network.ip
            except RuntimeRefusedError as error:
                _pass_not_found(error)  # removed since it was listed
        return values.sandbox(item, address)

    async def _record(self, listed: pb.Container) -> ContainerRecord | None:
        try:
            reply = await _call(
                self._runtime.ContainerStatus(
                    pb.ContainerStatusRequest(container_id=listed.id), timeout=QUICK_TIMEOUT_S
                )
            )
        except RuntimeRefusedError as error:
            _pass_not_found(error)
            return None
        return values.record(reply.status, listed.pod_sandbox_id)

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make and start a sandbox."""
        request = pb.RunPodSandboxRequest(config=values.sandbox_message(config))
        reply = await _call(self._runtime.RunPodSandbox(request, timeout=CALL_TIMEOUT_S))
        return reply.pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop; gone already is as good."""
        request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await _gone_is_fine(self._runtime.StopPodSandbox(request, timeout=CALL_TIMEOUT_S))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove; gone already is as good."""
        request = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await _gone_is_fine(self._runtime.RemovePodSandbox(request, timeout=CALL_TIMEOUT_S))

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig
    ) -> str:
        """Make a container."""
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=values.container_message(config, sandbox),
            sandbox_config=values.sandbox_message(sandbox),
        )
        reply = await _call(self._runtime.CreateContainer(request, timeout=CALL_TIMEOUT_S))
        return reply.container_id

    async def start_container(self, container_id: str) -> None:
        """Start it."""
        request = pb.StartContainerRequest(container_id=container_id)
        await _call(self._runtime.StartContainer(request, timeout=CALL_TIMEOUT_S))

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """Stop it, waiting a little longer than the grace period."""
        request = pb.StopContainerRequest(container_id=container_id, timeout=int(grace_s))
        await _gone_is_fine(self._runtime.StopContainer(request, timeout=CALL_TIMEOUT_S + grace_s))

    async def remove_container(self, container_id: str) -> None:
        """Remove; gone already is as good."""
        request = pb.RemoveContainerRequest(container_id=container_id)
        await _gone_is_fine(self._runtime.RemoveContainer(request, timeout=CALL_TIMEOUT_S))

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Write its cgroup."""
        request = pb.UpdateContainerResourcesRequest(container_id=container_id)
        values.write_resources(resources, request.linux)
        await _call(self._runtime.UpdateContainerResources(request, timeout=QUICK_TIMEOUT_S))

    async def reopen_log(self, container_id: str) -> None:
        """Reopen the log file."""
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await _call(self._runtime.ReopenContainerLog(request, timeout=QUICK_TIMEOUT_S))

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run a command; containerd ends it after the timeout."""
        request = pb.ExecSyncRequest(
            container_id=container_id, cmd=command, timeout=max(int(timeout_s), 1)
        )
        reply = await _call(self._runtime.ExecSync(request, timeout=timeout_s + QUICK_TIMEOUT_S))
        return ExecResult(reply.exit_code, reply.stdout, reply.stderr)

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
        """Return the stream server's URL."""
        request = pb.ExecRequest(
            container_id=container_id,
            cmd=command,
            tty=tty,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        return (await _call(self._runtime.Exec(request, timeout=QUICK_TIMEOUT_S))).url

    async def attach_url(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        """Return the stream server's URL."""
        request = pb.AttachRequest(
            container_id=container_id, stdin=stdin, tty=tty, stdout=stdout, stderr=stderr
        )
        return (await _call(self._runtime.Attach(request, timeout=QUICK_TIMEOUT_S))).url

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Return the stream server's URL."""
        request = pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports)
        return (await _call(self._runtime.PortForward(request, timeout=QUICK_TIMEOUT_S))).url

    async def pod_address(self, sandbox: Sandbox) -> str:
        """Return the sandbox's own: the node has a route to it."""
        return sandbox.ip

    async def pull_image(self, image: str, auth: ImageAuth | None = None) -> str:
        """Fetch an image."""
        login = pb.AuthConfig(username=auth.username, password=auth.password) if auth else None
        request = pb.PullImageRequest(image=pb.ImageSpec(image=image), auth=login)
        return (await _call(self._images.PullImage(request, timeout=PULL_TIMEOUT_S))).image_ref

    async def image(self, image: str) -> Image | None:
        """Return the image if it is here."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image))
        reply = await _call(self._images.ImageStatus(request, timeout=QUICK_TIMEOUT_S))
        return values.image(reply.image) if reply.image.id else None

    async def list_images(self) -> list[Image]:
        """Return all images."""
        reply = await _call(
            self._images.ListImages(pb.ListImagesRequest(), timeout=QUICK_TIMEOUT_S)
        )
        return [values.image(i) for i in reply.images]

    async def remove_image(self, image_id: str) -> None:
        """Delete an image."""
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image_id))
        await _gone_is_fine(self._images.RemoveImage(request, timeout=CALL_TIMEOUT_S))

    async def stats(self) -> list[ContainerStats]:
        """Return the use of every running container."""
        request = pb.ListContainerStatsRequest()
        reply = await _call(self._runtime.ListContainerStats(request, timeout=CALL_TIMEOUT_S))
        return [values.stats(s) for s in reply.stats]

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """Yield starts, exits and OOM kills of tasks, which are containers and sandboxes."""
        request = events_pb2.SubscribeRequest(filters=[TASK_FILTER])
        call = self._events.Subscribe(
            request, metadata=(("containerd-namespace", NAMESPACE),), wait_for_ready=True
        )
        try:
            yield RuntimeEvent(RuntimeEventKind.RESYNC)
            async for envelope in call:
                event = values.event(envelope)
                if event is None:
                    continue
                if event.kind is RuntimeEventKind.EXITED:
                    await self._until_visible(event.id)
                yield event
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(f"containerd's event stream ended: {error.details()}") from error
        finally:
            call.cancel()
        raise UnavailableError("containerd's event stream ended")

    async def _until_visible(self, subject: str) -> None:
        """Wait until the CRI shows an exit too: its plugin hears of it by the same events.

        Measured: mostly a few milliseconds, sometimes 30. Without this, a look at the pod
        right after the event would find the container running, and nothing would call again.
        """
        delay_s = 0.002
        while delay_s < MOST_SETTLE_S:
            try:
                if not await self._alive(subject):
                    return
            except (UnavailableError, RuntimeRefusedError):
                return  # who looks next will see the same, and retries
            await asyncio.sleep(delay_s)
            delay_s *= 2

    async def _alive(self, subject: str) -> bool:
        """Tell whether the CRI shows a container as running or a sandbox as ready."""
        try:
            request = pb.ContainerStatusRequest(container_id=subject)
            reply = await _call(self._runtime.ContainerStatus(request, timeout=QUICK_TIMEOUT_S))
        except RuntimeRefusedError as error:
            _pass_not_found(error)
        else:
            return reply.status.state == pb.CONTAINER_RUNNING
        try:
            sandbox = pb.PodSandboxStatusRequest(pod_sandbox_id=subject)
            found = await _call(self._runtime.PodSandboxStatus(sandbox, timeout=QUICK_TIMEOUT_S))
        except RuntimeRefusedError as error:
            _pass_not_found(error)
            return False
        return found.status.state == pb.SANDBOX_READY


async def _call(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise _refusal(error) from error


async def _gone_is_fine(call: Awaitable[pb.Empty]) -> None:
    try:
        await _call(call)
    except RuntimeRefusedError as error:
        _pass_not_found(error)


def _pass_not_found(error: RuntimeRefusedError) -> None:
    if error.code != "NotFound":
        raise error


def _refusal(error: grpc.aio.AioRpcError) -> UnavailableError | RuntimeRefusedError:
    """Map gRPC's error: no answer is UNAVAILABLE, everything else is the runtime's no."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(f"the container runtime does not answer: {details}")
    name = "".join(part.capitalize() for part in code.name.split("_"))  # as Go prints codes
    return RuntimeRefusedError(name, details)
