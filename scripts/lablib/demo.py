"""The proof at the end of `up`: real requests between real pods, each checked.

A Deployment spread over the nodes, a Service before it, and four questions asked from
inside the pods: do two pods on two hosts see each other's own addresses, does the Service
answer from every node, does it balance, does its name resolve.
"""

import ipaddress
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lablib.errors import LabError
from lablib.kubectl import Kubectl, has_condition
from lablib.layout import CLUSTER_CIDR, Layout
from lablib.steps import Steps
from lablib.waiting import until

MANIFEST: Final = Path(__file__).parents[2] / "examples" / "demo" / "echo.yaml"
NAMESPACE: Final = "demo"
SERVICE: Final = "echo"
FULL_NAME: Final = f"{SERVICE}.{NAMESPACE}.svc.cluster.local"
PORT: Final = 8080
REPLICAS: Final = 4
ROLLOUT_S: Final = 300
PROOF_S: Final = 60
"""The nodes' proxies hear of the pods when those are ready, and not before."""
REQUESTS: Final = 24
_ADVICE: Final = "look around: scripts/lab status, scripts/lab kubectl -- get pods -A -o wide"

_ASK: Final = """\
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""
_RESOLVE: Final = """\
import socket, sys
for name in sys.argv[1:]:
    print(socket.gethostbyname(name))
"""


@dataclass(frozen=True, slots=True)
class Pod:
    """One of the Deployment's pods."""

    name: str
    address: str
    node: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: who it is, and the address that the request came from."""

    pod: str
    node: str
    peer: str


def run(layout: Layout, steps: Steps) -> None:
    """Set the demo up and print its proof.

    Raises:
        LabError: something does not hold.
    """
    with steps.step("demo: a Deployment of 4 and a Service"):
        deploy(Kubectl.of(layout))
    with steps.step("demo: requests between the pods, to the Service, and its name"):
        lines = until(lambda: check(layout), "the demo's proof", timeout_s=PROOF_S, advice=_ADVICE)
    for line in lines:
        steps.note(line)


def check(layout: Layout) -> list[str]:
    """Prove that the demo works; the lines that say so.

    Raises:
        LabError: something does not hold.
    """
    kubectl = Kubectl.of(layout)
    return prove(pods(kubectl), cluster_ip(kubectl), layout.nodes, _asker(kubectl))


def deploy(kubectl: Kubectl) -> None:
    """Create it and wait until all of it is available.

    Raises:
        LabError: it does not become available; the pods' states are in the details.
    """
    kubectl("apply", "-f", str(MANIFEST))
    try:
        kubectl(
            *("rollout", "status", "deployment/echo", "-n", NAMESPACE),
            f"--timeout={ROLLOUT_S}s",
            timeout_s=ROLLOUT_S + 10,
        )
    except LabError as failed:
        state = kubectl.attempt("describe", "pods", "-n", NAMESPACE).stdout
        raise LabError(
            "the demo's pods do not become ready", "see the events below", state[-4000:]
        ) from failed


def pods(kubectl: Kubectl) -> list[Pod]:
    """The ready pods, by node and name."""
    found = [
        Pod(item["metadata"]["name"], item["status"]["podIP"], item["spec"]["nodeName"])
        for item in kubectl.items("pods", "-n", NAMESPACE, "-l", "app=echo")
        if has_condition(item, "Ready") and "deletionTimestamp" not in item["metadata"]
    ]
    return sorted(found, key=lambda pod: (pod.node, pod.name))


Asker = Callable[[Pod, str, Sequence[str]], list[str]]
"""Runs a Python program with arguments inside a pod and returns the lines it printed."""


def _asker(kubectl: Kubectl) -> Asker:
    def ask(pod: Pod, program: str, arguments: Sequence[str]) -> list[str]:
        inside = ("python3", "-c", program, *arguments)
        return kubectl("exec", "-n", NAMESPACE, pod.name, "--", *inside).splitlines()

    return ask


def cluster_ip(kubectl: Kubectl) -> str:
    """The Service's address."""
    return kubectl(
        *("get", "service", SERVICE, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")
    )


def prove(found: Sequence[Pod], cluster_ip: str, nodes: int, ask: Asker) -> list[str]:
    """Ask the four questions; the lines that report them.

    Raises:
        LabError: an answer is not what it must be.
    """
    by_node = {pod.node: pod for pod in found}
    _check(len(found) == REPLICAS, f"{len(found)} of {REPLICAS} pods are ready")
    _check(
        len(by_node) == min(nodes, REPLICAS),
        f"the pods run on {len(by_node)} of {nodes} nodes: {', '.join(by_node)}",
    )
    askers = list(by_node.values())
    lines = [f"  pod {pod.name}  {pod.address}  on {pod.node}" for pod in found]
    lines += _pod_to_pod(askers[0], askers[-1], ask)
    for pod in askers[:2]:
        lines += _service(pod, cluster_ip, set(by_node), ask)
        lines += _name(pod, cluster_ip, ask)
    return lines


def _pod_to_pod(client: Pod, server: Pod, ask: Asker) -> list[str]:
    (answer,) = _requests(client, f"http://{server.address}:{PORT}/", 1, ask)
    _check(answer.pod == server.name, f"{server.address} is {answer.pod}, not {server.name}")
    _check(
        answer.peer == client.address,
        f"the server saw {answer.peer} instead of the client's own address {client.address}: NAT",
    )
    _check(ipaddress.ip_address(client.address) in CLUSTER_CIDR, f"{client.address} is no pod's")
    where = "on another host" if client.node != server.node else "on the same host"
    return [
        f"  pod to pod, {where}: {client.address} ({client.node}) asked {server.address} "
        f"({server.node}), which saw peer {answer.peer}"
    ]


def _service(client: Pod, cluster_ip: str, nodes: set[str], ask: Asker) -> list[str]:
    answers = _requests(client, f"http://{cluster_ip}/", REQUESTS, ask)
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer.pod] = counts.get(answer.pod, 0) + 1
    seen = {answer.node for answer in answers}
    _check(seen == nodes, f"the Service, asked from {client.node}, answered only from {seen}")
    spread = ", ".join(f"{pod} {count}" for pod, count in sorted(counts.items()))
    return [f"  Service {cluster_ip} asked {REQUESTS} times from {client.node}: {spread}"]


def _name(client: Pod, cluster_ip: str, ask: Asker) -> list[str]:
    names = (FULL_NAME, SERVICE)
    got = ask(client, _RESOLVE, names)
    for name, address in zip(names, got, strict=True):
        _check(address == cluster_ip, f"{name} resolves to {address} instead of {cluster_ip}")
    return [f"  name {FULL_NAME} and plain {SERVICE!r} on {client.node}: {got[0]}"]


def _requests(client: Pod, url: str, count: int, ask: Asker) -> list[Answer]:
    answers = [json.loads(line) for line in ask(client, _ASK, (url, str(count)))]
    _check(len(answers) == count, f"{url} answered {len(answers)} of {count} requests")
    return [_answer(value) for value in answers]


def _answer(value: Any) -> Answer:
    return Answer(value["pod"], value["node"], value["peer"])


def _check(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # reads like an assertion
    if not holds:
        raise LabError(
            f"the demo shows that the cluster is broken: {otherwise}",
            _ADVICE,
        )
