"""The resize subresource of pods: other requests and limits for containers that run. Pure.

Only cpu and memory change, nothing is removed, and the pod stays in its class of service.
Source: core `ValidatePodResize` of 1.33.
"""

from collections.abc import Iterator
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.patch import copy_json
from wherry.apiserver.registry import prepare
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import keep
from wherry.apiserver.strategy.formats import amount_of
from wherry.apiserver.strategy.pod.quality import qos_class

Object = dict[str, Any]
_LISTS = ("initContainers", "containers")
_MUTABLE = ("cpu", "memory")


def resized(target: Target, sent: Object, old: Object) -> Object:
    """Return `old` with the resources that were sent, and nothing else of it.

    Raises:
        InvalidError: this cannot be changed while the pod runs.
    """
    spec: Object = copy_json(old["spec"])
    asked = copy_json(sent.get("spec", {}))
    order = _order(asked, spec)
    if not order:
        for container, new in _pairs(spec, asked):
            keep(container, new, "resources")
            keep(container, new, "resizePolicy")
    return prepare.update_containers(
        target, old, spec, lambda new: order or _causes(new["spec"], old["spec"])
    )


def _pairs(left: Object, right: Object) -> Iterator[tuple[Object, Object]]:
    for field in _LISTS:
        yield from zip(left.get(field, ()), right.get(field, ()), strict=True)


def _order(new: Object, old: Object) -> list[Cause]:
    """Refuse other containers than there are."""
    wrong = []
    for field in _LISTS:
        now, was = new.get(field, ()), old.get(field, ())
        if len(now) != len(was):
            why = "containers may not be added or removed on resize"
            return [fields.forbidden(f"spec.{field}", why)]
        wrong += [
            fields.forbidden(
                f"spec.{field}[{i}].name", "containers may not be renamed or reordered on resize"
            )
            for i, (a, b) in enumerate(zip(now, was, strict=True))
            if a.get("name") != b["name"]
        ]
    return wrong


def _causes(new: Object, old: Object) -> list[Cause]:
    wrong = []
    if (qos := qos_class(new)) != qos_class(old):
        why = "Pod QOS Class may not change as a result of resizing"
        wrong.append(fields.invalid("spec", qos, why))
    for field in _LISTS:
        both = zip(new.get(field, ()), old.get(field, ()), strict=True)
        for index, (container, was) in enumerate(both):
            path = f"spec.{field}[{index}].resources"
            if field == "initContainers" and was.get("restartPolicy") != "Always":
                if container.get("resources") != was.get("resources"):
                    why = "resources for non-sidecar init containers are immutable"
                    wrong.append(fields.forbidden(path, why))
                continue
            wrong += _container(path, container, was)
    if any(_fixed(a) != _fixed(b) for a, b in _pairs(new, old)):
        wrong.append(fields.forbidden("spec", "only cpu and memory resources are mutable"))
    return wrong


def _container(path: str, container: Object, was: Object) -> list[Cause]:
    new, old = container.get("resources", {}), was.get("resources", {})
    wrong = []
    for part in ("requests", "limits"):
        had = {name for name in _MUTABLE if name in old.get(part, {})}
        if had - new.get(part, {}).keys():
            wrong.append(fields.forbidden(f"{path}.{part}", f"resource {part} cannot be removed"))
    before, now = (r.get("limits", {}).get("memory") for r in (old, new))
    shrinks = before is not None and now is not None and amount_of(now) < amount_of(before)
    if shrinks and not _restarts_for_memory(container):
        why = "memory limits cannot be decreased unless resizePolicy is RestartContainer"
        wrong.append(fields.forbidden(f"{path}.limits[memory]", why))
    return wrong


def _restarts_for_memory(container: Object) -> bool:
    return any(
        p.get("resourceName") == "memory" and p.get("restartPolicy") == "RestartContainer"
        for p in container.get("resizePolicy", ())
    )


def _fixed(container: Object) -> Object:
    """Return what of a container may not change."""
    resources = {
        part: {k: v for k, v in values.items() if k not in _MUTABLE} if part != "claims" else values
        for part, values in container.get("resources", {}).items()
    }
    return {**container, "resources": {part: kept for part, kept in resources.items() if kept}}
