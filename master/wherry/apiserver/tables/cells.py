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
