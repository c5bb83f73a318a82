"""What the doors count, as Prometheus reads it."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from wherry.apiserver.metrics import Metrics

POD = ("", "v1", "pods", "")
LABELS = {"verb": "get", "resource": "pods", "door": "rest"}


def test_requests_are_counted_by_all_that_they_are() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for code in (200, 200, 404):
        metrics.count("rest", "get", POD, code, 0.0)
    metrics.count("grpc", "get", POD, 200, 0.0)
    labels = LABELS | {"group": "", "version": "v1", "subresource": ""}
    assert [
        registry.get_sample_value("apiserver_request_total", {**labels, "code": code})
        for code in ("200", "404", "500")
    ] == [2, 1, None]
    assert b"# TYPE apiserver_request_total counter" in generate_latest(registry)


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
    assert len(samples) == 15
    assert next(s.labels["le"] for s in samples if s.value) == first
    values = [s.value for s in samples]
    assert values == sorted(values)
    assert registry.get_sample_value(f"{name}_count", LABELS) == 1
    assert registry.get_sample_value(f"{name}_sum", LABELS) == seconds
