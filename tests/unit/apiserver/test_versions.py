"""One stored object, two versions: nothing is lost on the way there and back."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import ConflictError, MethodNotAllowedError
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions
from wherry.apiserver.versions import autoscaling, components, events
from wherry.apiserver.versions.conversion import CONVERSIONS
from wherry.apiserver.versions.versions import Versions
from wherry.client.api import PatchType

V1, V2 = BY_KIND[kinds.HORIZONTAL_POD_AUTOSCALER_V1], BY_KIND[kinds.HORIZONTAL_POD_AUTOSCALER]
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
NOW = 1_800_000_000.0


def utilization(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


ALL_METRICS = [
    utilization("cpu", 60),
    utilization("memory", 70),
    {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}},
    },
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "app",
            "target": {"type": "Utilization", "averageUtilization": 30},
        },
    },
    {
        "type": "Pods",
        "pods": {
            "metric": {"name": "requests", "selector": {"matchLabels": {"verb": "get"}}},
            "target": {"type": "AverageValue", "averageValue": "10"},
        },
    },
    {
        "type": "Object",
        "object": {
            "describedObject": TARGET,
            "metric": {"name": "hits"},
            "target": {"type": "Value", "value": "2k"},
        },
    },
    {
        "type": "External",
        "external": {
            "metric": {"name": "queue"},
            "target": {"type": "AverageValue", "averageValue": "30"},
        },
    },
]
STATUS = {
    "currentReplicas": 2,
    "desiredReplicas": 3,
    "currentMetrics": [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 9}}},
        {
            "type": "Pods",
            "pods": {"metric": {"name": "requests"}, "current": {"averageValue": "7"}},
        },
    ],
    "conditions": [{"type": "AbleToScale", "status": "True"}],
}


@given(st.lists(st.sampled_from(ALL_METRICS[1:]), unique_by=str), st.booleans(), st.booleans())
def test_an_autoscaler_survives_v1(metrics: list[Any], cpu: bool, status: bool) -> None:
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 4}
    wanted = [ALL_METRICS[0]] * cpu + metrics
    new = {"desiredReplicas": 0}
    stored: dict[str, Any] = {"metadata": {"name": "x"}, "spec": spec, "status": new}
    if wanted:
        spec = spec | {"metrics": wanted, "behavior": {"scaleDown": {"selectPolicy": "Min"}}}
        stored["spec"] = spec
    if status:
        stored["status"] = STATUS
    shown = autoscaling.from_stored(stored)
    assert shown["status"].keys() >= {"currentReplicas", "desiredReplicas"}  # v1 requires both
    assert set(shown["spec"]) <= {
        "scaleTargetRef",
        "maxReplicas",
        "targetCPUUtilizationPercentage",
    }
    assert autoscaling.to_stored(shown) == stored


def test_v1_says_metrics_in_its_own_words() -> None:
    stored = {"metadata": {}, "spec": {"metrics": ALL_METRICS[:2]}, "status": STATUS}
    shown = autoscaling.from_stored(stored)
    assert shown["spec"] == {"targetCPUUtilizationPercentage": 60}
    assert shown["status"]["currentCPUUtilizationPercentage"] == 9
    notes = shown["metadata"]["annotations"]
    assert orjson.loads(notes[autoscaling.METRICS]) == [
        {"type": "Resource", "resource": {"name": "memory", "targetAverageUtilization": 70}}
    ]
    assert orjson.loads(notes[autoscaling.CURRENT_METRICS]) == [
        {"type": "Pods", "pods": {"metricName": "requests", "currentAverageValue": "7"}}
    ]


@pytest.mark.parametrize("text", ["{", "7", '"x"', "{}"])
def test_an_annotation_that_says_nothing_stays(text: str) -> None:
    obj = {"metadata": {"annotations": {autoscaling.METRICS: text}}, "spec": {}}
    assert autoscaling.to_stored(obj) == obj


def test_events_by_other_names() -> None:
    core = {
        "metadata": {"name": "x"},
        "involvedObject": {"kind": "Pod"},
        "message": "m",
        "source": {"component": "c"},
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:05Z",
        "count": 3,
        "reportingComponent": "r",
        "reason": "why",
    }
    shown = events.from_stored(core)
    assert (shown["note"], shown["regarding"], shown["reason"]) == ("m", {"kind": "Pod"}, "why")
    assert not {"message", "involvedObject", "count", "source"} & set(shown)
    assert events.to_stored(shown) == core


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("", ""),
        ("regarding.name=x", "involvedObject.name=x"),
        ("reason=y,regarding.kind!=Pod", "reason=y,involvedObject.kind!=Pod"),
        ("reportingController=c", "reportingComponent=c"),
        ("metadata.name=regarding", "metadata.name=regarding"),
    ],
)
def test_field_selectors_of_events(asked: str, stored: str) -> None:
    assert CONVERSIONS[kinds.EVENT_V1].stored_fields(asked) == stored


def test_both_versions_change_the_same_object() -> None:
    async def run(w: World) -> None:
        verbs, ctx = Versions(w.registry, clock=w.clock), Context(ADMIN)
        spec = {"scaleTargetRef": TARGET, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70}
        made = {"metadata": {"name": "web"}, "spec": spec}
        await verbs.create(ctx, V1, "default", made)
        stored = orjson.loads(await verbs.get(ctx, V2, "default", "web"))
        assert stored["spec"]["metrics"] == [utilization("cpu", 70)]

        patch = {"spec": {"targetCPUUtilizationPercentage": 40}}
        await verbs.patch(ctx, V1, "default", "web", patch, PatchType.MERGE)
        metrics = [*orjson.loads(await verbs.get(ctx, V2, "default", "web"))["spec"]["metrics"]]
        assert metrics == [utilization("cpu", 40)]

        more = {"spec": {"metrics": [*metrics, utilization("memory", 50)]}}
        await verbs.patch(ctx, V2, "default", "web", more, PatchType.MERGE)
        old = orjson.loads(await verbs.get(ctx, V1, "default", "web"))
        assert old["spec"]["targetCPUUtilizationPercentage"] == 40
        await verbs.update(
            ctx, V1, "default", "web", old | {"spec": old["spec"] | {"maxReplicas": 9}}
        )
        kept = orjson.loads(await verbs.get(ctx, V2, "default", "web"))["spec"]
        assert (kept["maxReplicas"], len(kept["metrics"])) == (9, 2)
        with pytest.raises(ConflictError):
            await verbs.update(ctx, V1, "default", "web", old)
        stale = {"metadata": {"resourceVersion": "1"}}
        with pytest.raises(ConflictError):
            await verbs.patch(ctx, V1, "default", "web", stale, PatchType.MERGE)

        applying = Context(ADMIN, field_manager="me", applies=True, force=True)
        config = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"} | made
        await verbs.patch(applying, V1, "default", "web", config, PatchType.APPLY)
        shown = orjson.loads(await verbs.get(ctx, V1, "default", "web"))
        assert shown["spec"]["targetCPUUtilizationPercentage"] == 70

        gone = await verbs.delete_collection(ctx, V1, "default", ListOptions(), DeleteOptions())
        assert [orjson.loads(raw)["apiVersion"] for raw in gone.items] == ["autoscaling/v1"]
        assert (await verbs.list(ctx, V2, "default", ListOptions())).items == []

    in_world(run)


def test_a_binding_without_its_pod_s_path() -> None:
    async def run(w: World) -> None:
        verbs, ctx = Versions(w.registry, clock=w.clock), Context(ADMIN)
        container = {"name": "c", "image": "i"}
        await w.create(kinds.POD, "default", name="p", spec={"containers": [container]})
        binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
        await verbs.create(ctx, BY_KIND[kinds.BINDING], "default", binding)
        assert (await w.get(kinds.POD, "p", "default"))["spec"]["nodeName"] == "n1"
        with pytest.raises(MethodNotAllowedError):
            await verbs.get(ctx, BY_KIND[kinds.BINDING], "default", "p")

    in_world(run)


@pytest.mark.parametrize(
    ("spec", "healthy"),
    [
        ({}, "False"),
        ({"holderIdentity": "a", "leaseDurationSeconds": 15}, "False"),
        (
            {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "renewTime": "2027-01-15T07:59:50.000000Z",
            },
            "True",
        ),
        (
            {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "renewTime": "2027-01-15T07:59:40.000000Z",
            },
            "False",
        ),
    ],
)
def test_a_component_is_well_while_somebody_leads(spec: dict[str, Any], healthy: str) -> None:
    lease = {"metadata": {"name": "kube-scheduler"}, "spec": spec}
    found = {
        each["metadata"]["name"]: each["conditions"][0]["status"]
        for each in components.component_statuses([lease], now=NOW)
    }
    assert found == {"controller-manager": "False", "etcd-0": "True", "scheduler": healthy}
