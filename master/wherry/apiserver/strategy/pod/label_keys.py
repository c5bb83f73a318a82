"""What `matchLabelKeys` and `mismatchLabelKeys` mean for one pod: the values of its own labels.

They are added to the selectors when the pod is created, so that a scheduler sees selectors only.
Source: `mutatePodAffinity` and `mutateTopologySpreadConstraints` of upstream's pod strategy.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Object = dict[str, Any]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_OPERATORS = {"matchLabelKeys": "In", "mismatchLabelKeys": "NotIn"}


def apply(spec: Object, labels: Mapping[str, str]) -> None:
    """Add the values of the pod's labels to the selectors that name their keys, in place."""
    for part in _terms(spec):
        selector = part.get("labelSelector")
        if selector is None:
            continue
        for field, operator in _OPERATORS.items():
            for key in part.get(field, ()):
                if key in labels:
                    _add(selector, {"key": key, "operator": operator, "values": [labels[key]]})


def _add(selector: Object, requirement: Object) -> None:
    """Add what is not there yet: a pod is begun again where the name that was made up for it is taken."""
    there = selector.get("matchExpressions", [])
    if requirement not in there:
        selector["matchExpressions"] = [*there, requirement]


def _terms(spec: Object) -> Iterator[Object]:
    affinity = spec.get("affinity", {})
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind, {})
        for wish in terms.get(_PREFERRED, ()):
            yield wish.get("podAffinityTerm", {})
        yield from terms.get(_REQUIRED, ())
    yield from spec.get("topologySpreadConstraints", ())
