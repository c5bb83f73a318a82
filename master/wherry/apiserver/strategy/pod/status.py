"""What agents report of a pod: core `ValidatePodStatusUpdate`."""

from collections.abc import Mapping
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import check_ip
from wherry.apiserver.strategy.pod.defaults import CONTAINER_LISTS

Object = dict[str, Any]
GATED: Final[Mapping[str, str]] = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
_STATUSES = {
    "initContainers": "initContainerStatuses",
    "containers": "containerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}


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
        for index, each in enumerate(status.get(field, ())):
            at, ip = f"status.{field}[{index}]", each.get("ip", "")
            if status.get(field) != was.get(field):
                wrong += check_ip(at, ip)
    for index, condition in enumerate(status.get("conditions", ())):
        at = f"status.conditions[{index}].type"
        wrong += names.check(at, condition.get("type", ""), names.qualified_name)
    for field in CONTAINER_LISTS:
        wrong += _restarts(field, new, status, was)
    return wrong


def _restarts(field: str, pod: Object, status: Object, was: Object) -> list[Cause]:
    """Say that what has ended and may not start again is not running again."""
    spec, where = pod.get("spec", {}), _STATUSES[field]
    if spec.get("restartPolicy") == "Always" and field != "ephemeralContainers":
        return []
    sidecars = {c.get("name") for c in spec.get(field, ()) if c.get("restartPolicy") == "Always"}
    ended = {
        each.get("name"): each["state"]["terminated"].get("exitCode", 0)
        for each in was.get(where, ())
        if "terminated" in each.get("state", {}) and each.get("name") not in sidecars
    }
    wrong: list[Cause] = []
    for index, each in enumerate(status.get(where, ())):
        code = ended.get(each.get("name"))
        if code is None or (spec.get("restartPolicy") == "OnFailure" and code != 0):
            continue
        if "terminated" not in each.get("state", {}):
            detail = "may not be transitioned to non-terminated state"
            wrong.append(fields.forbidden(f"status.{where}[{index}].state", detail))
    return wrong
