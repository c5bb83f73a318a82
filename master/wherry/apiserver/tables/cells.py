"""Cells that many kinds share."""

from collections.abc import Mapping
from typing import Any

from wherry.apiserver.tables.duration import age

Obj = dict[str, Any]
NONE = "<none>"
UNSET = "<unset>"


def name_of(obj: Obj) -> str:
    """Return metadata.name."""
    return str(obj["metadata"].get("name", ""))


def created(obj: Obj, now: float) -> str:
    """Return the age of an object at `now` (epoch seconds)."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Return `a=b,c=d` in the order of the keys, `<none>` for no labels."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Obj | None) -> str:
    """Return a label selector as kubectl's -l would take it."""
    if selector is None:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for requirement in selector.get("matchExpressions") or ():
        key, operator = requirement.get("key", ""), requirement.get("operator")
        values = ",".join(sorted(requirement.get("values") or ()))
        texts = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "DoesNotExist": f"!{key}",
        }
        parts.append((key, texts.get(str(operator), key)))
    return ",".join(text for _, text in sorted(parts)) or NONE


def containers_and_images(spec: Obj) -> list[str]:
    """Return the names and the images of the containers of a spec's pod template."""
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or ()
    return [
        ",".join(c.get("name", "") for c in containers),
        ",".join(c.get("image", "") for c in containers),
    ]


def condition_of(obj: Obj, kind: str) -> Obj | None:
    """Return the condition of that type, if there is one."""
    conditions = obj.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), None)


def has_condition(obj: Obj, kind: str) -> bool:
    """Tell whether a condition is True."""
    return (condition_of(obj, kind) or {}).get("status") == "True"
