"""The agent's HTTPS door, with the kubelet's paths.

    GET  /containerLogs/{namespace}/{pod}/{container}  ?follow previous tailLines ...
    any  /exec/... /attach/... /portForward/{namespace}/{pod}  upgrades, passed on unchanged
    GET  /dial/{namespace}/{pod}  ?port; becomes a TCP connection to the pod's address
    GET  /pods /stats/summary /metrics/resource  ?node or X-Node-Name, where one process is several
    GET  /metrics /healthz

Only the API server (CN system:apiserver) and administrators (O system:masters) get in.
Refusals are Kubernetes Status objects.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson
from prometheus_client import REGISTRY, generate_latest

from wherry.agent.agent import Agent
from wherry.agent.http1 import Answer, Reply, Request, Stream, Takeover
from wherry.agent.logs import LogOptions
from wherry.agent.machine import MachineInfo, Pressure
from wherry.agent.pod_worker import PodWorker
from wherry.agent.runtime import (
    ContainerRecord,
    ContainerState,
    RuntimeRefusedError,
)
from wherry.agent.standing import restarts
from wherry.agent.streaming import dial, splice
from wherry.agent.summary import resource_metrics, summary
from wherry.agent.usage import Usage, UsageMeter
from wherry.api.clock import Clock
from wherry.api.dialing import NODE_HEADER
from wherry.api.errors import (
    BadRequestError,
    ForbiddenError,
    InternalError,
    MethodNotAllowedError,
    NotFoundError,
    NotImplementedStatusError,
    ServiceUnavailableError,
    StatusError,
    UnavailableError,
)
from wherry.api.times import parse_time

log = logging.getLogger(__name__)
API_SERVER: Final = "system:apiserver"
MASTERS: Final = "system:masters"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class AgentServer:
    """Answers for the agents of one process.

    Args:
        agents: All of them; pods are found by name among them.
        clock: For `sinceSeconds`.
    """

    def __init__(self, agents: Sequence[Agent], clock: Clock) -> None:
        self._agents = agents
        self._clock = clock
        self._meters = {a.name: UsageMeter(a.runtime, a.machine, clock) for a in agents}

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            if request.user != API_SERVER and MASTERS not in request.groups:
                raise ForbiddenError(f"Forbidden (user={request.user}, verb={request.method})")
            return await self._route(request)
        except StatusError as error:
            return _refusal(error)
        except UnavailableError as error:
            return _refusal(ServiceUnavailableError(str(error)))
        except RuntimeRefusedError as error:
            if error.code == "Unimplemented":
                message = str(error).rpartition(" desc = ")[2]
                return _refusal(NotImplementedStatusError(message))
            return _refusal(InternalError(str(error)))

    async def _route(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        match parts:
            case ["healthz"]:
                return Reply(200, b"ok")
            case ["metrics"]:
                return Reply(200, generate_latest(REGISTRY), _PROMETHEUS)
            case ["pods"]:
                return _json({"kind": "PodList", "apiVersion": "v1", "items": self._pods(request)})
            case ["stats", "summary"]:
                agent = self._node(request)
                return _json(summary(agent.name, *await self._used(agent)))
            case ["metrics", "resource"]:
                text = resource_metrics(*await self._used(self._node(request)))
                return Reply(200, text.encode(), _PROMETHEUS)
            case [_, namespace, pod, *rest]:
                return await self._pod_route(request, parts[0], namespace, pod, rest)
            case _:
                raise _no_such_path()

    async def _pod_route(
        self, request: Request, verb: str, namespace: str, pod: str, rest: list[str]
    ) -> Answer:
        """Route what is about one pod; the kubelet's paths may name its uid before the container."""
        match verb, rest:
            case "containerLogs", [container]:
                if request.method != "GET":
                    raise MethodNotAllowedError("logs are read by GET")
                return await self._logs(request, namespace, pod, container)
            case "exec", [*_, container] if len(rest) <= 2:
                return await self._exec(request, namespace, pod, container)
            case "attach", [*_, container] if len(rest) <= 2:
                return await self._attach(request, namespace, pod, container)
            case "portForward", [] | [_]:
                return await self._port_forward(request, namespace, pod)
            case "dial", []:
                return await self._dial(request, namespace, pod)
            case _:
                raise _no_such_path()

    def _find(self, namespace: str, pod: str) -> tuple[Agent, PodWorker]:
        for agent in self._agents:
            worker = agent.find(namespace, pod)
            if worker is not None:
                return agent, worker
        raise NotFoundError(
            f'pod "{pod}" not found in namespace "{namespace}"', name=pod, kind="pods"
        )

    # -- logs -------------------------------------------------------------------------------

    async def _logs(self, request: Request, namespace: str, name: str, container: str) -> Answer:
        agent, worker = self._find(namespace, name)
        previous = request.flag("previous")
        record = _record_for_logs(worker, container, previous=previous)
        options = log_options(request, self._clock.now())

        async def running() -> bool:
            current = next((c for c in worker.runtime.containers if c.id == record.id), None)
            return current is not None and current.state is ContainerState.RUNNING

        pieces = agent.host.read_log(worker.ref, record, options, running)
        return Stream(pieces)

    # -- upgrades ---------------------------------------------------------------------------

    async def _exec(self, request: Request, namespace: str, name: str, container: str) -> Answer:
        agent, worker = self._find(namespace, name)
        _require_upgrade(request)
        record = _running(worker, container)
        command = request.texts("command")
        if not command:
            raise BadRequestError("you must specify at least one command for the container")
        tty = request.flag("tty")
        url = await agent.runtime.exec_url(
            record.id,
            command,
            stdin=request.flag("input", "stdin"),
            stdout=request.flag("output", "stdout"),
            stderr=request.flag("error", "stderr") and not tty,
            tty=tty,
        )
        return _tunnel(request, url)

    async def _attach(self, request: Request, namespace: str, name: str, container: str) -> Answer:
        agent, worker = self._find(namespace, name)
        _require_upgrade(request)
        record = _running(worker, container)
        pod = worker.pod
        spec = pod.container(container) if pod is not None else None
        tty = spec.tty if spec is not None else request.flag("tty")
        url = await agent.runtime.attach_url(
            record.id,
            stdin=request.flag("input", "stdin"),
            stdout=request.flag("output", "stdout"),
            stderr=request.flag("error", "stderr") and not tty,
            tty=tty,
        )
        return _tunnel(request, url)

    async def _port_forward(self, request: Request, namespace: str, name: str) -> Answer:
        agent, worker = self._find(namespace, name)
        _require_upgrade(request)
        sandbox = worker.runtime.sandbox
        if sandbox is None or not sandbox.ready:
            raise BadRequestError(f"unable to forward port because pod {name} is not running")
        texts = [t for text in request.texts("port") for t in text.split(",") if t]
        if not all(t.isdigit() for t in texts):
            raise BadRequestError(f"unable to parse ports {texts}")
        url = await agent.runtime.port_forward_url(sandbox.id, [int(t) for t in texts])
        return _tunnel(request, url)

    async def _dial(self, request: Request, namespace: str, name: str) -> Answer:
        """Connect to a port of the pod's address: for the API server's proxy, not only loopback."""
        agent, worker = self._find(namespace, name)
        _require_upgrade(request)
        sandbox = worker.runtime.sandbox
        if sandbox is None or not sandbox.ready:
            raise BadRequestError(f"unable to dial because pod {name} is not running")
        port = request.text("port")
        if not port.isdigit():
            raise BadRequestError(f"unable to parse port {port!r}")
        address = await agent.runtime.pod_address(sandbox)
        return Takeover(await dial(address or agent.ip, int(port)))

    # -- what runs ---------------------------------------------------------------------------

    def _pods(self, request: Request) -> list[Any]:
        asked = NODE_HEADER in request.headers
        agents = [self._node(request)] if asked else self._agents
        return [
            {"kind": "Pod", "apiVersion": "v1", **orjson.loads(msgspec.json.encode(pod))}
            for agent in agents
            for pod in agent.pods()
        ]

    def _node(self, request: Request) -> Agent:
        """Return the agent that is meant; without a name, the only one or the first."""
        name = request.text("node") or request.headers.get(NODE_HEADER, "")
        for agent in self._agents:
            if name in ("", agent.name):
                return agent
        raise NotFoundError(f'nodes "{name}" not found', name=name, kind="nodes")

    async def _used(self, agent: Agent) -> tuple[Usage, MachineInfo, Pressure]:
        used = await self._meters[agent.name].measure()
        return used, agent.machine.info(), agent.machine.pressure()


