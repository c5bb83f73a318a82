"""Requests and limits of a container: core `ValidateResourceRequirements`."""

from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import amount_of, quantities

Object = dict[str, Any]
CheckName = Callable[[str, str], list[Cause]]
_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
COUNTED: Final = frozenset(
    {
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
"""Standard resources of which there is no half."""
STANDARD: Final = (
    _CONTAINER
    | COUNTED
    | {
        "storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    }
)
HUGE: Final = "hugepages-"
_NO_LIMIT = "Limit must be set for non overcommitable resources"


def check_container_resource(path: str, name: str) -> list[Cause]:
    """Check the name of what a container may ask for."""
    wrong = check_resource_name(path, name)
    if "/" not in name:
        if name not in _CONTAINER and not name.startswith(HUGE):
            detail = "must be a standard resource for containers"
            wrong.append(fields.invalid(path, name, detail))
    elif "kubernetes.io/" not in name and not is_extended(name):
        detail = "doesn't follow extended resource name standard"
        wrong.append(fields.invalid(path, name, detail))
    return wrong


def check_resource_name(path: str, name: str) -> list[Cause]:
    """Check the name of any resource: standard, or qualified by a domain."""
    wrong = names.check(path, name, names.qualified_name)
    if not wrong and "/" not in name and name not in STANDARD and not name.startswith(HUGE):
        detail = "must be a standard resource type or fully qualified"
        wrong.append(fields.invalid(path, name, detail))
    return wrong


def is_extended(name: str) -> bool:
    """Tell whether the resource is of a domain, which counts it in whole units."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")  # as a quota calls it


def check_whole(path: str, name: str, shown: Any, amount: Fraction) -> list[Cause]:
    """Check that there is no fraction of what is counted."""
    if amount.denominator == 1 or not (name in COUNTED or is_extended(name)):
        return []
    return [fields.invalid(path, shown, "must be an integer")]


def may_overcommit(name: str) -> bool:
    """Tell whether requests and limits may differ: not of huge pages and devices."""
    if name.startswith(HUGE):
        return False
    return "/" not in name or "kubernetes.io/" in name


def validate_resources(
    path: str,
    resources: Object,
    claims: Collection[str] = (),
    check_name: CheckName = check_container_resource,
) -> list[Cause]:
    """Return everything wrong with requests and limits.

    Args:
        path: Where they stand.
        resources: `limits`, `requests`, `claims`.
        claims: Names in the pod's `resourceClaims`.
        check_name: What is asked about names other than a container's standard three.
    """
    if not resources:
        return []
    wrong: list[Cause] = []
    limits = _amounts(f"{path}.limits", resources.get("limits", {}), wrong, check_name)
    requests = _amounts(f"{path}.requests", resources.get("requests", {}), wrong, check_name)
    for name, request in requests.items():
        shown, limit = resources["requests"][name], limits.get(name)
        if limit is None:
            if not may_overcommit(name):
                wrong.append(fields.required(f"{path}.limits", _NO_LIMIT))
        elif request > limit or (request != limit and not may_overcommit(name)):
            how = "less than or equal to" if may_overcommit(name) else "equal to"
            detail = f"must be {how} {name} limit of {resources['limits'][name]}"
            wrong.append(fields.invalid(f"{path}.requests", shown, detail))
    huge = any(name.startswith(HUGE) for name in (*limits, *requests))
    if huge and not {"cpu", "memory"} & {*limits, *requests}:
        wrong.append(fields.forbidden(path, "HugePages require cpu or memory"))
    if "claims" in resources:
        wrong += _claims(f"{path}.claims", resources["claims"], claims)
    return wrong


def _claims(path: str, wanted: list[Object], claims: Collection[str]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, claim in enumerate(wanted):
        at, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            wrong.append(fields.required(at))
            continue
        wrong += _claimed_once(at, claim, taken)
        if name not in claims:
            given = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            detail = f"must be one of the names in pod.spec.resourceClaims{given}"
            wrong.append(fields.not_found(at, name, detail))
    return wrong


def _claimed_once(at: str, claim: Object, taken: set[str]) -> list[Cause]:
    """Check that a claim, or one request of it, is not asked for twice."""
    name, request = claim["name"], claim.get("request", "")
    if name in taken:
        return [fields.duplicate(at, name)]
    key = f"{name}/{request}" if request else name
    wrong = names.check(f"{at}.request", request, names.dns1123_label) if request else []
    if key in taken:
        wrong.append(fields.duplicate(at, key))
    elif not request:
        part = f"{name}/"
        wrong += [fields.duplicate(at, name) for other in taken if other.startswith(part)]
    taken.add(key)
    return wrong


def _amounts(
    path: str, resources: Object, wrong: list[Cause], check_name: CheckName
) -> dict[str, Fraction]:
    if not resources:
        return {}
    odd = [name for name in resources if name not in _CONTAINER]
    if check_name is not check_container_resource:
        odd = list(resources)
    for name in odd:
        wrong += check_name(f"{path}[{name}]", name)
    parsed = quantities(path, resources, wrong)
    for name in odd:
        if name in parsed:
            at, shown = f"{path}[{name}]", resources[name]
            wrong += check_whole(at, name, shown, parsed[name])
            if name.startswith(HUGE) and not _is_divisible(name, parsed[name]):
                detail = f"{shown} is not positive integer multiple of {name}"
                wrong.append(fields.invalid(at, shown, detail))
    return parsed


def _is_divisible(name: str, amount: Fraction) -> bool:
    page = amount_of(name.removeprefix(HUGE))
    return page > 0 and page.denominator == 1 and amount % page == 0
