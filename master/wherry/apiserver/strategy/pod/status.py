"""What agents report of a pod: core `ValidatePodStatusUpdate`."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import check_ip

Object = dict[str, Any]
GATED: Final[Mapping[str, str]] = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


def validate_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the step from the old status."""
    status, was = new.get("status", {}), old.get("status", {})
    wrong: list[Cause] = []
    nominated = status.get("nominatedNodeName")
    if nominated:
        wrong += names.check("status.nominatedNodeName", nominated, names.dns1123_subdomain)
    if was.get("qosClass") and status.get("qosClass") != was["qosClass"]:
        wrong.append(fields.invalid("status.qosClass", status.get("qosClass"), fields.IMMUTABLE))
    for field in ("podIPs", "hostIPs"):
        if status.get(field) != was.get(field):
            for index, each in enumerate(status.get(field, ())):
                wrong += check_ip(f"status.{field}[{index}]", each.get("ip", ""))
    for index, condition in enumerate(status.get("conditions", ())):
        kind = condition.get("type", "")
        if kind not in _SYSTEM_CONDITIONS:
            at = f"metadata.conditions[{index}].Type"  # upstream's path
            wrong += names.check(at, kind, names.qualified_name)
    policy = new.get("spec", {}).get("restartPolicy", "")
    sidecars = {
        container.get("name")
        for container in new.get("spec", {}).get("initContainers", ())
        if container.get("restartPolicy") == "Always"
    }
    for field in ("containerStatuses", "initContainerStatuses"):
        wrong += _restarted(field, status, was, policy, sidecars)
    return wrong + _restarted("ephemeralContainerStatuses", status, was, "Never", set())


def _restarted(
    field: str, status: Object, was: Object, policy: str, sidecars: Collection[str]
) -> list[Cause]:
    """Say that what has ended and may not start again is not running again."""
    if policy == "Always" or field not in was:
        return []
    detail = "may not be transitioned to non-terminated state"
    running = {
        each.get("name")
        for each in status.get(field, ())
        if "terminated" not in each.get("state", {})
    }
    wrong: list[Cause] = []
    for index, each in enumerate(was[field]):
        ended, name = each.get("state", {}).get("terminated"), each.get("name")
        if ended is None or name not in running or name in sidecars:
            continue
        if policy == "OnFailure" and ended.get("exitCode", 0) != 0:
            continue
        wrong.append(fields.forbidden(f"status.{field}[{index}].state", detail))
    return wrong
