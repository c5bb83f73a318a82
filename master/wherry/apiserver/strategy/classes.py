"""PriorityClass and RuntimeClass: what a pod names, and the server looks up."""

from typing import Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import PREEMPTION, need, option, unchanged
from wherry.apiserver.strategy.pod.resources import validate_resources
from wherry.apiserver.strategy.pod.scheduling import validate_toleration

_HIGHEST_OF_USERS = 1_000_000_000
SYSTEM_CLASSES: Final[dict[str, int]] = {
    "system-node-critical": 2_000_001_000,
    "system-cluster-critical": 2_000_000_000,
}
"""Every cluster has them; their names and numbers are nobody else's."""
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only"


class PriorityClassStrategy(Strategy):
    """A number with a name."""

    generation = True

    def default(self, obj: Object) -> None:
        """Let pods of the class displace others."""
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
        obj.setdefault("value", 0)

    def validate(self, obj: Object) -> list[Cause]:
        """Keep the names and numbers of the system for the system."""
        name, value = obj["metadata"].get("name", ""), obj["value"]
        wrong: list[Cause] = []
        if name.startswith("system-"):
            why = _not_systems(name, value, default=obj.get("globalDefault", False))
            if why:
                detail = f"{_RESERVED}. error: {why}"
                wrong.append(fields.forbidden("metadata.name", detail))
        elif value > _HIGHEST_OF_USERS:
            detail = f"maximum allowed value of a user defined priority is {_HIGHEST_OF_USERS}"
            wrong.append(fields.forbidden("value", detail))
        return wrong + option("", obj, "preemptionPolicy", PREEMPTION)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep number and policy: pods have them already."""
        wrong: list[Cause] = []
        if new["value"] != old.get("value", 0):
            wrong.append(fields.forbidden("value", "may not be changed in an update."))
        return wrong + unchanged("", new, old, "preemptionPolicy")


def _not_systems(name: str, value: int, *, default: bool) -> str:
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if default else ""


class RuntimeClassStrategy(Strategy):
    """Which handler of the container runtime runs a pod."""

    create_on_update = True
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        """Check handler, overhead and scheduling."""
        wrong = need("", obj, "handler")
        if obj.get("handler"):
            wrong = names.check("handler", obj["handler"], names.dns1123_label)
        if "overhead" in obj:
            fixed = obj["overhead"].get("podFixed", {})
            wrong += validate_resources("overhead", {"limits": fixed})
        scheduling = obj.get("scheduling", {})
        wrong += names.check_labels("scheduling.nodeSelector", scheduling.get("nodeSelector", {}))
        for index, toleration in enumerate(scheduling.get("tolerations", ())):
            wrong += validate_toleration(f"scheduling.tolerations[{index}]", toleration)
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the handler."""
        return unchanged("", new, old, "handler")
