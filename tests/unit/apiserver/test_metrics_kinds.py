"""NodeMetrics and PodMetrics: made of agents' summaries, in metrics-server's units."""

from typing import Any

from wherry.api.objects import ObjectMeta
from wherry.apiserver.metrics_kinds import node_metrics, pod_metrics

AT = "2026-09-21T14:13:20Z"


def used(cores_n: int | None, bytes_: int) -> dict[str, Any]:
    cpu = {"time": AT} | ({} if cores_n is None else {"usageNanoCores": cores_n})
    return {"cpu": cpu, "memory": {"time": AT, "workingSetBytes": bytes_}}


def summary(*containers: dict[str, Any], uid: str = "u") -> dict[str, Any]:
    pod = {"podRef": {"uid": uid}, "containers": list(containers), **used(0, 0)}
    return {"node": {"windowSeconds": 1.002, **used(250_000_000, 3 << 20)}, "pods": [pod]}


def pod(name: str, uid: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "uid": uid, "labels": {"a": "b"}}}


def test_a_node() -> None:
    found = node_metrics(ObjectMeta(name="n1", labels={"x": "y"}), summary())
    assert found["metadata"] == {"name": "n1", "creationTimestamp": AT, "labels": {"x": "y"}}
    assert (found["timestamp"], found["window"]) == (AT, "1.002s")
    assert found["usage"] == {"cpu": "250000000n", "memory": "3072Ki"}


def test_pods_that_have_figures_in_the_order_of_the_list() -> None:
    first = summary({"name": "c", **used(5, 1 << 20)}, {"name": "new", **used(None, 1)})
    second = summary({"name": "d", **used(7, 2 << 20)}, uid="v")
    only_new = summary({"name": "e", **used(None, 1)}, uid="w")
    pods = [pod("q", "v"), pod("p", "u"), pod("fresh", "w"), pod("elsewhere", "x")]
    found = pod_metrics(pods, [first, second, only_new])
    assert [(p["metadata"]["name"], p["containers"]) for p in found] == [
        ("q", [{"name": "d", "usage": {"cpu": "7n", "memory": "2048Ki"}}]),
        ("p", [{"name": "c", "usage": {"cpu": "5n", "memory": "1024Ki"}}]),
    ]
    assert found[0]["metadata"]["labels"] == {"a": "b"}
