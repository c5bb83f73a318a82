"""PodDisruptionBudget: policy `ValidatePodDisruptionBudget`."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.conditions import validate_conditions
from wherry.apiserver.strategy.formats import check_int_or_percent, not_negative, option
from wherry.apiserver.strategy.selector import validate_label_selector

_EVICTION = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


class PodDisruptionBudgetStrategy(Strategy):
    """How many pods of a set may be missing at a time."""

    generation = True
    unconditional_update = False
    step_first = False

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing allowed: nobody has counted yet."""
        obj["status"] = dict.fromkeys(_COUNTS, 0)

    def default(self, obj: Object) -> None:
        """Have a spec."""
        obj.setdefault("spec", {})

    def validate(self, obj: Object) -> list[Cause]:
        """Check both numbers, of which there may be one, and the selector."""
        spec = obj["spec"]
        wrong: list[Cause] = []
        if "minAvailable" in spec and "maxUnavailable" in spec:
            detail = "minAvailable and maxUnavailable cannot be both set"
            wrong.append(fields.invalid("spec", spec, detail))
        for field in ("minAvailable", "maxUnavailable"):
            if field in spec:
                wrong += check_int_or_percent(f"spec.{field}", spec[field], most_percent=100)
        if "selector" in spec:
            wrong += validate_label_selector("spec.selector", spec["selector"])
        return wrong + option("spec", spec, "unhealthyPodEvictionPolicy", _EVICTION)

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check conditions and counts."""
        status = new.get("status", {})
        wrong = validate_conditions("status.conditions", status.get("conditions", []))
        return wrong + not_negative("status", status, *_COUNTS)
