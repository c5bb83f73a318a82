"""Requests and limits of a container: core `ValidateResourceRequirements`."""

from collections.abc import Collection
from fractions import Fraction
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import quantities

Object = dict[str, Any]
_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
STANDARD: Final = _CONTAINER | {
    "storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
}
_HUGE = "hugepages-"
_NO_LIMIT = "Limit must be set for non overcommitable resources"


def validate_resources(path: str, resources: Object, claims: Collection[str] = ()) -> list[Cause]:
    """Return everything wrong with requests and limits.

    Args:
        path: Where they stand.
        resources: `limits`, `requests`, `claims`.
        claims: Names in the pod's `resourceClaims`.
    """
    if not resources:
        return []
    wrong: list[Cause] = []
    limits = _amounts(f"{path}.limits", resources.get("limits", {}), wrong)
    requests = _amounts(f"{path}.requests", resources.get("requests", {}), wrong)
    for name, request in requests.items():
        shown, limit = resources["requests"][name], limits.get(name)
        if limit is None:
            if not _may_overcommit(name):
                wrong.append(fields.required(f"{path}.limits", _NO_LIMIT))
        elif request > limit or (request != limit and not _may_overcommit(name)):
            how = "less than or equal to" if _may_overcommit(name) else "equal to"
            detail = f"must be {how} {name} limit of {resources['limits'][name]}"
            wrong.append(fields.invalid(f"{path}.requests", shown, detail))
    huge = any(name.startswith(_HUGE) for name in (*limits, *requests))
    if huge and not {"cpu", "memory"} & {*limits, *requests}:
        wrong.append(fields.forbidden(path, "HugePages require cpu or memory"))
    return wrong + _claims(f"{path}.claims", resources.get("claims", []), claims)


def _claims(path: str, wanted: list[Object], claims: Collection[str]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, claim in enumerate(wanted):
        at, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        elif name not in claims:
            detail = "must be one of the names in pod.spec.resourceClaims"
            wrong.append(fields.invalid(at, name, detail))
    return wrong


def _amounts(path: str, resources: Object, wrong: list[Cause]) -> dict[str, Fraction]:
    if not resources:
        return {}
    for name in resources:
        if name not in _CONTAINER:
            wrong += check_container_resource(f"{path}[{name}]", name)
    parsed = quantities(path, resources, wrong)
    for name, amount in parsed.items():
        if not _may_overcommit(name) and amount.denominator != 1:
            wrong.append(fields.invalid(f"{path}[{name}]", resources[name], "must be an integer"))
    return parsed


def check_container_resource(path: str, name: str) -> list[Cause]:
    """Check the name of what a container may ask for."""
    wrong = check_resource_name(path, name)
    if "/" not in name and name not in _CONTAINER and not name.startswith(_HUGE):
        wrong.append(fields.invalid(path, name, "must be a standard resource for containers"))
    return wrong


def check_resource_name(path: str, name: str) -> list[Cause]:
    """Check the name of any resource: standard, or qualified by a domain."""
    wrong = names.check(path, name, names.qualified_name)
    if not wrong and "/" not in name and name not in STANDARD and not name.startswith(_HUGE):
        detail = "must be a standard resource type or fully qualified"
        wrong.append(fields.invalid(path, name, detail))
    return wrong


def _may_overcommit(name: str) -> bool:
    """Tell whether requests and limits may differ: not of huge pages and devices."""
    if name.startswith(_HUGE):
        return False
    return "/" not in name or "kubernetes.io/" in name
