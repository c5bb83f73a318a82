"""What to ask an agent for, decided from the pod and the request. Pure.

Paths and parameters of the agent are those of the kubelet's server.
"""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

import msgspec

from wherry.api.errors import BadRequestError, Cause, InvalidError
from wherry.api.objects import Decoder, NodeAddress, ObjectMeta, View
from wherry.apiserver.rest.query import Query

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
AGENT_PORT = 10250
_WEBSOCKET = (
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
    "channel.k8s.io",
)
"""What containerd 1.6 speaks. Not v5 and not SPDY inside WebSocket: kubectl, refused, takes SPDY."""
_LEAST = {"tailLines": 0, "limitBytes": 1, "sinceSeconds": 1}


class Named(View, frozen=True):
    """A container, by name."""

    name: str = ""


class StreamPodSpec(View, frozen=True):
    """Which containers there are, and where."""

    node_name: str = ""
    containers: tuple[Named, ...] = ()
    init_containers: tuple[Named, ...] = ()
    ephemeral_containers: tuple[Named, ...] = ()


class StreamPod(View, frozen=True):
    """A pod, for streams."""

    metadata: ObjectMeta = ObjectMeta()
    spec: StreamPodSpec = StreamPodSpec()


class DaemonEndpoint(View, frozen=True):
    """Where the agent listens."""

    port: int = msgspec.field(name="Port", default=0)


class DaemonEndpoints(View, frozen=True):
    """`.status.daemonEndpoints`."""

    kubelet_endpoint: DaemonEndpoint = DaemonEndpoint()


class StreamNodeStatus(View, frozen=True):
    """How to reach a node's agent."""

    addresses: tuple[NodeAddress, ...] = ()
    daemon_endpoints: DaemonEndpoints = DaemonEndpoints()


class StreamNode(View, frozen=True):
    """A node, for streams."""

    metadata: ObjectMeta = ObjectMeta()
    status: StreamNodeStatus = StreamNodeStatus()

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port of the agent; host is "" while none is known."""
        host = next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")
        return host, self.status.daemon_endpoints.kubelet_endpoint.port or AGENT_PORT


decode_pod = Decoder(StreamPod)
decode_node = Decoder(StreamNode)


def choose_container(pod: StreamPod, asked: str) -> str:
    """Return the container that is meant.

    Raises:
        BadRequestError: it is not in the pod, or none is named and there are several.
    """
    name = pod.metadata.name
    main = [c.name for c in pod.spec.containers]
    init = [c.name for c in pod.spec.init_containers]
    known = {*main, *init, *(c.name for c in pod.spec.ephemeral_containers)}
    asked = asked or pod.metadata.annotations.get(DEFAULT_CONTAINER, "")
    if asked in known:
        return asked
    if asked:
        raise BadRequestError(f"container {asked} is not valid for pod {name}")
    if len(main) == 1:
        return main[0]
    message = (
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    )
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise BadRequestError(message)


def node_of(pod: StreamPod) -> str:
    """Return the node's name.

    Raises:
        BadRequestError: the pod is not scheduled yet.
    """
    if not pod.spec.node_name:
        raise BadRequestError(f"pod {pod.metadata.name} does not have a host assigned")
    return pod.spec.node_name


def agent_target(pod: StreamPod, subresource: str, query: Query) -> str:
    """Return path and query of the request to the agent.

    Raises:
        BadRequestError: no such container.
        InvalidError: a log option is out of range.
    """
    where = f"{quote(pod.metadata.namespace)}/{quote(pod.metadata.name)}"
    if subresource == "portforward":
        ports = [p for p in (*query.texts("ports"), *query.texts("port")) if p]
        return _join(f"/portForward/{where}", [("port", ",".join(ports))] if ports else [])
    container = quote(choose_container(pod, query.text("container")))
    if subresource == "log":
        return _join(f"/containerLogs/{where}/{container}", _log_parameters(query))
    parameters = [("command", value) for value in query.texts("command")]
    if subresource == "exec" and not parameters:
        raise BadRequestError("you must specify at least one command for the container")
    for name, theirs in (("stdin", "input"), ("stdout", "output"), ("stderr", "error")):
        if query.flag(name):
            parameters.append((theirs, "1"))
    if query.flag("tty"):
        parameters.append(("tty", "1"))
    return _join(f"/{subresource}/{where}/{container}", parameters)


def _log_parameters(query: Query) -> list[tuple[str, str]]:
    parameters = [
        (flag, "true") for flag in ("follow", "previous", "timestamps") if query.flag(flag)
    ]
    for name, least in _LEAST.items():
        number = query.number(name)
        if number is None:
            continue
        if number < least:
            why = f"must be greater than {'or equal to ' if not least else ''}0"
            raise InvalidError(
                f'PodLogOptions "" is invalid: {name}: Invalid value: {number}: {why}',
                kind="PodLogOptions",
                causes=[Cause("FieldValueInvalid", f"Invalid value: {number}: {why}", name)],
            )
        parameters.append((name, str(number)))
    if since := query.text("sinceTime"):
        if query.text("sinceSeconds"):
            raise InvalidError(
                'PodLogOptions "" is invalid: at most one of `sinceTime` or `sinceSeconds` may be specified',
                kind="PodLogOptions",
            )
        parameters.append(("sinceTime", since))
    return parameters


def _join(path: str, parameters: Sequence[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path


def websocket_protocols(offered: str) -> str | None:
    """Return which of the client's subprotocols to pass on, None if it offered only others.

    No offer at all is one too (kr8s port-forward).
    """
    protocols = [p.strip() for p in offered.split(",") if p.strip()]
    supported = [p for p in protocols if p in _WEBSOCKET]
    return ", ".join(supported) if supported or not protocols else None
