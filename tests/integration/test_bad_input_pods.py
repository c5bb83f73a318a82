"""Pods that cannot run: the object, its events and kubectl say why, and it goes when it is deleted."""

from typing import Any

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


def events(hollow: HollowCluster, namespace: str, name: str) -> dict[str, str]:
    """Return the messages of the events about a pod, by reason."""
    path = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name={name}"
    return {e["reason"]: e["message"] for e in hollow.ask(path)[1]["items"]}


@both_ends
def test_no_such_image(kubectl: Session) -> None:
    kubectl.play(
        """
        $ run bad --image=does-not-exist/nginx:1
        pod/bad created
        $ get pod bad                                   # until
        bad 0/1 ErrImagePull 0 *
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
        $ set image pod/bad bad=nginx:1
        pod/bad image updated
        $ get pod bad                                   # until
        bad 1/1 Running 0 *
        $ delete pod bad
        pod "bad" deleted*
        """
    )


@newest
def test_a_deployment_of_no_such_image_keeps_the_old_pods(kubectl: Session) -> None:
    kubectl.play(
        """
        $ create deployment web --image=nginx:1 --replicas=3
        deployment.apps/web created
        $ rollout status deployment/web --timeout=30s
        deployment "web" successfully rolled out
        $ set image deployment/web nginx=does-not-exist/nginx:2
        deployment.apps/web image updated
        $ rollout status deployment/web --timeout=2s    # exit 1
        ! error: timed out waiting for the condition
        $ get deployment web                            # until
        web 3/3 1 3 *
        $ rollout undo deployment/web
        deployment.apps/web rolled back
        $ rollout status deployment/web --timeout=30s
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
    said = until(lambda: events(hollow, namespace, "x").get("FailedScheduling"), "the event")
    assert said.startswith(f"0/{NODES} nodes are available: {NODES} ")
    assert why in said
    until(lambda: hollow.ask(path)[1]["status"].get("conditions"), "the condition")
    [condition] = hollow.ask(path)[1]["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == said
    assert hollow.ask(path, method="DELETE")[0] == 200
    until(lambda: hollow.ask(path)[0] == 404, "its end: no node has to be asked")


def test_reasons_are_counted_by_node(hollow: HollowCluster, namespace: str) -> None:
    node = hollow.ask("/api/v1/nodes")[1]["items"][0]["metadata"]["name"]
    merge = {"Content-Type": "application/merge-patch+json"}
    taint = {"spec": {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}}
    hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=taint, headers=merge)
    try:
        make(hollow, namespace, pod("x", nodeSelector={"disk": "golden"}))
        said = until(lambda: events(hollow, namespace, "x").get("FailedScheduling"), "the event")
        assert said.startswith(f"0/{NODES} nodes are available: ")
        assert "1 node(s) had untolerated taint {team: a}" in said
        assert f"{NODES - 1} node(s) didn't match Pod's node affinity/selector" in said
    finally:
        free = {"spec": {"taints": None}}
        hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=free, headers=merge)


def test_no_such_node(hollow: HollowCluster, namespace: str) -> None:
    """A pod that names its node is nobody's: it stays Pending until it is deleted by force.

    (Left alone it is collected after 40 s, as upstream: there may be such a node soon.)
    """
    path = make(hollow, namespace, pod("x", nodeName="no-such-node"))
    assert hollow.ask(path)[1]["status"]["phase"] == "Pending"
    assert "FailedScheduling" not in events(hollow, namespace, "x")
    assert hollow.ask(path, method="DELETE", body={"gracePeriodSeconds": 0})[0] == 200
    assert hollow.ask(path)[0] == 404


def test_a_node_that_becomes_right(hollow: HollowCluster, namespace: str) -> None:
    """A pod that waited is scheduled as soon as a node fits: nobody has to make it again."""
    node = hollow.ask("/api/v1/nodes")[1]["items"][0]["metadata"]["name"]
    path = make(hollow, namespace, pod("x", nodeSelector={"disk": namespace}))
    until(lambda: events(hollow, namespace, "x").get("FailedScheduling"), "the event")
    merge = {"Content-Type": "application/merge-patch+json"}
    labelled = {"metadata": {"labels": {"disk": namespace}}}
    hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=labelled, headers=merge)
    until(lambda: hollow.ask(path)[1]["spec"].get("nodeName") == node, "its node")
    plain = {"metadata": {"labels": {"disk": None}}}
    hollow.ask(f"/api/v1/nodes/{node}", method="PATCH", body=plain, headers=merge)
