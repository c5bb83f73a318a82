"""Load from inside the cluster: one pod on every node that keeps asking the Service."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from lablib.demo import FULL_NAME
from lablib.errors import LabError
from lablib.kubectl import Kubectl, wait_ready
from lablib.waiting import until

PROGRAM: Final = Path(__file__).with_name("client_program.py")
READY_S: Final = 180


@dataclass(frozen=True, slots=True)
class Second:
    """What one pod counted of that which began in one second; there may be several of a second."""

    second: int
    http_ok: int
    http_failed: int
    dns_ok: int
    dns_failed: int
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All that one node's pod counted."""

    node: str
    seconds: Sequence[Second] = field(default_factory=tuple)

    def between(self, first: float, last: float) -> "Report":
        """What began between two moments (Unix time)."""
        return Report(self.node, [s for s in self.seconds if first <= s.second <= last])


def parse(node: str, lines: Iterable[str]) -> Report:
    """Read a client pod's log; lines that are none of its reports (a traceback) are left out."""
    seconds = []
    for line in lines:
        if not line.startswith("{"):
            continue
        value = json.loads(line)
        (http_ok, http_failed), (dns_ok, dns_failed) = value["http"], value["dns"]
        seconds.append(
            Second(
                value["second"], http_ok, http_failed, dns_ok, dns_failed, tuple(value["errors"])
            )
        )
    return Report(node, seconds)


def manifest(namespace: str, node: str, service_ip: str) -> str:
    """The client pod of one node."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"client-{node}", "namespace": namespace},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}],
                "containers": [
                    {
                        "name": "client",
                        "image": "python:3.11",
                        "command": ["python3", "-c", PROGRAM.read_text(), service_ip, FULL_NAME],
                    }
                ],
            },
        }
    )


class Clients:
    """The client pods of one experiment."""

    def __init__(self, kubectl: Kubectl, namespace: str, nodes: Sequence[str]) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._nodes = nodes

    def start(self, service_ip: str) -> None:
        """Start them all and wait until each has asked with success.

        Raises:
            LabError: one does not run, or cannot reach the Service even before anything broke.
        """
        for node in self._nodes:
            pod = manifest(self._namespace, node, service_ip)
            self._kubectl("apply", "-f", "-", stdin=pod)
        pods = [f"client-{node}" for node in self._nodes]
        until(
            partial(wait_ready, self._kubectl, pods, self._namespace, READY_S),
            "the client pods being ready",
            timeout_s=READY_S,
        )

    def reports(self) -> list[Report]:
        """What they counted so far.

        Raises:
            LabError: a log cannot be read, or holds nothing.
        """
        found = []
        for node in self._nodes:
            text = self._kubectl("logs", f"client-{node}", "-n", self._namespace)
            report = parse(node, text.splitlines())
            if not report.seconds:
                raise LabError(f"the client on {node} has reported nothing", details=text[-2000:])
            found.append(report)
        return found
