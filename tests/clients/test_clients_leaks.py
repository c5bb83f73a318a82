"""What is over leaves nothing behind: pods and watches come and go, and processes stay as they were.

Not a benchmark: counts before and after, with room for what is kept on purpose (events for an
hour, the watch caches' recent history).
"""

import contextlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hollow_cluster import HollowCluster, until

pytestmark = pytest.mark.integration

PODS = 200
WATCHES = 40
PROCESSES = ("apiserver", "scheduler", "controller-manager", "agent")
ROUNDS = 4
GROWTH_BYTES = 24 << 20
"""Of a process in a later round. A pod that leaked its object, status and sandbox in the four
processes would be some 10 kB in each; what is kept on purpose is bounded."""


def gauge(hollow: HollowCluster, process: str, name: str) -> float:
    """Return the sum of a metric's values; 0 of one that was not needed yet. The name is a pattern."""
    pattern = re.compile(rf"^{name}(?:{{[^}}]*}})? (\S+)$", re.MULTILINE)
    return sum(map(float, pattern.findall(hollow.metrics(process))))


def watching(hollow: HollowCluster) -> float:
    """Return how many watches are open over REST; the cluster's own come by gRPC."""
    return gauge(hollow, "apiserver", r'apiserver_longrunning_requests{[^}]*door="rest"[^}]*}')


def bodies(namespace: str) -> Iterator[tuple[str, dict[str, object]]]:
    for number in range(PODS):
        name = f"p{number}"
        spec = {"containers": [{"name": "c", "image": "nginx:1"}]}
        yield f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": spec}


def come_and_go(hollow: HollowCluster, namespace: str) -> None:
    """Create the pods, wait until they run, delete them, wait until they are gone."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda b: hollow.ask(b[0], method="POST", body=b[1])[0], bodies(namespace))
        )
    assert made == [201] * PODS
    running = f"{pods}?fieldSelector=status.phase%3DRunning"
    until(lambda: len(hollow.ask(running)[1]["items"]) == PODS, "all run")
    assert hollow.ask(pods, method="DELETE")[0] == 200
    until(lambda: not hollow.ask(pods)[1]["items"], "all are gone")


@contextlib.contextmanager
def watches(hollow: HollowCluster, namespace: str) -> Iterator[None]:
    """Open watches that nobody reads."""
    path = f"/api/v1/namespaces/{namespace}/pods?watch=1"
    with contextlib.ExitStack() as stack:
        for _ in range(WATCHES):
            raw = stack.enter_context(
                socket.create_connection(("127.0.0.1", hollow.ports["secure"]))
            )
            opened = stack.enter_context(hollow.tls().wrap_socket(raw, server_hostname="127.0.0.1"))
            opened.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert b" 200 " in opened.recv(64)
        yield


def test_pods_and_watches_leave_nothing(hollow: HollowCluster, namespace: str) -> None:
    until(lambda: watching(hollow) == 0, "the end of other tests' watches")
    with watches(hollow, namespace):
        assert watching(hollow) == WATCHES
        come_and_go(hollow, namespace)  # warms up what is kept on purpose
    until(lambda: watching(hollow) == 0, "the end of the watches")
    files = {p: gauge(hollow, p, "process_open_fds") for p in PROCESSES}
    # What leaks grows in every round; what an allocator took for a crowd grows in one.
    rounds = [growth(hollow, namespace)]
    while len(rounds) < ROUNDS and max(rounds[-1].values()) >= GROWTH_BYTES:
        rounds.append(growth(hollow, namespace))
    assert max(rounds[-1].values()) < GROWTH_BYTES, rounds
    for process in PROCESSES:
        assert files[process] > 0
        until(partial(closed, hollow, process, files[process]), f"the files of {process}")
    assert watching(hollow) == 0
    until(lambda: gauge(hollow, "scheduler", "scheduler_pending_pods") == 0, "no pod waits")


def growth(hollow: HollowCluster, namespace: str) -> dict[str, float]:
    """Have the pods come and go; return by how many bytes each process grew."""
    memory = partial(gauge, hollow, name="process_resident_memory_bytes")
    before = {p: memory(p) for p in PROCESSES}
    come_and_go(hollow, namespace)
    return {p: memory(p) - before[p] for p in PROCESSES}


def closed(hollow: HollowCluster, process: str, before: float) -> bool:
    """Tell whether a process has no more files open than before, but for the asking itself."""
    return gauge(hollow, process, "process_open_fds") <= before + 2
