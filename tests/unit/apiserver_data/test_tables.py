"""What `kubectl get` prints."""

from typing import Any

import pytest

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.api.times import format_time
from wherry.apiserver.resources import BY_KIND, SCALE_VIEW, SERVED
from wherry.apiserver.tables import columns, partial_object_list, row, table
from wherry.apiserver.tables.duration import age, format_duration
from wherry.apiserver.tables.pods import PodState, pod_state

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(seconds: float) -> str:
    return format_time(NOW - seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.9, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (2 * MINUTE, "2m"),
        (2 * MINUTE + 5, "2m5s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE + 30, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 20 * MINUTE, "3h20m"),
        (8 * HOUR, "8h"),
        (2 * DAY - 1, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + HOUR, "2d1h"),
        (8 * DAY, "8d"),
        (5.5 * DAY, "5d12h"),
        (2 * 365 * DAY - 1, "729d"),
        (2 * 365 * DAY, "2y"),
        (2 * 365 * DAY + 30 * DAY, "2y30d"),
        (9 * 365 * DAY, "9y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_unknown_ages() -> None:
    assert age(None, NOW) == age("", NOW) == age("never", NOW) == "<unknown>"


def running(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def waiting(reason: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "c",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason}},
        **more,
    }


def dead(code: int = 0, reason: str = "", signal: int = 0, **more: Any) -> dict[str, Any]:
    terminated = {"exitCode": code, "reason": reason, "signal": signal}
    return {
        "name": "c",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
        **more,
    }


def last(seconds: float) -> dict[str, Any]:
    return {"lastState": {"terminated": {"finishedAt": ago(seconds)}}}


def pod(
    statuses: list[Any] | None = None,
    phase: str = "Running",
    init: list[Any] | None = None,
    init_spec: list[Any] | None = None,
    deleted: bool = False,
    conditions: dict[str, str] | None = None,
    **status: Any,
) -> dict[str, Any]:
    containers = [{"name": s["name"]} for s in statuses or [running()]]
    init_containers = (
        init_spec if init_spec is not None else [{"name": s["name"]} for s in init or ()]
    )
    return {
        "metadata": {"name": "p"} | ({"deletionTimestamp": ago(1)} if deleted else {}),
        "spec": {"containers": containers, "initContainers": init_containers},
        "status": {
            "phase": phase,
            "containerStatuses": statuses or [],
            "initContainerStatuses": init or [],
            "conditions": [{"type": k, "status": v} for k, v in (conditions or {}).items()],
            **status,
        },
    }


SIDECAR = [{"name": "s", "restartPolicy": "Always"}]


@pytest.mark.parametrize(
    ("obj", "ready", "status", "restarts"),
    [
        (pod([running()]), "1/1", "Running", "0"),
        (pod(phase="Pending"), "0/1", "Pending", "0"),
        (pod([waiting("ContainerCreating")], phase="Pending"), "0/1", "ContainerCreating", "0"),
        (pod([waiting("ImagePullBackOff")], phase="Pending"), "0/1", "ImagePullBackOff", "0"),
        (pod([waiting("CrashLoopBackOff", restartCount=2, **last(5 * MINUTE))]),
         "0/1", "CrashLoopBackOff", "2 (5m ago)"),
        (pod([running(restartCount=1)]), "1/1", "Running", "1"),
        (pod([running(restartCount=1, **last(90)), running("d", restartCount=2, **last(60))]),
         "2/2", "Running", "3 (60s ago)"),
        (pod([dead(0, "Completed")], phase="Succeeded"), "0/1", "Completed", "0"),
        (pod([dead(1, "Error")], phase="Failed"), "0/1", "Error", "0"),
        (pod([dead(137, "OOMKilled")]), "0/1", "OOMKilled", "0"),
        (pod([dead(3)]), "0/1", "ExitCode:3", "0"),
        (pod([dead(0, signal=9)]), "0/1", "Signal:9", "0"),
        (pod([dead(0, "Completed"), running("d")], conditions={"Ready": "True"}), "1/2", "Running", "0"),
        (pod([dead(0, "Completed"), running("d")], conditions={"Ready": "False"}), "1/2", "NotReady", "0"),
        (pod([running()], reason="Evicted", phase="Failed"), "1/1", "Evicted", "0"),
        (pod([running()], deleted=True), "1/1", "Terminating", "0"),
        (pod([running()], deleted=True, reason="NodeLost"), "1/1", "Unknown", "0"),
        (pod([dead(0, "Completed")], phase="Succeeded", deleted=True), "0/1", "Completed", "0"),
        # init containers
        (pod([waiting("PodInitializing")], phase="Pending", init=[running("i")]), "0/1", "Init:0/1", "0"),
        (pod([waiting("PodInitializing")], phase="Pending", init=[dead(0, "Completed"), running("j")]),
         "0/1", "Init:1/2", "0"),
        (pod([waiting("x")], phase="Pending", init=[dead(1, "Error", restartCount=4)]), "0/1", "Init:Error", "4"),
        (pod([waiting("x")], phase="Pending", init=[dead(2)]), "0/1", "Init:ExitCode:2", "0"),
        (pod([waiting("x")], phase="Pending", init=[dead(2, signal=9)]), "0/1", "Init:Signal:9", "0"),
        (pod([waiting("x")], phase="Pending", init=[waiting("CrashLoopBackOff", restartCount=3, **last(60))]),
         "0/1", "Init:CrashLoopBackOff", "3 (60s ago)"),
        (pod([waiting("x")], phase="Pending", init=[waiting("PodInitializing")]), "0/1", "Init:0/1", "0"),
        (pod([running()], init=[dead(0, "Completed", restartCount=2)]), "1/1", "Running", "0"),
        # sidecars count as containers
        (pod([running()], init=[running("s", started=True, restartCount=1)], init_spec=SIDECAR),
         "2/2", "Running", "1"),
        (pod([waiting("PodInitializing")], phase="Pending", init=[running("s", started=False)], init_spec=SIDECAR),
         "0/2", "Init:0/1", "0"),
    ],
)  # fmt: skip
def test_pod_states(obj: dict[str, Any], ready: str, status: str, restarts: str) -> None:
    assert pod_state(obj, NOW) == PodState(ready, status, restarts)


def test_scheduling_gates() -> None:
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    obj = pod(phase="Pending")
    obj["status"]["conditions"] = [gated]
    assert pod_state(obj, NOW).status == "SchedulingGated"


def printed(kind: Kind, obj: dict[str, Any], *, wide: bool = True) -> dict[str, Any]:
    obj.setdefault("kind", kind.kind)
    obj["metadata"] = {"name": "x", "creationTimestamp": ago(5 * DAY)} | obj.get("metadata", {})
    shown = columns(BY_KIND[kind])
    cells = row(BY_KIND[kind], obj, NOW)
    assert len(shown) == len(cells)
    return {c.name: v for c, v in zip(shown, cells, strict=True) if wide or not c.priority}


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}
SELECTOR = {
    "matchLabels": {"app": "web"},
    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}],
}


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        (kinds.POD,
         pod([running()], podIP="10.0.0.1", podIPs=[{"ip": "10.0.0.1"}]),
         {"Name": "p", "Ready": "1/1", "Status": "Running", "Restarts": "0", "Age": "5d", "IP": "10.0.0.1",
          "Node": "<none>", "Nominated Node": "<none>", "Readiness Gates": "<none>"}),
        (kinds.NODE,
         {"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
          "spec": {"unschedulable": True},
          "status": {"conditions": [{"type": "Ready", "status": "True"}],
                     "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
                     "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "kernelVersion": "6",
                                  "containerRuntimeVersion": "containerd://1"}}},
         {"Name": "x", "Status": "Ready,SchedulingDisabled", "Roles": "control-plane,worker", "Age": "5d",
          "Version": "v1", "Internal-IP": "10.1.1.1", "External-IP": "<none>", "OS-Image": "Debian",
          "Kernel-Version": "6", "Container-Runtime": "containerd://1"}),
        (kinds.SERVICE,
         {"spec": {"type": "NodePort", "clusterIP": "10.2.0.1", "selector": {"b": "2", "a": "1"},
                   "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}},
         {"Name": "x", "Type": "NodePort", "Cluster-IP": "10.2.0.1", "External-IP": "<none>",
          "Port(s)": "80:30080/TCP,53/UDP", "Age": "5d", "Selector": "a=1,b=2"}),
        (kinds.ENDPOINTS,
         {"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 1}, {"port": 2}]}]},
         {"Name": "x", "Endpoints": "10.0.0.1:1,10.0.0.1:2,10.0.0.2:1 + 1 more...", "Age": "5d"}),
        (kinds.ENDPOINT_SLICE,
         {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]},
         {"Name": "x", "AddressType": "IPv4", "Ports": "80", "Endpoints": "10.0.0.1", "Age": "5d"}),
        (kinds.DEPLOYMENT,
         {"spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR},
          "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}},
         {"Name": "x", "Ready": "2/3", "Up-to-date": 3, "Available": 1, "Age": "5d", "Containers": "a,b",
          "Images": "i:1,j:2", "Selector": "app=web,tier in (a,b)"}),
        (kinds.REPLICA_SET,
         {"spec": {"replicas": 3, "template": TEMPLATE, "selector": {"matchLabels": {"a": "b"}}},
          "status": {"replicas": 2, "readyReplicas": 1}},
         {"Name": "x", "Desired": 3, "Current": 2, "Ready": 1, "Age": "5d", "Containers": "a,b",
          "Images": "i:1,j:2", "Selector": "a=b"}),
        (kinds.REPLICATION_CONTROLLER,
         {"spec": {"replicas": 0, "selector": {"a": "b"}}},
         {"Name": "x", "Desired": 0, "Current": 0, "Ready": 0, "Age": "5d", "Containers": "", "Images": "",
          "Selector": "a=b"}),
        (kinds.EVENT,
         {"involvedObject": {"kind": "Pod", "name": "web"}, "type": "Warning", "reason": "BackOff",
          "message": "Back-off \n", "firstTimestamp": ago(HOUR), "lastTimestamp": ago(30), "count": 7,
          "source": {"component": "kubelet", "host": "n1"}},
         {"Last Seen": "30s", "Type": "Warning", "Reason": "BackOff", "Object": "pod/web", "Subobject": "",
          "Source": "kubelet, n1", "Message": "Back-off", "First Seen": "60m", "Count": 7, "Name": "x"}),
        (kinds.EVENT,
         {"involvedObject": {"kind": "Node", "name": "n1"}, "reason": "R", "eventTime": "2027-01-15T07:59:00.000000Z",
          "reportingComponent": "scheduler"},
         {"Last Seen": "60s", "Type": "", "Reason": "R", "Object": "node/n1", "Subobject": "",
          "Source": "scheduler", "Message": "", "First Seen": "60s", "Count": 1, "Name": "x"}),
        (kinds.CONFIG_MAP, {"data": {"a": "b"}, "binaryData": {"c": ""}}, {"Name": "x", "Data": 2, "Age": "5d"}),
        (kinds.SECRET, {"type": "Opaque", "data": {"a": "b"}}, {"Name": "x", "Type": "Opaque", "Data": 1, "Age": "5d"}),
        (kinds.SERVICE_ACCOUNT, {}, {"Name": "x", "Secrets": 0, "Age": "5d"}),
        (kinds.NAMESPACE, {"status": {"phase": "Active"}}, {"Name": "x", "Status": "Active", "Age": "5d"}),
        (kinds.CERTIFICATE_SIGNING_REQUEST,
         {"spec": {"signerName": "wherry.io/node", "username": "joe", "expirationSeconds": 3600},
          "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="}},
         {"Name": "x", "Age": "5d", "SignerName": "wherry.io/node", "Requestor": "joe",
          "RequestedDuration": "60m", "Condition": "Approved,Issued"}),
        (kinds.CERTIFICATE_SIGNING_REQUEST,
         {"spec": {}, "status": {"conditions": [{"type": "Denied"}, {"type": "Failed"}]}},
         {"Name": "x", "Age": "5d", "SignerName": "<none>", "Requestor": "",
          "RequestedDuration": "<none>", "Condition": "Denied,Failed"}),
        (kinds.CERTIFICATE_SIGNING_REQUEST, {"spec": {"signerName": "a.b/c", "username": "joe"}},
         {"Name": "x", "Age": "5d", "SignerName": "a.b/c", "Requestor": "joe",
          "RequestedDuration": "<none>", "Condition": "Pending"}),
        (kinds.LEASE, {"spec": {"holderIdentity": "me"}}, {"Name": "x", "Holder": "me", "Age": "5d"}),
        (kinds.SUBNET_LEASE,
         {"node": "n1", "PublicIP": "192.0.2.1", "BackendType": "vxlan", "BackendData": {"VtepMAC": "aa:bb"}},
         {"Name": "x", "Node": "n1", "Public-IP": "192.0.2.1", "Backend": "vxlan", "Age": "5d",
          "Expiration": "<none>", "Vtep-MAC": "aa:bb"}),
        (kinds.NETWORK_CONFIG, {"Network": "10.0.0.0/8", "Backend": {"Type": "vxlan"}},
         {"Name": "x", "Network": "10.0.0.0/8", "Backend": "vxlan", "Age": "5d"}),
    ],
)  # fmt: skip
def test_rows(kind: Kind, obj: dict[str, Any], expected: dict[str, Any]) -> None:
    assert printed(kind, obj) == expected


