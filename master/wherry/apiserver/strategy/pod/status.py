"""What agents report of a pod: core `ValidatePodStatusUpdate`."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import check_families, check_ip

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
    for index, condition in enumerate(status.get("conditions", ())):
        kind = condition.get("type", "")
        if kind not in _SYSTEM_CONDITIONS:
            at = f"metadata.conditions[{index}].Type"  # upstream's path
            wrong += names.check(at, kind, names.qualified_name)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != was.get("nominatedNodeName"):
        wrong += names.check("status.nominatedNodeName", nominated, names.dns1123_subdomain)
    if was.get("qosClass") and status.get("qosClass") != was["qosClass"]:
        wrong.append(fields.invalid("status.qosClass", status.get("qosClass"), fields.IMMUTABLE))
    policy = new.get("spec", {}).get("restartPolicy", "")
    sidecars = {
        container.get("name")
        for container in new.get("spec", {}).get("initContainers", ())
        if container.get("restartPolicy") == "Always"
    }
    for field in ("containerStatuses", "initContainerStatuses"):
        wrong += _restarted(field, status, was, policy, sidecars)
    wrong += _restarted("ephemeralContainerStatuses", status, was, "Never", set())
    if "resourceClaimStatuses" in status:
        wrong += _claims(status["resourceClaimStatuses"], new.get("spec", {}))
    for field in ("podIPs", "hostIPs"):
        if status.get(field) and status[field] != was.get(field):
            wrong += _addresses(f"status.{field}", status[field])
    if status.get("hostIPs") and status.get("hostIP", "") != status["hostIPs"][0].get("ip", ""):
        first = status["hostIPs"][0].get("ip", "")
        wrong.append(fields.invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`"))
    return wrong


def keep_generations(status: Object, was: Object) -> None:
    """Keep which generation a report was about, where a client that does not know of it leaves it out."""
    if not status.get("observedGeneration") and was.get("observedGeneration"):
        status["observedGeneration"] = was["observedGeneration"]
    seen: dict[str, list[int]] = {}
    for condition in was.get("conditions", ()):
        generation = condition.get("observedGeneration", 0)
        seen.setdefault(condition.get("type", ""), []).append(generation)
    for condition in status.get("conditions", ()):
        before = seen.get(condition.get("type", ""))
        generation = before.pop(0) if before else 0
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation


def _addresses(path: str, addresses: list[Object]) -> list[Cause]:
    """Check that there is one address of each family at most."""
    texts = [each.get("ip", "") for each in addresses]
    wrong = [c for index, ip in enumerate(texts) for c in check_ip(f"{path}[{index}]", ip)]
    return wrong or check_families(path, texts, addresses, "IP")


def _claims(statuses: list[Object], spec: Object) -> list[Cause]:
    wanted = {claim.get("name") for claim in spec.get("resourceClaims", ())}
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, each in enumerate(statuses):
        at, name = f"status.resourceClaimStatuses[{index}].name", each.get("name", "")
        if name not in wanted:
            detail = "must match the name of an entry in `spec.resourceClaims`"
            wrong.append(fields.invalid(at, name, detail))
        if name in seen:
            wrong.append(fields.duplicate(at, name))
        seen.add(name)
        if "resourceClaimName" in each:
            wrong += names.check(at, each["resourceClaimName"], names.dns1123_subdomain)
    return wrong


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
