"""A classic first tutorial with stock kubectl, every build that this machine has."""

import json
import re
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from lab_cluster import Kubectl, Lab, get, until

from lablib.kubectl import debian_build, others

pytestmark = pytest.mark.cluster

DEBIAN = "debian"
OTHERS = {path.name: path for path in others()}
BUILDS = (DEBIAN, *OTHERS)
FULL = sorted({DEBIAN, BUILDS[-1], *(name for name in OTHERS if name.endswith(".1.27"))})

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: nginx, image: "nginx:1.22", ports: [{containerPort: 80}]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web-applied}
spec:
  selector: {app: web}
  ports: [{port: 80}]
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: created}
spec:
  containers: [{name: shell, image: busybox, command: [sleep, "3600"]}]
  terminationGracePeriodSeconds: 0
"""
WELCOME = "Welcome to nginx!"


@pytest.fixture(params=BUILDS)
def kubectl(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    build: str = request.param
    program = debian_build() if build == DEBIAN else OTHERS[build]
    namespace = f"tutorial-{build.replace('.', '-')}-{secrets.token_hex(2)}"
    found = Kubectl(program, lab.kubeconfig, namespace)
    found("create", "namespace", namespace)
    try:
        yield found
    finally:
        found("delete", "namespace", namespace, "--wait=false")


def node_addresses(kubectl: Kubectl) -> list[str]:
    return [
        address["address"]
        for node in kubectl.json("nodes")["items"]
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    ]


def rolled_out(kubectl: Kubectl) -> None:
    printed = kubectl("rollout", "status", "deployment/web", "--timeout=280s")
    assert "successfully rolled out" in printed


def ready(kubectl: Kubectl, pod: str) -> None:
    """Wait for a new pod: kubectl asks a cache, which may not know it yet."""
    wait = ("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=280s")
    until(lambda: "condition met" in kubectl.printed(*wait), f"{pod} being Ready")


def web_pods(kubectl: Kubectl) -> list[Any]:
    """The Deployment's pods that are not on their way out."""
    pods = kubectl.json("pods", "-l", "app=web")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def images(kubectl: Kubectl) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in web_pods(kubectl)}


def test_the_short_way(kubectl: Kubectl) -> None:
    """run, get, apply, expose, exec, logs, delete: what every build is asked."""
    kubectl("run", "nginx", "--image=nginx")
    ready(kubectl, "nginx")
    wide = kubectl("get", "pods", "-o", "wide").splitlines()
    assert wide[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert re.match(r"nginx +1/1 +Running +0 +\S+ +10\.244\.\S+ +node-[12] ", wide[1])
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    rolled_out(kubectl)
    kubectl("expose", "deployment", "web", "--type=NodePort", "--port=80")
    port = kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    for address in node_addresses(kubectl):
        url = f"http://{address}:{port}/"
        assert WELCOME in until(partial(get, url), url)
    assert kubectl("exec", "nginx", "--", "sh", "-c", "echo $HOSTNAME").strip() == "nginx"
    until(lambda: "start worker process" in kubectl("logs", "nginx"), "the log")
    kubectl("delete", "service,deployment", "web")
    kubectl("delete", "pod", "nginx", "--grace-period=1")
    assert "NotFound" in kubectl.fails("get", "pod", "nginx")


@pytest.mark.parametrize("kubectl", FULL, indirect=True)
def test_all_the_way(kubectl: Kubectl) -> None:
    """The rest of the tutorial, in its order."""
    kubectl("create", "-f", "-", stdin=POD)
    ready(kubectl, "created")
    assert "AlreadyExists" in kubectl.fails("create", "-f", "-", stdin=POD)

    kubectl("apply", "-f", "-", stdin=DEPLOYMENT + "---\n" + SERVICE)
    rolled_out(kubectl)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=SERVICE)
    until(
        lambda: (
            WELCOME
            in kubectl.printed("exec", "created", "--", "wget", "-qO-", "http://web-applied/")
        ),
        "the Service by its name",
    )

    kubectl("scale", "deployment/web", "--replicas=4")
    rolled_out(kubectl)
    # `rollout status` asks a cache too, and may have told of what was before.
    until(lambda: kubectl.json("deployment", "web")["status"].get("readyReplicas") == 4, "four")
    assert {pod["spec"]["nodeName"] for pod in web_pods(kubectl)} == {"node-1", "node-2"}

    kubectl("set", "image", "deployment/web", "nginx=nginx:1.22.1")
    rolled_out(kubectl)
    until(lambda: images(kubectl) == {"nginx:1.22.1"}, "the new image")
    kubectl("rollout", "undo", "deployment/web")
    rolled_out(kubectl)
    until(lambda: images(kubectl) == {"nginx:1.22"}, "the old image")
    rolled_out(kubectl)
    assert len(kubectl("rollout", "history", "deployment/web").strip().splitlines()) >= 3

    name = web_pods(kubectl)[0]["metadata"]["name"]
    address = kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}")
    with kubectl.following("logs", "-f", name) as log:
        log.wait_for("start worker process")
        kubectl("exec", "created", "--", "wget", "-qO-", f"http://{address}/?from-the-test")
        assert '"GET /?from-the-test HTTP/1.1" 200' in log.wait_for("from-the-test")

    screen = kubectl.in_terminal(
        "exec", "-it", "created", "--", "sh", typed="tty; echo $((6 * 7)); exit\n"
    )
    assert "/dev/pts/" in screen
    assert "42" in screen

    with kubectl.following("port-forward", f"pod/{name}", ":80") as forward:
        line = forward.wait_for("Forwarding from 127.0.0.1:")
        local = line.partition("127.0.0.1:")[2].split()[0]
        for _ in range(3):
            assert WELCOME in (get(f"http://127.0.0.1:{local}/") or "")

    described = kubectl("describe", "pod", name)
    for word in ("nginx:1.22", "Node:", "Ready"):
        assert word in described, described
    # Events are written beside the status, not before it.
    for word in ("Scheduled", "Created", "Started"):
        until(lambda word=word: word in kubectl("describe", "pod", name), word)  # type: ignore[misc]
    until(lambda: "ScalingReplicaSet" in kubectl("describe", "deployment", "web"), "its event")

    kubectl("delete", "deployment,service", "--all")
    kubectl("delete", "pod", "created")
    until(
        lambda: kubectl.json("pods")["items"] == [] or None,
        "no pods in the namespace",
    )


def test_an_image_that_does_not_exist_is_named(lab: Lab) -> None:
    kubectl = Kubectl(debian_build(), lab.kubeconfig, "default")
    kubectl("run", "wrong", "--image=no-such-image:1", "--restart=Never")
    try:

        def waiting() -> str | None:
            pod = kubectl.json("pod", "wrong")
            for status in pod["status"].get("containerStatuses", []):
                reason: str = status["state"].get("waiting", {}).get("reason", "")
                if reason in ("ErrImagePull", "ImagePullBackOff"):
                    return reason
            return None

        until(waiting, "a reason")
        until(
            lambda: "no-such-image:1" in json.dumps(kubectl.json("events")["items"]),
            "an event that names it",  # it is written beside the status, not before it
        )
    finally:
        kubectl("delete", "pod", "wrong", "--grace-period=0", "--force")
