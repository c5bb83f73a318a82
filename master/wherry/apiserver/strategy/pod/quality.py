"""A pod's class of service: who goes first when memory is short."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from wherry.apiserver.strategy.formats import amount_of

Object = dict[str, Any]
Amounts = dict[str, Fraction]


def qos_class(spec: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort."""
    pod = spec.get("resources", {})
    if pod.get("limits") or pod.get("requests"):
        parts = [pod]
    else:
        parts = [
            container.get("resources", {})
            for field in ("initContainers", "containers")
            for container in spec.get(field, ())
        ]
    limits = [_compute(part.get("limits", {})) for part in parts]
    requests = [
        most | _compute(part.get("requests", {})) for most, part in zip(limits, parts, strict=True)
    ]
    if not any(requests):
        return "BestEffort"
    guaranteed = all(
        least == most and len(most) == 2 for least, most in zip(requests, limits, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _compute(resources: Mapping[str, Any]) -> Amounts:
    amounts = {name: amount_of(resources[name]) for name in ("cpu", "memory") if name in resources}
    return {name: amount for name, amount in amounts.items() if amount}
