"""HorizontalPodAutoscalers of `autoscaling/v1`, which are stored as `autoscaling/v2`.

v1 has a field for the one metric that it knew, the CPU's utilization. What it cannot say
(other metrics, behaviour, conditions) stands in annotations, in JSON and in v1's own forms,
so that an object read, changed and written in v1 loses nothing.
Source: kubernetes `pkg/apis/autoscaling/v1/conversion.go`, `pkg/apis/autoscaling/annotations.go`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

Object = dict[str, Any]

METRICS: Final = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS: Final = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS: Final = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR: Final = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS: Final = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)

_Flat = Mapping[str, tuple[str, ...]]
"""v1's flat name of a field, and its path in v2."""

_SPEC: Final[Mapping[str, _Flat]] = {
    "resource": {
        "name": ("name",),
        "targetAverageUtilization": ("target", "averageUtilization"),
        "targetAverageValue": ("target", "averageValue"),
    },
    "containerResource": {
        "name": ("name",),
        "container": ("container",),
        "targetAverageUtilization": ("target", "averageUtilization"),
        "targetAverageValue": ("target", "averageValue"),
    },
    "pods": {
        "metricName": ("metric", "name"),
        "selector": ("metric", "selector"),
        "targetAverageValue": ("target", "averageValue"),
    },
    "object": {
        "target": ("describedObject",),
        "metricName": ("metric", "name"),
        "selector": ("metric", "selector"),
        "targetValue": ("target", "value"),
        "averageValue": ("target", "averageValue"),
    },
    "external": {
        "metricName": ("metric", "name"),
        "metricSelector": ("metric", "selector"),
        "targetValue": ("target", "value"),
        "targetAverageValue": ("target", "averageValue"),
    },
}
_STATUS: Final[Mapping[str, _Flat]] = {
    source: {
        name.replace("target", "current", 1) if name != "target" else name: (
            "current" if path[0] == "target" else path[0],
            *path[1:],
        )
        for name, path in flat.items()
    }
    for source, flat in _SPEC.items()
}
_TARGET_TYPES: Final = (
    ("averageUtilization", "Utilization"),
    ("averageValue", "AverageValue"),
    ("value", "Value"),
)


def to_stored(scaler: Object) -> Object:
    """Return the v2 object."""
    metadata, notes = _split_annotations(scaler.get("metadata") or {})
    spec, status = dict(scaler.get("spec") or {}), dict(scaler.get("status") or {})
    metrics = [_nested(metric, _SPEC, _with_target_type) for metric in notes.get(METRICS, ())]
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if BEHAVIOR in notes:
        spec["behavior"] = notes[BEHAVIOR]
    current = [_nested(metric, _STATUS) for metric in notes.get(CURRENT_METRICS, ())]
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        usage = {"name": "cpu", "current": {"averageUtilization": used}}
        current.insert(0, {"type": "Resource", "resource": usage})
    if not status.get("currentReplicas"):
        status.pop("currentReplicas", None)
    if current:
        status["currentMetrics"] = current
    if CONDITIONS in notes:
        status["conditions"] = notes[CONDITIONS]
    return _assembled(scaler, metadata, spec, status)


def from_stored(scaler: Object) -> Object:
    """Return the v1 object."""
    metadata = dict(scaler.get("metadata") or {})
    spec = dict(scaler.get("spec") or {})
    status = {"currentReplicas": 0} | (scaler.get("status") or {})  # v1 requires it, v2 does not
    notes: dict[str, Any] = {}
    cpu, others = _cpu(spec.pop("metrics", ()), "target")
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu
    if others:
        notes[METRICS] = [_flat(metric, _SPEC) for metric in others]
    if "behavior" in spec:
        notes[BEHAVIOR] = spec.pop("behavior")
    cpu, others = _cpu(status.pop("currentMetrics", ()), "current")
    if cpu is not None:
        status["currentCPUUtilizationPercentage"] = cpu
    if others:
        notes[CURRENT_METRICS] = [_flat(metric, _STATUS) for metric in others]
    if "conditions" in status:
        notes[CONDITIONS] = status.pop("conditions")
    if notes:
        told = {name: orjson.dumps(value).decode() for name, value in notes.items()}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **told}
    return _assembled(scaler, metadata, spec, status)


def _assembled(scaler: Object, metadata: Object, spec: Object, status: Object) -> Object:
    parts = {"metadata": metadata, "spec": spec, "status": status}
    others = {name: value for name, value in scaler.items() if name not in parts}
    there = {name: value for name, value in parts.items() if value or name in scaler}
    return {"metadata": metadata} | others | there


def _split_annotations(metadata: Object) -> tuple[Object, dict[str, Any]]:
    """Return metadata without our annotations, and what these say; one that is not JSON stays."""
    annotations = dict(metadata.get("annotations") or {})
    notes: dict[str, Any] = {}
    for name in _ANNOTATIONS:
        try:
            value = orjson.loads(annotations.get(name, "null"))
        except orjson.JSONDecodeError:
            continue
        wanted = dict if name == BEHAVIOR else list
        if isinstance(value, wanted):
            notes[name] = value
            del annotations[name]
    out = {name: value for name, value in metadata.items() if name != "annotations"}
    return (out | {"annotations": annotations} if annotations else out), notes


def _cpu(metrics: Any, part: str) -> tuple[int | None, list[Object]]:
    """Return the CPU's utilization, from the first metric that says it, and the other metrics."""
    others: list[Object] = []
    found: int | None = None
    for metric in metrics or ():
        resource = metric.get("resource") or {}
        value = (resource.get(part) or {}).get("averageUtilization")
        if found is None and resource.get("name") == "cpu" and value is not None:
            found = value
        else:
            others.append(metric)
    return found, others


def _flat(metric: Object, forms: Mapping[str, _Flat]) -> Object:
    """Return a metric in v1's form."""
    out: Object = {"type": metric.get("type", "")}
    for source, fields in forms.items():
        if source in metric:
            values = {name: _at(metric[source], path) for name, path in fields.items()}
            out[source] = {name: value for name, value in values.items() if value is not None}
    return out


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _nested(
    metric: Any, forms: Mapping[str, _Flat], finish: Callable[[Object], Object] = lambda m: m
) -> Object:
    """Return a metric of v1 in v2's form; what is none is left for validation to name."""
    if not isinstance(metric, dict):
        return {}
    out: Object = {"type": metric.get("type", "")}
    for source, fields in forms.items():
        if isinstance(metric.get(source), dict):
            nested: Object = {}
            for name, (*parents, leaf) in fields.items():
                if name in metric[source]:
                    node = nested
                    for parent in parents:
                        node = node.setdefault(parent, {})
                    node[leaf] = metric[source][name]
            out[source] = finish(nested)
    return out


def _with_target_type(source: Object) -> Object:
    """Return a metric's source with the type of its target, which v1 says by the field's name."""
    target = source.get("target")
    if isinstance(target, dict):
        kind = next((kind for field, kind in _TARGET_TYPES if field in target), "")
        source["target"] = {"type": kind, **target}
    return source
