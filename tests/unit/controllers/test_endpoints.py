"""Endpoints and EndpointSlices: who is listed how, and that slices change as little as possible."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workload_objects import NOW, Json, meta, pod, view

from wherry.api.objects import Node, Pod, Service
from wherry.api.times import format_time
from wherry.controllers import endpoints, endpoints_object
from wherry.controllers.endpoints import HEADLESS, MANAGED_BY, MANAGER, SERVICE_NAME
from wherry.controllers.framework import Action, Create, Delete, Patch
from wherry.controllers.views import Endpoints, EndpointSlice


def service(**spec: Any) -> Service:
    base = {
        "selector": {"app": "web"},
        "clusterIP": "10.96.0.1",
        "clusterIPs": ["10.96.0.1"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
    }
    return view(Service, {"metadata": meta("web", labels={"l": "1"}), "spec": {**base, **spec}})


def backend(name: str, address: str = "10.0.0.1", **fields: Any) -> Pod:
    ips = {"podIP": address, "podIPs": [{"ip": address}] if address else []}
    return pod(name, status=ips, **fields)


def placed(actions: list[Action]) -> list[Json]:
    """Return the endpoints of all slices that are created or changed."""
    return [e for a in actions if isinstance(a, Create | Patch) for e in a.body["endpoints"]]


GOING = {"deletionTimestamp": format_time(NOW)}


@pytest.mark.parametrize(
    ("given_pod", "spec", "want"),
    [
        pytest.param(backend("a"), {}, (True, True, False), id="ready"),
        pytest.param(backend("a", ready=False), {}, (False, False, False), id="not ready"),
        pytest.param(backend("a", **GOING), {}, (False, True, True), id="going, still serving"),
        pytest.param(
            backend("a", ready=False, **GOING), {}, (False, False, True), id="going, not serving"
        ),
        pytest.param(
            backend("a", ready=False),
            {"publishNotReadyAddresses": True},
            (True, False, False),
            id="published all the same",
        ),
        pytest.param(backend("a", address=""), {}, None, id="no address yet"),
        pytest.param(backend("a", phase="Failed"), {}, None, id="ended"),
    ],
)
def test_conditions(given_pod: Pod, spec: Json, want: tuple[bool, ...] | None) -> None:
    found = placed(endpoints.reconcile(service(**spec), [given_pod], {}, []))
    got = [tuple(e["conditions"][c] for c in ("ready", "serving", "terminating")) for e in found]
    assert got == ([] if want is None else [want])


def test_a_slice_is_labelled_owned_and_complete() -> None:
    node = view(Node, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z"}}})
    [create] = endpoints.reconcile(service(clusterIP="None"), [backend("a")], {"n1": node}, [])
    assert isinstance(create, Create)
    body = create.body
    assert body["metadata"]["generateName"] == "web-"
    assert body["metadata"]["labels"] == {
        "l": "1",
        SERVICE_NAME: "web",
        MANAGED_BY: MANAGER,
        HEADLESS: "",
    }
    [owner] = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Service", "uid-web", True)
    assert body["addressType"] == "IPv4"
    assert body["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert body["endpoints"] == [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a"},
            "nodeName": "n1",
            "zone": "z",
        }
    ]


def test_named_ports_are_looked_up_in_each_pod() -> None:
    def with_port(name: str, number: int) -> Pod:
        ports = [{"name": "web", "containerPort": number}]
        base = backend(name, f"10.0.0.{number}")
        return view(
            Pod,
            {
                "metadata": meta(name, labels={"app": "web"}),
                "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": ports}]},
                "status": {"podIP": base.status.pod_ip, "phase": "Running"},
            },
        )

    named = service(ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    pods = [with_port("a", 1), with_port("b", 2), backend("without")]
    created = [a for a in endpoints.reconcile(named, pods, {}, []) if isinstance(a, Create)]
    assert [(a.body["ports"][0]["port"], len(a.body["endpoints"])) for a in created] == [
        (1, 1),
        (2, 1),
    ]
    [old] = endpoints_object.reconcile(named, pods, None)
    assert isinstance(old, Create)
    assert [s["ports"][0]["port"] for s in old.body["subsets"]] == [1, 2]


def test_a_service_without_pods_has_one_empty_slice() -> None:
    [create] = endpoints.reconcile(service(), [], {}, [])
    assert isinstance(create, Create)
    assert (create.body["endpoints"], create.body["ports"]) == ([], [])
    assert endpoints.reconcile(service(), [], {}, perform([], [create])) == []


def perform(slices: list[EndpointSlice], actions: list[Action]) -> list[EndpointSlice]:
    """Be the API server."""
    by_name = {s.metadata.name: s for s in slices}
    for action in actions:
        match action:
            case Create(body=body):
                name = f"web-{len(by_name)}-{len(body['endpoints'])}-{id(body)}"
                metadata = {**meta(name), **body["metadata"]}
                by_name[name] = view(EndpointSlice, {**body, "metadata": metadata})
            case Patch(name=name, body=body):
                old = by_name[name]
                full = {
                    "metadata": {**meta(name), "labels": body["metadata"]["labels"]},
                    "addressType": old.address_type,
                    "endpoints": body["endpoints"],
                    "ports": endpoints.ports_to_json(endpoints._ports_of_slice(old)),
                }
                by_name[name] = view(EndpointSlice, full)
            case Delete(name=name):
                del by_name[name]
            case _:
                raise AssertionError(action)
    return list(by_name.values())


def where(slices: list[EndpointSlice]) -> dict[str, str]:
    """Return the slice of each pod."""
    found = [
        (e.target_ref.uid, s.metadata.name) for s in slices for e in s.endpoints if e.target_ref
    ]
    assert len(found) == len(dict(found))
    return dict(found)


@settings(max_examples=40)
@given(
    sizes=st.lists(st.sets(st.integers(0, 250), max_size=250), min_size=1, max_size=4),
)
def test_slices_follow_and_endpoints_stay_where_they_are(sizes: list[set[int]]) -> None:
    slices: list[EndpointSlice] = []
    for wanted in sizes:
        pods = [backend(f"p{n}", f"10.0.{n // 200}.{n % 200 + 1}") for n in sorted(wanted)]
        before = where(slices)
        actions = endpoints.reconcile(service(), pods, {}, slices)
        slices = perform(slices, actions)
        after = where(slices)
        assert after.keys() == {f"uid-p{n}" for n in wanted}
        assert all(len(s.endpoints) <= 100 for s in slices)
        stayed = before.keys() & after.keys()
        assert {u: before[u] for u in stayed} == {u: after[u] for u in stayed}
        assert endpoints.reconcile(service(), pods, {}, slices) == []


def test_one_change_writes_one_slice() -> None:
    pods = [backend(f"p{n}", f"10.0.{n // 200}.{n % 200 + 1}") for n in range(250)]
    slices = perform([], endpoints.reconcile(service(), pods, {}, []))
    assert sorted(len(s.endpoints) for s in slices) == [50, 100, 100]
    changed = [*pods[1:], backend("p0", "10.0.0.1", ready=False)]
    [patch] = endpoints.reconcile(service(), changed, {}, slices)
    assert isinstance(patch, Patch)
    assert (patch.uid, patch.revision) != ("", "")


def test_endpoints_list_ready_and_not_ready_apart() -> None:
    pods = [
        backend("a", "10.0.0.2"),
        backend("b", "10.0.0.1"),
        backend("c", "10.0.0.3", ready=False),
        backend("d", "10.0.0.4", **GOING),
    ]
    [create] = endpoints_object.reconcile(service(), pods, None)
    assert isinstance(create, Create)
    [subset] = create.body["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1", "10.0.0.2"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.3"]
    assert subset["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    made = view(Endpoints, {**create.body, "metadata": {**meta("web"), **create.body["metadata"]}})
    assert endpoints_object.reconcile(service(), pods, made) == []
    [patch] = endpoints_object.reconcile(service(), pods[:1], made)
    assert isinstance(patch, Patch)
    assert [a["ip"] for a in patch.body["subsets"][0]["addresses"]] == ["10.0.0.2"]


def test_more_than_a_thousand_addresses_are_cut_and_said_so() -> None:
    pods = [backend(f"p{n}", f"10.1.{n // 200}.{n % 200 + 1}") for n in range(1001)]
    [create] = endpoints_object.reconcile(service(), pods, None)
    assert isinstance(create, Create)
    assert len(create.body["subsets"][0]["addresses"]) == 1000
    assert create.body["metadata"]["annotations"] == {
        "endpoints.kubernetes.io/over-capacity": "truncated"
    }


def test_a_pod_below_a_headless_service_has_a_hostname() -> None:
    named = view(
        Pod,
        {
            "metadata": meta("a", labels={"app": "web"}),
            "spec": {"hostname": "a-0", "subdomain": "web", "containers": []},
            "status": {"podIP": "10.0.0.1", "phase": "Running"},
        },
    )
    [endpoint] = placed(endpoints.reconcile(service(clusterIP="None"), [named], {}, []))
    assert endpoint["hostname"] == "a-0"