def _no_such_path() -> NotFoundError:
    return NotFoundError("the server could not find the requested resource")


def log_options(request: Request, now: float) -> LogOptions:
    """Read the parameters of a log request.

    Raises:
        BadRequestError: one of them makes no sense.
    """
    try:
        since = 0.0
        if text := request.text("sinceSeconds"):
            since = now - int(text)
        elif text := request.text("sinceTime"):
            since = parse_time(text)
        return LogOptions(
            follow=request.flag("follow"),
            tail_lines=int(request.text("tailLines") or -1),
            since=since,
            timestamps=request.flag("timestamps"),
            limit_bytes=int(request.text("limitBytes") or -1),
            stream={"Stdout": "stdout", "Stderr": "stderr"}.get(request.text("stream"), ""),
        )
    except ValueError as error:
        raise BadRequestError(f"invalid log options: {error}") from error


def _record_for_logs(worker: PodWorker, container: str, *, previous: bool) -> ContainerRecord:
    pod = worker.pod
    name = worker.ref.name
    attempts = worker.runtime.attempts(container)
    if not attempts and (pod is None or pod.container(container) is None):
        raise NotFoundError(f'container "{container}" in pod "{name}" is not available')
    written = [a for a in attempts if a.state is not ContainerState.CREATED]
    if previous:
        dead = [a for a in written if a.state is ContainerState.EXITED]
        policy = pod.spec.restart_policy if pod is not None else "Never"
        if dead and dead[0] is attempts[0] and not restarts(policy, dead[0]):
            dead = dead[1:]  # the newest has ended for good: it is the current one
        if not dead:
            raise BadRequestError(
                f'previous terminated container "{container}" in pod "{name}" not found'
            )
        return dead[0]
    if not written:
        raise BadRequestError(
            f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating'
        )
    return written[0]


def _running(worker: PodWorker, container: str) -> ContainerRecord:
    for record in worker.runtime.attempts(container):
        if record.state is ContainerState.RUNNING:
            return record
    raise NotFoundError(f'container not found ("{container}")')


def _require_upgrade(request: Request) -> None:
    if "upgrade" not in request.headers.get("connection", "").lower():
        raise BadRequestError("Upgrade request required")


def _tunnel(request: Request, url: str) -> Answer:
    return Takeover(lambda reader, writer: splice(request, url, reader, writer))


def _json(value: Any) -> Reply:
    return Reply(200, orjson.dumps(value), "application/json")


def _refusal(error: StatusError) -> Reply:
    return Reply(error.code, orjson.dumps(error.to_status()), "application/json")
