"""Requests and limits of a whole pod: core `validatePodResources`, and `defaultPodRequests`."""

from collections.abc import Collection
from fractions import Fraction
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.schema.scalar import quantity
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import amount_of
from wherry.apiserver.strategy.pod.resources import (
    HUGE,
    check_resource_name,
    may_overcommit,
    validate_resources,
)

Object = dict[str, Any]
_SUPPORTED = ("cpu", HUGE, "memory")


def default_pod_requests(spec: Object) -> None:
    """Request for the pod what its containers request, and what is left to its own limits."""
    resources = spec["resources"]
    limits = resources.get("limits")
    if not limits:
        return
    requests = resources.get("requests", {})
    of_containers = {
        name: shown
        for name, (_, shown) in _together(spec).items()
        if _is_supported(name) and may_overcommit(name)
    }
    of_limits = {name: amount for name, amount in limits.items() if _is_supported(name)}
    resources["requests"] = {**of_limits, **of_containers, **requests}


def validate_pod_level(path: str, spec: Object, claims: Collection[str]) -> list[Cause]:
    """Return everything wrong with the resources of the pod, alone and beside its containers'."""
    resources = spec["resources"]
    wrong: list[Cause] = []
    if "claims" in resources:
        detail = "claims cannot be set for Resources at pod-level"
        wrong.append(fields.forbidden(f"{path}.claims", detail))
    wrong += validate_resources(path, resources, claims, _check_name)
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name, (amount, shown) in _together(spec).items():
        of_pod = requests.get(name, "0")
        if amount > amount_of(of_pod):
            detail = f"must be greater than or equal to aggregate container requests of {shown}"
            wrong.append(fields.invalid(f"{path}.requests[{name}]", of_pod, detail))
    for index, container in enumerate(spec.get("containers", ())):
        for name, limit in container.get("resources", {}).get("limits", {}).items():
            if name in limits and amount_of(limit) > amount_of(limits[name]):
                at = f"{path}.containers[{index}][{name}].limits"  # upstream's path
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                wrong.append(fields.invalid(at, limit, detail))
    return wrong


def _is_supported(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith(HUGE)


def _check_name(path: str, name: str) -> list[Cause]:
    wrong = check_resource_name(path, name)
    if not wrong and not _is_supported(name):
        wrong.append(fields.unsupported(path, name, _SUPPORTED))
    return wrong


def _together(spec: Object) -> dict[str, tuple[Fraction, str]]:
    """Return what the containers request together at most, and how it is written.

    App containers and sidecars run at the same time; before them each init container runs with
    the sidecars that were started before it.
    """
    running: dict[str, Fraction] = {}
    sidecars: dict[str, Fraction] = {}
    most: dict[str, Fraction] = {}
    binary: set[str] = set()

    def amounts(container: Object) -> list[tuple[str, Fraction]]:
        requests = container.get("resources", {}).get("requests", {})
        binary.update(name for name, shown in requests.items() if str(shown).endswith("i"))
        return [(name, amount_of(shown)) for name, shown in requests.items()]

    for container in spec.get("containers", ()):
        for name, amount in amounts(container):
            running[name] = running.get(name, Fraction(0)) + amount
    for container in spec.get("initContainers", ()):
        stays = container.get("restartPolicy") == "Always"
        for name, amount in amounts(container):
            if stays:
                running[name] = running.get(name, Fraction(0)) + amount
                sidecars[name] = sidecars.get(name, Fraction(0)) + amount
            now = sidecars.get(name, Fraction(0)) + (0 if stays else amount)
            most[name] = max(most.get(name, Fraction(0)), now)
    total = {n: max(running.get(n, Fraction(0)), most.get(n, Fraction(0))) for n in running | most}
    return {
        name: (amount, _written(amount, binary=name in binary)) for name, amount in total.items()
    }


def _written(amount: Fraction, *, binary: bool) -> str:
    if binary and amount.denominator == 1 and amount % 1024 == 0:
        return quantity(f"{amount.numerator // 1024}Ki")
    nanos = -(-amount.numerator * 10**9 // amount.denominator)
    return quantity(f"{nanos}n")