def test_a_scale_has_columns_of_its_own() -> None:
    """As printed by `kubectl get deployment x --subresource=scale`."""
    obj = {"metadata": {"name": "x"}, "spec": {"replicas": 3}, "status": {"replicas": 2}}
    assert [c.name for c in columns(SCALE_VIEW)] == ["Name", "Desired", "Available", "Age"]
    assert row(SCALE_VIEW, obj, NOW) == ["x", 3, 2, "<unknown>"]


@pytest.mark.parametrize(
    ("spec", "status", "external"),
    [
        ({"type": "ClusterIP"}, {}, "<none>"),
        ({"type": "ClusterIP", "externalIPs": ["1.1.1.1"]}, {}, "1.1.1.1"),
        ({"type": "LoadBalancer"}, {}, "<pending>"),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}]}}, "2.2.2.2"),
        ({"type": "ExternalName", "externalName": "example.com"}, {}, "example.com"),
    ],
)
def test_external_addresses(spec: Any, status: Any, external: str) -> None:
    assert printed(kinds.SERVICE, {"spec": spec, "status": status})["External-IP"] == external


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        ([], "Unknown"),
        ([{"type": "Ready", "status": "False"}], "NotReady"),
        ([{"type": "Ready", "status": "Unknown"}], "NotReady"),
    ],
)
def test_nodes_that_are_not_ready(conditions: Any, word: str) -> None:
    assert printed(kinds.NODE, {"status": {"conditions": conditions}})["Status"] == word


