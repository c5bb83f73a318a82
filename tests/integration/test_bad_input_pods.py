"""Pods that cannot run: the object, its events and kubectl say why, and it goes when it is deleted."""

from typing import Any

import orjson
import pytest
from hollow_cluster import NODES, HollowCluster, until
from kubectl_session import Session, both_ends, newest

pytestmark = pytest.mark.integration


def pod(name: str, image: str = "nginx:1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


def make(hollow: HollowCluster, namespace: str, body: dict[str, Any]) -> str:
    """Create a pod and return its path."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    code, answer = hollow.ask(path, method="POST", body=body)
    assert code == 201, answer
    return f"{path}/{body['metadata']['name']}"


def events(hollow: HollowCluster, namespace: str, name: str, reason: str) -> list[str]:
    """Return the messages of the events about a pod that have a reason."""
    path = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name={name}"
    return [e["message"] for e in hollow.ask(path)[1]["items"] if e["reason"] == reason]


def refused_by_nodes(hollow: HollowCluster, namespace: str, *parts: str) -> str:
    """Wait for the event that says so of pod `x`; return its message.

    There may be others before it: the scheduler decides by what it has heard of, and hears of
    a node that was just changed a moment later.
    """

    def said() -> str | None:
        messages = events(hollow, namespace, "x", "FailedScheduling")
        return next((m for m in messages if all(part in m for part in parts)), None)

    return until(said, f"an event with {parts}")


@both_ends
def test_no_such_image(kubectl: Session) -> None:
    since = kubectl.json("namespace", kubectl.namespace)["metadata"]["resourceVersion"]
    kubectl.play(
        """
        $ run bad --image=does-not-exist/nginx:1
        pod/bad created
        $ get pod bad                                   # until
        bad 0/1 ImagePullBackOff 0 *
        $ describe pod bad                              # until
        Status: Pending
        State: Waiting
        Reason: ImagePullBackOff
        Warning Failed * kubelet* Failed to pull image "does-not-exist/nginx:1": *not found*
        $ get events --field-selector=type=Warning      # until
        * Warning Failed pod/bad Error: ErrImagePull
        $ logs bad                                      # exit 1
        ! *container "bad" in pod "bad" is waiting to start: *
        """
    )
    # It stands for a second: where the machine paused just then, it is told of the next attempt.
    until(lambda: "ErrImagePull" in statuses(kubectl, since), "the watch", timeout_s=180)
    kubectl.play(
        """
        $ set image pod/bad bad=nginx:1
        pod/bad image updated
        $ get pod bad                                   # until
        bad 1/1 Running 0 *
        $ delete pod bad
        pod "bad" deleted*
        """
    )


def statuses(kubectl: Session, since: str) -> list[str]:
    """Return what the STATUS column said of all pods since then, as far as a second's watch tells."""
    query = f"watch=1&timeoutSeconds=1&resourceVersion={since}"
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods?{query}"
    code, lines = kubectl.cluster.ask(path, headers=table)
    assert code == 200, lines
    events = [lines] if isinstance(lines, dict) else map(orjson.loads, lines.splitlines())
    told = [event["object"]["rows"] for event in events]
    return [row["cells"][2] for rows in told for row in rows]


@newest
def test_a_deployment_of_no_such_image_keeps_the_old_pods(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create deployment web --image=nginx:1 --replicas=3
        deployment.apps/web created
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        $ set image deployment/web nginx=does-not-exist/nginx:2
        deployment.apps/web image updated
        $ rollout status deployment/web --timeout=6s    # exit 1
        ! error: timed out waiting for the condition
        $ get deployment web                            # until
        web 3/3 1 3 *
        $ rollout undo deployment/web
        deployment.apps/web rolled back
        $ rollout status deployment/web --timeout=90s
        deployment "web" successfully rolled out
        """
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"nodeSelector": {"disk": "golden"}}, "didn't match Pod's node affinity/selector"),
        (
            {
                "containers": [
                    {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000"}}}
                ]
            },
            "Insufficient cpu",
        ),
        (
            {
                "containers": [
                    {"name": "c", "image": "i", "resources": {"requests": {"memory": "100Ti"}}}
                ]
            },
            "Insufficient memory",
        ),
    ],
    ids=["selector", "cpu", "memory"],
)
def test_no_node_fits(hollow: HollowCluster, namespace: str, spec: Any, why: str) -> None:
    """One event says it for every node, and the pod's condition repeats it."""
    path = make(hollow, namespace, pod("x", **spec))
    said = refused_by_nodes(hollow, namespace, f"0/{NODES} nodes are available: {NODES} ", why)
    assert said.startswith("0/")

    def condition() -> dict[str, Any]:
        [found] = hollow.ask(path)[1]["status"].get("conditions") or [{}]
        return dict(found)

    until(lambda: condition().get("message") == said, "the condition")
    found = condition()
    assert (found["type"], found["status"]) == ("PodScheduled", "False")
    assert found["reason"] == "Unschedulable"
    assert hollow.ask(path, method="DELETE")[0] == 200
    until(lambda: hollow.ask(path)[0] == 404, "its end: no node has to be asked")


def test_reasons_are_counted_by_node(hollow: HollowCluster, namespace: str) -> None:
    node = hollow.ask("/api/v1/nodes")[1]["items"][0]["metadata"]["name"]
    merge = {"Content-Type": "application/merge-patch+json"}
    taint = {"spec": {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}}
    hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=taint, headers=merge)
    try:
        make(hollow, namespace, pod("x", nodeSelector={"disk": "golden"}))
        said = refused_by_nodes(
            hollow,
            namespace,
            "1 node(s) had untolerated taint {team: a}",
            f"{NODES - 1} node(s) didn't match Pod's node affinity/selector",
        )
        assert said.startswith(f"0/{NODES} nodes are available: ")
    finally:
        free = {"spec": {"taints": None}}
        hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=free, headers=merge)


def test_no_such_node(hollow: HollowCluster, namespace: str) -> None:
    """A pod that names its node is nobody's: it stays Pending until it is deleted by force.

    (Left alone it is collected after 40 s, as upstream: there may be such a node soon.)
    """
    path = make(hollow, namespace, pod("x", nodeName="no-such-node"))
    assert hollow.ask(path)[1]["status"]["phase"] == "Pending"
    assert not events(hollow, namespace, "x", "FailedScheduling")
    assert hollow.ask(path, method="DELETE", body={"gracePeriodSeconds": 0})[0] == 200
    assert hollow.ask(path)[0] == 404


def test_a_node_that_becomes_right(hollow: HollowCluster, namespace: str) -> None:
    """A pod that waited is scheduled as soon as a node fits: nobody has to make it again."""
    node = hollow.ask("/api/v1/nodes")[1]["items"][0]["metadata"]["name"]
    path = make(hollow, namespace, pod("x", nodeSelector={"disk": namespace}))
    until(lambda: events(hollow, namespace, "x", "FailedScheduling"), "the event")
    merge = {"Content-Type": "application/merge-patch+json"}
    labelled = {"metadata": {"labels": {"disk": namespace}}}
    hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=labelled, headers=merge)
    until(lambda: hollow.ask(path)[1]["spec"].get("nodeName") == node, "its node")
    plain = {"metadata": {"labels": {"disk": None}}}
    hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=plain, headers=merge)
