"""What is filled in for a pod, as `SetDefaults_PodSpec`, `SetDefaults_Container` and their like."""

from collections.abc import Iterator
from typing import Any

from wherry.api.errors import InvalidQuantityError
from wherry.api.quantity import parse_quantity

Object = dict[str, Any]
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_MODE = 420  # 0644
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def default_pod(spec: Object) -> None:
    """Fill in the spec of a pod that is to run."""
    default_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    for container in containers(spec):
        resources = container["resources"]
        limits = resources.get("limits")
        if limits:
            resources["requests"] = {**limits, **resources.get("requests", {})}


def default_spec(spec: Object) -> None:
    """Fill in the spec of a pod or of a template."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in containers(spec):
        _default_container(container, host_network=spec.get("hostNetwork", False))
    for volume in spec.get("volumes", ()):
        _default_volume(volume)


def containers(spec: Object) -> Iterator[Object]:
    """Yield init, app and ephemeral containers."""
    for field in CONTAINER_LISTS:
        yield from spec.get(field, ())


def _default_container(container: Object, *, host_network: bool) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network and not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]
    for env in container.get("env", ()):
        _default_field_ref(env.get("valueFrom", {}))
    for name in _PROBES:
        if name in container:
            _default_probe(container[name])
    for handler in container.get("lifecycle", {}).values():
        if isinstance(handler, dict):
            _default_http_get(handler)


def pull_policy(image: str) -> str:
    """Return Always for `:latest` and for no tag at all, IfNotPresent for the rest."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Object) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")
    _default_http_get(probe)


def _default_http_get(handler: Object) -> None:
    get = handler.get("httpGet")
    if get is not None:
        get.setdefault("path", "/")
        get.setdefault("scheme", "HTTP")


def _default_field_ref(source: Object) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")


def _default_volume(volume: Object) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if kind in volume:
            volume[kind].setdefault("defaultMode", _MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for item in volume.get("downwardAPI", {}).get("items", ()):
        _default_field_ref(item)
    for source in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        for item in source.get("downwardAPI", {}).get("items", ()):
            _default_field_ref(item)


def qos_class(spec: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort: who goes first when memory is short."""
    requests: list[dict[str, str]] = []
    limits: list[dict[str, str]] = []
    for container in [*spec.get("initContainers", ()), *spec.get("containers", ())]:
        resources = container.get("resources", {})
        limits.append(_compute(resources.get("limits", {})))
        requests.append(limits[-1] | _compute(resources.get("requests", {})))
    if not any(requests) and not any(limits):
        return "BestEffort"
    guaranteed = all(
        set(most) == {"cpu", "memory"} and _same(least, most)
        for least, most in zip(requests, limits, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _compute(resources: dict[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in resources.items() if k in ("cpu", "memory") and not _is_zero(v)}


def _same(one: dict[str, str], other: dict[str, str]) -> bool:
    try:
        return {k: parse_quantity(v) for k, v in one.items()} == {
            k: parse_quantity(v) for k, v in other.items()
        }
    except InvalidQuantityError:
        return False


def _is_zero(quantity: Any) -> bool:
    try:
        return parse_quantity(str(quantity)) == 0
    except InvalidQuantityError:
        return False
