"""What the doors count, as Prometheus reads it."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from registry_world import World, in_world

from wherry.api import kinds
from wherry.apiserver.gate import Attributes
from wherry.apiserver.http import Limits
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.metrics import Levels, Metrics, address_of

POD = ("", "v1", "pods", "", "resource")
LABELS = {
    "verb": "GET",
    "group": "",
    "version": "v1",
    "resource": "pods",
    "subresource": "",
    "scope": "resource",
    "component": "apiserver",
    "door": "rest",
}
UPSTREAM = ["0.005", "0.025", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1.0", "1.25", "1.5", "2.0", "3.0", "4.0", "5.0", "6.0", "8.0", "10.0", "15.0", "20.0", "30.0", "45.0", "60.0", "+Inf"]  # fmt: skip


def test_requests_are_counted_by_all_that_they_are() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for code in (200, 200, 404):
        metrics.count("rest", "get", POD, code, 0.0)
    metrics.count("grpc", "get", POD, 200, 0.0)
    assert [
        registry.get_sample_value("apiserver_request_total", {**LABELS, "code": code})
        for code in ("200", "404", "500")
    ] == [2, 1, None]
    assert b"# TYPE apiserver_request_total counter" in generate_latest(registry)


@pytest.mark.parametrize(
    ("verb", "subresource", "name"),
    [
        ("list", "", "LIST"),
        ("watch", "", "WATCH"),
        ("create", "", "POST"),
        ("update", "", "PUT"),
        ("patch", "", "PATCH"),
        ("apply", "", "APPLY"),
        ("delete", "", "DELETE"),
        ("deletecollection", "", "DELETECOLLECTION"),
        ("create", "eviction", "POST"),
        ("create", "exec", "CONNECT"),
        ("get", "log", "GET"),
        ("options", "", "OPTIONS"),
    ],
)
def test_verbs_are_those_of_upstreams_dashboards(verb: str, subresource: str, name: str) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    address = (*POD[:3], subresource, "resource")
    metrics.count("rest", verb, address, 200, 0.0)
    labels = LABELS | {"verb": name, "subresource": subresource}
    assert registry.get_sample_value("apiserver_request_total", labels | {"code": "200"}) == 1
    assert registry.get_sample_value("apiserver_request_duration_seconds_count", labels) == 1
    expected = None if name in ("WATCH", "CONNECT") else 1
    told = registry.get_sample_value("apiserver_request_sli_duration_seconds_count", labels)
    assert told == expected


@pytest.mark.parametrize(
    ("asked", "scope"),
    [
        (Attributes("get", version="v1", resource="nodes", name="n"), "resource"),
        (Attributes("create", version="v1", resource="pods", namespace="a"), "resource"),
        (Attributes("list", version="v1", resource="pods", namespace="a"), "namespace"),
        (Attributes("list", version="v1", resource="pods"), "cluster"),
    ],
)
def test_scopes(asked: Attributes, scope: str) -> None:
    assert address_of(asked) == ("", "v1", asked.resource, "", scope)


@pytest.mark.parametrize(
    ("seconds", "first"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (61.0, "+Inf")]
)
def test_a_request_is_in_each_bucket_that_is_not_too_small(seconds: float, first: str) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.count("rest", "get", POD, 200, seconds)
    name = "apiserver_request_duration_seconds"
    samples = [
        s for family in registry.collect() for s in family.samples if s.name == f"{name}_bucket"
    ]
    bounds = [s.labels["le"] for s in samples]
    assert [bound for bound in bounds if bound in UPSTREAM] == UPSTREAM
    assert next(s.labels["le"] for s in samples if s.value) == first
    values = [s.value for s in samples]
    assert values == sorted(values)
    assert registry.get_sample_value(f"{name}_count", LABELS) == 1
    assert registry.get_sample_value(f"{name}_sum", LABELS) == seconds


def test_streams_are_counted_while_they_are_open() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    watch = ("rest", Attributes("watch", version="v1", resource="pods", name="p"))
    for _ in range(2):
        metrics.opened(*watch)
    metrics.closed(*watch)
    metrics.opened("grpc")
    name = "apiserver_longrunning_requests"
    assert registry.get_sample_value(name, LABELS | {"verb": "WATCH"}) == 1
    nothing = dict.fromkeys(LABELS, "") | {"component": "apiserver", "door": "grpc"}
    assert registry.get_sample_value(name, nothing) == 1


def test_levels_are_read_when_somebody_asks() -> None:
    async def run(w: World) -> None:
        registry = CollectorRegistry()
        flight = Flight(Limits(), lambda _request: False)
        registry.register(Levels(flight, w.registry.caches))
        flight.reads.count, flight.writes.count = 3, 2
        for name in ("a", "b"):
            await w.create(kinds.CONFIG_MAP, "default", name=name)
        await asyncio.sleep(1)  # the caches follow

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"apiserver_{name}", labels)

        assert value("current_inflight_requests", request_kind="readOnly") == 3
        assert value("current_inflight_requests", request_kind="mutating") == 2
        assert value("storage_objects", resource="configmaps") == 2
        assert value("storage_objects", resource="deployments.apps") == 0

    in_world(run)
