"""kubectl top, drain with a budget, debug and resize, against hollow nodes."""

import json
import re

import pytest
from hollow_cluster import until
from kubectl_session import Session, both_ends, every_build, newest

pytestmark = pytest.mark.integration

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: a, image: "nginx:1", resources: {requests: {cpu: 500m}, limits: {memory: 64Mi}}}
        - {name: b, image: busybox}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - name: c
      image: nginx
      resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
"""


@every_build
def test_top(kubectl: Session) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = kubectl("top", "pods", "--no-headers").splitlines()
    assert len(pods) == 3
    for line in pods:
        assert re.fullmatch(r"web-\S+ +\d+m +24Mi *", line), line
    containers = kubectl("top", "pods", "--containers", "-l", "app=web").splitlines()
    assert re.match(r"POD +NAME +CPU\(cores\) +MEMORY\(bytes\)", containers[0])
    assert {line.split()[1] for line in containers[1:]} == {"a", "b"}
    # A hollow container uses a tenth of the cpu that it asks for; over what time was measured
    # is known to some milliseconds of a second only, where the machine is busy.
    used = [line.split()[2] for line in containers[1:] if line.split()[1] == "a"]
    assert all(45 <= int(cpu.removesuffix("m")) <= 55 for cpu in used), used
    nodes = kubectl("top", "nodes", "--no-headers").splitlines()
    assert len(nodes) == 3
    assert all(re.fullmatch(r"\S+ +\d+m +\d+% +\d+Mi +\d+% *", line) for line in nodes), nodes
    name = kubectl("get", "pods", "-o", "name").split()[0].removeprefix("pod/")
    assert kubectl("top", "pod", name, "--no-headers").startswith(name)
    missing = kubectl.attempt("top", "pod", "nobody")
    assert missing.code == 1
    assert "NotFound" in missing.err


@both_ends
def test_a_drain_waits_for_the_budget(kubectl: Session) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("rollout", "status", "deployment/web", "--timeout=90s")

    def status() -> dict[str, object]:
        found: dict[str, object] = kubectl.json("pdb", "web").get("status", {})
        return found

    until(lambda: status().get("currentHealthy") == 3, "the budget is counted")
    assert status()["disruptionsAllowed"] == 0
    pod = kubectl.json("pods", "-l", "app=web")["items"][0]
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    selector = (
        f"--pod-selector=app=web,pod-template-hash={pod['metadata']['labels']['pod-template-hash']}"
    )
    flags = ["--ignore-daemonsets", selector]
    try:

        def refused() -> bool:
            """Whether there was time to ask before the time was up, and the answer was no."""
            done = kubectl.attempt("drain", node, *flags, "--timeout=2s")
            assert done.code == 1
            return "Cannot evict pod as it would violate the pod's disruption budget." in done.err

        until(refused, "the refusal")
        assert not kubectl.json("pod", name)["metadata"].get("deletionTimestamp")
        kubectl("patch", "pdb", "web", "--type=merge", '-p={"spec":{"minAvailable":1}}')
        kubectl("drain", node, *flags, "--timeout=90s")
        assert kubectl.attempt("get", "pod", name).code == 1
        until(lambda: status().get("disruptionsAllowed") == 2, "the pods are back elsewhere")
    finally:
        kubectl("uncordon", node)


@newest
def test_a_resize_reaches_the_status(kubectl: Session) -> None:
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=90s")
    patch = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "300m"}}}]}}
    kubectl("patch", "pod", "p", "--subresource=resize", "-p", json.dumps(patch))

    def limit() -> bool:
        (status,) = kubectl.json("pod", "p")["status"]["containerStatuses"]
        cpu: str = status.get("resources", {}).get("limits", {}).get("cpu", "")
        return cpu == "300m"

    until(limit, "the agent has resized the container")
    pod = kubectl.json("pod", "p")
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert status["allocatedResources"] == {"cpu": "100m", "memory": "32Mi"}
    assert not {"PodResizePending", "PodResizeInProgress"} & {
        c["type"] for c in pod["status"]["conditions"]
    }
    refused = kubectl.attempt(
        "patch", "pod", "p", "-p", json.dumps(patch | {"spec": {"nodeName": "other"}})
    )
    assert "pod updates may not change fields" in refused.err


@newest
def test_a_resize_that_the_node_has_no_room_for_is_pending(kubectl: Session) -> None:
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=90s")
    resources = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
    patch = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
    kubectl("patch", "pod", "p", "--subresource=resize", "-p", json.dumps(patch))
    kubectl("wait", "--for=condition=PodResizePending", "pod/p", "--timeout=90s")
    pod = kubectl.json("pod", "p")
    (condition,) = [c for c in pod["status"]["conditions"] if c["type"] == "PodResizePending"]
    assert condition["reason"] == "Infeasible"
    (status,) = pod["status"]["containerStatuses"]
    assert status["allocatedResources"]["cpu"] == "100m"


@newest
def test_debug_starts_an_ephemeral_container(kubectl: Session) -> None:
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=90s")
    kubectl(
        "debug", "p", "--image=busybox", "--target=c", "--container=dbg", "--profile=general",
        "--attach=false", "--", "sleep", "60",
    )  # fmt: skip

    def running() -> bool:
        statuses = kubectl.json("pod", "p")["status"].get("ephemeralContainerStatuses", [])
        return any("running" in s["state"] for s in statuses)

    until(running, "the ephemeral container runs")
    pod = kubectl.json("pod", "p")
    assert pod["spec"]["ephemeralContainers"][0]["targetContainerName"] == "c"
    assert pod["status"]["phase"] == "Running"
