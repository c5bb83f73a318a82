# ruff: noqa: ARG002, FBT003 - arguments are the protocol's; ProbeResult(False, why) reads well
"""Asking a container how it is: exec, HTTP, TCP and gRPC, with the kubelet's words."""

import asyncio
import ssl
from typing import Final, Protocol

import grpc
import grpc.aio
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wherry.agent.hollow_life import READY_AFTER, seconds
from wherry.agent.probes import ProbeResult, port_number
from wherry.agent.runtime import ContainerRecord, Runtime, RuntimeRefusedError
from wherry.agent.views import Container, HttpGetAction, Pod, Probe
from wherry.api.clock import Clock
from wherry.api.errors import UnavailableError

MOST_BODY: Final = 10 * 1024
MOST_OUTPUT: Final = 10 * 1024


class ProbeRunner(Protocol):
    """Runs one probe once."""

    async def run(
        self, pod: Pod, container: Container, record: ContainerRecord, probe: Probe, pod_ip: str
    ) -> ProbeResult:
        """Return the answer; never raises for an unhealthy container."""
        ...

    def adapt(self, pod: Pod) -> Pod:
        """Return the pod with the probes that are to be run."""
        ...


class HollowProbeRunner:
    """Every probe passes, a readiness probe only some time after the start, where annotated."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def run(
        self, pod: Pod, container: Container, record: ContainerRecord, probe: Probe, pod_ip: str
    ) -> ProbeResult:
        """Compare the container's age with its pod's annotation."""
        try:
            after_s = seconds(pod.metadata.annotations, READY_AFTER)
        except RuntimeRefusedError as error:
            return ProbeResult(False, str(error))
        if probe is not container.readiness_probe:
            return ProbeResult(success=True)
        ready = self._clock.now() - record.started_at >= after_s
        return ProbeResult(ready, "hollow container is not ready yet")

    def adapt(self, pod: Pod) -> Pod:
        """Give a pod that is to be ready late a readiness probe, and quicken the one it has."""
        if READY_AFTER not in pod.metadata.annotations:
            return pod
        probe = Probe(period_seconds=1)
        containers = [
            msgspec.structs.replace(c, readiness_probe=probe) for c in pod.spec.containers
        ]
        spec = msgspec.structs.replace(pod.spec, containers=containers)
        return msgspec.structs.replace(pod, spec=spec)


class LinuxProbeRunner:
    """Real probes; the node can reach its pods' addresses."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(
        self, pod: Pod, container: Container, record: ContainerRecord, probe: Probe, pod_ip: str
    ) -> ProbeResult:
        """Run the probe's action within its timeout."""
        timeout_s = float(probe.timeout_seconds)
        if probe.exec is not None:
            return await self._exec(record, probe.exec.command, timeout_s)
        if probe.grpc is not None:
            return await grpc_check(pod_ip, probe.grpc.port, probe.grpc.service, timeout_s)
        action = probe.http_get or probe.tcp_socket
        if action is None:
            return ProbeResult(success=True)
        port = port_number(action.port, container)
        if port is None:
            return ProbeResult(False, f"couldn't find port: {action.port}")
        host = action.host or pod_ip
        if isinstance(action, HttpGetAction):
            return await http_get(action, host, port, timeout_s)
        return await tcp_connect(host, port, timeout_s)

    def adapt(self, pod: Pod) -> Pod:
        """Return the pod as it is."""
        return pod

    async def _exec(
        self, record: ContainerRecord, command: list[str], timeout_s: float
    ) -> ProbeResult:
        try:
            result = await self._runtime.exec_sync(record.id, command, timeout_s)
        except RuntimeRefusedError as error:
            if error.code == "DeadlineExceeded":
                text = " ".join(command)
                return ProbeResult(False, f'command "{text}" timed out')
            return ProbeResult(False, str(error))
        except UnavailableError:
            # Without the runtime nothing is known: that is not the container's fault.
            return ProbeResult(success=True)
        output = (result.stdout + result.stderr)[:MOST_OUTPUT].decode(errors="replace")
        return ProbeResult(result.exit_code == 0, output)


async def tcp_connect(host: str, port: int, timeout_s: float) -> ProbeResult:
    """Tell whether a connection opens."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return ProbeResult(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return ProbeResult(False, f"dial tcp {host}:{port}: connect: {_words(error)}")
    writer.close()
    return ProbeResult(success=True)


async def http_get(action: HttpGetAction, host: str, port: int, timeout_s: float) -> ProbeResult:
    """Tell whether the answer's status is 200..399."""
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    secure = action.scheme.upper() == "HTTPS"
    url = f'Get "{"https" if secure else "http"}://{host}:{port}{path}"'
    try:
        async with asyncio.timeout(timeout_s):
            code = await _status_of(action, host, port, path, secure=secure)
    except TimeoutError:
        return ProbeResult(
            False,
            f"{url}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        )
    except ssl.SSLError as error:
        return ProbeResult(False, f"{url}: tls: {error.reason}")
    except OSError as error:
        return ProbeResult(False, f"{url}: dial tcp {host}:{port}: connect: {_words(error)}")
    except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return ProbeResult(False, f"{url}: net/http: HTTP/1.x transport connection broken")
    if 200 <= code < 400:
        return ProbeResult(success=True)
    return ProbeResult(False, f"HTTP probe failed with statuscode: {code}")


async def _status_of(
    action: HttpGetAction, host: str, port: int, path: str, *, secure: bool
) -> int:
    context = None
    if secure:  # a probe asks whether it is up, not who it is
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=MOST_BODY)
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*"}
        headers |= {h.name: h.value for h in action.http_headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        await writer.drain()
        status = await reader.readuntil(b"\r\n")
    finally:
        writer.close()
    version, code, *_ = status.split(b" ", 2)
    if not version.startswith(b"HTTP/"):
        raise ValueError("not HTTP")
    return int(code)


async def grpc_check(host: str, port: int, service: str, timeout_s: float) -> ProbeResult:
    """Ask the health service."""
    try:
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            reply = await stub.Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_s
            )
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return ProbeResult(False, "this server does not implement the grpc health protocol")
        return ProbeResult(False, f'failed to connect service "{host}:{port}": {error.details()}')
    if reply.status == health_pb2.HealthCheckResponse.SERVING:
        return ProbeResult(success=True)
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return ProbeResult(False, f'service unhealthy (responded with "{name}")')


def _words(error: OSError) -> str:
    """Return the errno's words as Go prints them."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or str(error)).lower()