@pytest.mark.parametrize("resource", SERVED, ids=[r.kind.qualified for r in SERVED])
def test_every_kind_prints_an_object_with_nothing_but_a_name(resource: Any) -> None:
    cells = row(resource, {"metadata": {"name": "x"}}, NOW)
    assert len(cells) == len(columns(resource))
    assert all(isinstance(cell, str | int) for cell in cells)


def test_the_document() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}}
    resource = BY_KIND[kinds.CONFIG_MAP]
    full = table(resource, [obj], now=NOW, revision=9, continue_token="next", remaining=3)
    assert full["metadata"] == {"resourceVersion": "9", "continue": "next", "remainingItemCount": 3}
    assert [c["name"] for c in full["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert full["columnDefinitions"][0]["format"] == "name"
    partial = {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": "x"},
    }
    assert full["rows"] == [{"cells": ["x", 0, "<unknown>"], "object": partial}]
    assert table(resource, [obj], now=NOW, include="Object")["rows"][0]["object"] == obj
    assert "object" not in table(resource, [obj], now=NOW, include="None")["rows"][0]
    assert table(resource, [obj], now=NOW, with_columns=False)["columnDefinitions"] == []
    assert partial_object_list([obj], revision=9) == {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "9"},
        "items": [partial],
    }
