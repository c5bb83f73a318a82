"""Probes and lifecycle hooks: core `validateProbe`, `validateLifecycle` and their handlers."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import (
    POSITIVE,
    check_port,
    check_port_or_name,
    choice,
    not_negative,
)

Object = dict[str, Any]
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_SCHEMES = ("HTTP", "HTTPS")
_SECONDS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_NOT_FOR_INIT = "may not be set for init containers without restartPolicy=Always"


def forbid_handlers(path: str, container: Object) -> list[Cause]:
    """Say that an init container that runs to its end has no probes and no hooks."""
    return [
        fields.forbidden(f"{path}.{field}", _NOT_FOR_INIT)
        for field in ("lifecycle", *_PROBES)
        if container.get(field) is not None
    ]


def validate_handlers(path: str, container: Object, grace_s: int) -> list[Cause]:
    """Check hooks and probes of a container that keeps running."""
    wrong: list[Cause] = []
    lifecycle = container.get("lifecycle")
    if lifecycle is not None:
        for hook in ("postStart", "preStop"):
            if hook in lifecycle:
                at = f"{path}.lifecycle.{hook}"
                wrong += _handler(at, lifecycle[hook], _HOOK_HANDLERS, grace_s)
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            wrong += _probe(f"{path}.{name}", probe, name, grace_s)
    return wrong


def _probe(path: str, probe: Object, name: str, grace_s: int) -> list[Cause]:
    wrong = _handler(path, probe, _PROBE_HANDLERS, grace_s)
    wrong += not_negative(path, probe, *_SECONDS)
    at, grace = f"{path}.terminationGracePeriodSeconds", probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        wrong.append(fields.invalid(at, grace, POSITIVE))
    if name == "readinessProbe":
        if grace is not None:
            wrong.append(fields.invalid(at, grace, "must not be set for readinessProbes"))
    elif probe.get("successThreshold", 1) != 1:
        threshold = probe["successThreshold"]
        wrong.append(fields.invalid(f"{path}.successThreshold", threshold, "must be 1"))
    return wrong


def _handler(path: str, handler: Object, known: tuple[str, ...], grace_s: int) -> list[Cause]:
    kinds = [kind for kind in known if kind in handler]
    if not kinds:
        return [fields.required(path, "must specify a handler type")]
    at, body = f"{path}.{kinds[0]}", handler[kinds[0]]
    wrong = _CHECKS[kinds[0]](at, body, grace_s)
    return wrong + [
        fields.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
        for kind in kinds[1:]
    ]


def _exec(path: str, body: Object, _grace_s: int) -> list[Cause]:
    return [] if body.get("command") else [fields.required(f"{path}.command")]


def _http_get(path: str, body: Object, _grace_s: int) -> list[Cause]:
    wrong = [] if body.get("path") else [fields.required(f"{path}.path")]
    wrong += check_port_or_name(f"{path}.port", body.get("port", 0))
    wrong += choice(path, body, "scheme", _SCHEMES)
    for header in body.get("httpHeaders", ()):
        wrong += names.check(f"{path}.httpHeaders", header.get("name", ""), names.header_name)
    return wrong


def _tcp_socket(path: str, body: Object, _grace_s: int) -> list[Cause]:
    return check_port_or_name(f"{path}.port", body.get("port", 0))


def _grpc(path: str, body: Object, _grace_s: int) -> list[Cause]:
    return check_port(f"{path}.port", body.get("port", 0))


def _sleep(path: str, body: Object, grace_s: int) -> list[Cause]:
    seconds = body.get("seconds", 0)
    if 0 <= seconds <= grace_s:
        return []
    detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
    return [fields.invalid(path, seconds, detail)]


_CHECKS = {
    "exec": _exec,
    "httpGet": _http_get,
    "tcpSocket": _tcp_socket,
    "grpc": _grpc,
    "sleep": _sleep,
}
