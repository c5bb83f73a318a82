"""What may change in the spec of a pod: core `ValidatePodUpdate`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields

Object = dict[str, Any]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_MOST_SECONDS = (1 << 31) - 1
_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def validate_update(new: Object, old: Object) -> list[Cause]:
    """Return what changed and may not."""
    for field in ("containers", "initContainers"):
        now, was = new.get(field, ()), old.get(field, ())
        if len(now) != len(was):
            detail = "pod updates may not add or remove containers"
            return [fields.forbidden(f"spec.{field}", detail)]
    wrong = _active_deadline(new, old)
    if wrong and "activeDeadlineSeconds" in new:
        return wrong
    wrong += _tolerations(new.get("tolerations", []), old.get("tolerations", []))
    had = {gate.get("name", "") for gate in old.get("schedulingGates", ())}
    wrong += [
        fields.forbidden(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for index, gate in enumerate(new.get("schedulingGates", ()))
        if gate.get("name", "") not in had
    ]
    if had:
        wrong += _node_selector(new.get("nodeSelector", {}), old.get("nodeSelector", {}))
        wrong += _node_affinity(_affinity_to_nodes(new), _affinity_to_nodes(old))
    if _fixed(new, old) != _fixed(old, old):
        wrong.append(fields.forbidden("spec", _FORBIDDEN))
    return wrong


def _node_selector(new: Object, old: Object) -> list[Cause]:
    """Let a pod that is not yet to be scheduled be held to fewer nodes."""
    if old.items() <= new.items():
        return []
    detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    return [fields.invalid("spec.nodeSelector", new, detail)]


def _affinity_to_nodes(spec: Object) -> Object:
    found: Object = spec.get("affinity", {}).get("nodeAffinity", {})
    return found


def _node_affinity(new: Object, old: Object) -> list[Cause]:
    """Let the terms that a pod that is not yet to be scheduled has be narrowed."""
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    before = old.get(_REQUIRED, {}).get("nodeSelectorTerms", [])
    now = new.get(_REQUIRED, {}).get("nodeSelectorTerms", [])
    if before and len(before) != len(now):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [fields.invalid(path, now, detail)]
    detail = "only additions are allowed (no mutations or deletions)"
    return [
        fields.invalid(f"{path}[{index}]", now[index], detail)
        for index, term in enumerate(before)
        if not _only_narrower(now[index], term)
    ]


def _only_narrower(new: Object, old: Object) -> bool:
    parts = [
        (new.get(field, []), old.get(field, [])) for field in ("matchExpressions", "matchFields")
    ]
    if not any(was for _, was in parts):
        return not any(now for now, _ in parts)  # it matches nothing, and would then match some
    return all(now[: len(was)] == was for now, was in parts)


def _active_deadline(new: Object, old: Object) -> list[Cause]:
    path = "spec.activeDeadlineSeconds"
    was, is_ = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if was is None or is_ == was:
        return []
    if is_ is None:
        return [fields.invalid(path, is_, "must not update from a positive integer to nil value")]
    if not 0 <= is_ <= _MOST_SECONDS:
        return [fields.invalid(path, is_, f"must be between 0 and {_MOST_SECONDS}, inclusive")]
    if is_ > was:
        return [fields.invalid(path, is_, "must be less than or equal to previous value")]
    return []


def _tolerations(new: list[Object], old: list[Object]) -> list[Cause]:
    """Let tolerations be added, and the seconds of one be changed."""
    if new is old or {_without_seconds(t) for t in old} <= {_without_seconds(t) for t in new}:
        return []
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [fields.forbidden("spec.tolerations", detail)]


def _without_seconds(toleration: Object) -> frozenset[tuple[str, str]]:
    return frozenset((k, v) for k, v in toleration.items() if k != "tolerationSeconds")


def _fixed(spec: Object, old: Object) -> Object:
    """Return the part of a spec that may not differ, given what the old one was."""
    fixed = {
        k: v
        for k, v in spec.items()
        if k not in ("activeDeadlineSeconds", "tolerations", "schedulingGates")
    }
    if old.get("schedulingGates"):
        fixed.pop("nodeSelector", None)
        affinity = {k: v for k, v in fixed.pop("affinity", {}).items() if k != "nodeAffinity"}
        if affinity:
            fixed["affinity"] = affinity
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [_without_image(c) for c in fixed[field]]
    before = old.get("terminationGracePeriodSeconds", 0)
    if before < 0 and spec.get("terminationGracePeriodSeconds") in (1, before):
        fixed.pop("terminationGracePeriodSeconds", None)
    return fixed


def _without_image(container: Object) -> Object:
    return {k: v for k, v in container.items() if k != "image"}
