"""What may change in the spec of a pod: core `ValidatePodUpdate`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields

Object = dict[str, Any]
_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def validate_update(new: Object, old: Object) -> list[Cause]:
    """Return what changed and may not."""
    wrong = _containers(new, old)
    if wrong:
        return wrong
    wrong += _active_deadline(new, old)
    wrong += _tolerations(new.get("tolerations", []), old.get("tolerations", []))
    had = {gate.get("name", "") for gate in old.get("schedulingGates", ())}
    wrong += [
        fields.forbidden(
            "spec.schedulingGates",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for gate in new.get("schedulingGates", ())
        if gate.get("name", "") not in had
    ]
    if had:
        wrong += _node_selector(new.get("nodeSelector", {}), old.get("nodeSelector", {}))
    if _fixed(new, old) != _fixed(old, old):
        wrong.append(fields.forbidden("spec", _FORBIDDEN))
    return wrong


def _node_selector(new: Object, old: Object) -> list[Cause]:
    """Let a pod that is not yet to be scheduled be held to fewer nodes."""
    if old.items() <= new.items():
        return []
    detail = "only additions are allowed (no mutations or deletions)"
    return [fields.invalid("spec.nodeSelector", new, detail)]


def _containers(new: Object, old: Object) -> list[Cause]:
    return [
        fields.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
        for field in ("containers", "initContainers")
        if len(new.get(field, ())) != len(old.get(field, ()))
    ]


def _active_deadline(new: Object, old: Object) -> list[Cause]:
    path = "spec.activeDeadlineSeconds"
    was, is_ = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if was is None:
        return []
    if is_ is None:
        return [fields.invalid(path, is_, "must not update from a positive integer to nil value")]
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
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [_without_image(c) for c in fixed[field]]
    before = old.get("terminationGracePeriodSeconds", 0)
    if before < 0 and spec.get("terminationGracePeriodSeconds") in (1, before):
        fixed.pop("terminationGracePeriodSeconds", None)
    return fixed


def _without_image(container: Object) -> Object:
    return {k: v for k, v in container.items() if k != "image"}
