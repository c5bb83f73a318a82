"""A pod's place in the queue: the number that its PriorityClass has.

Source: kubernetes `plugin/pkg/admission/priority`.
"""

from collections.abc import Iterable
from typing import Any

import orjson

Object = dict[str, Any]
_IS_DEFAULT = b'"globalDefault":true'  # inside of a string its quotes would be escaped
_NO_CLASS: Object = {"value": 0, "preemptionPolicy": "PreemptLowerPriority"}


def default_class(classes: Iterable[bytes]) -> Object | None:
    """Return the class of pods that name none: of several the one with the lowest value."""
    defaults = [orjson.loads(raw) for raw in classes if _IS_DEFAULT in raw]
    return min(defaults, key=lambda one: (one["value"], one["metadata"]["name"]), default=None)


def prioritize(spec: Object, chosen: Object | None) -> str:
    """Write the class into a new pod's spec; return why the pod is refused, or ""."""
    if chosen is not None:
        spec["priorityClassName"] = chosen["metadata"]["name"]
    source = chosen or _NO_CLASS
    for field, said, kind in (
        ("priority", "value", "integer value of priority"),
        ("preemptionPolicy", "preemptionPolicy", "string value of PreemptionPolicy"),
    ):
        computed = source.get(said, _NO_CLASS[said])
        asked = spec.setdefault(field, computed)
        if asked != computed:
            return (
                f"the {kind} ({asked}) must not be provided in pod spec; priority admission "
                f"controller computed {computed} from the given PriorityClass name"
            )
    return ""


def keep(spec: Object, old: Object) -> None:
    """Let an update that says nothing of them leave number and policy as they are."""
    for field in ("priority", "preemptionPolicy"):
        if spec.get(field) is None and old.get(field) is not None:
            spec[field] = old[field]
