"""FlowSchema and PriorityLevelConfiguration: flowcontrol's validation."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import POSITIVE, choice, not_negative, option

_MOST_PRECEDENCE = 10000
_SCHEMA = Defaults(made={"spec": Defaults(absent={"matchingPrecedence": 1000})})
_QUEUING = Defaults(empty={"queues": 64, "handSize": 8, "queueLengthLimit": 50})
_LIMITED = Defaults(
    absent={"nominalConcurrencyShares": 30, "lendablePercent": 0},
    within={"limitResponse": Defaults(within={"queuing": _QUEUING})},
)
_EXEMPT = Defaults(absent={"nominalConcurrencyShares": 0, "lendablePercent": 0})
_LEVEL = Defaults(made={"spec": Defaults(within={"limited": _LIMITED, "exempt": _EXEMPT})})


class FlowSchemaStrategy(Strategy):
    """Which requests belong together, and to which level."""

    generation = True
    status_metadata = ()

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing known."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Be asked in the middle."""
        _SCHEMA.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check precedence, level and subjects."""
        spec = obj["spec"]
        wrong: list[Cause] = []
        precedence = spec["matchingPrecedence"]
        if precedence <= 0:
            detail = "must be a positive value"
            wrong.append(fields.invalid("spec.matchingPrecedence", precedence, detail))
        elif precedence > _MOST_PRECEDENCE:
            detail = f"must not be greater than {_MOST_PRECEDENCE}"
            wrong.append(fields.invalid("spec.matchingPrecedence", precedence, detail))
        if "distinguisherMethod" in spec:
            at, method = "spec.distinguisherMethod", spec["distinguisherMethod"]
            wrong += choice(at, method, "type", ("ByNamespace", "ByUser"))
        level, at = spec.get("priorityLevelConfiguration", {}), "spec.priorityLevelConfiguration"
        if not level.get("name"):
            wrong.append(fields.required(f"{at}.name", "must reference a priority level"))
        else:
            wrong += names.check(f"{at}.name", level["name"], names.dns1123_subdomain)
        for index, rule in enumerate(spec.get("rules", ())):
            where = f"spec.rules[{index}]"
            if not rule.get("subjects"):
                detail = "subjects must contain at least one value"
                wrong.append(fields.required(f"{where}.subjects", detail))
            if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
                detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
                wrong.append(fields.required(where, detail))
        return wrong


class PriorityLevelConfigurationStrategy(Strategy):
    """How many requests of a level at a time, and how many wait."""

    generation = True
    status_metadata = ()

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing known."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Fill in shares and queues."""
        _LEVEL.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check that the kind and its part agree, and the numbers."""
        spec = obj["spec"]
        kind = spec.get("type", "")
        wrong = option("spec", {"type": kind}, "type", ("Exempt", "Limited"))
        limited = spec.get("limited")
        if kind == "Exempt" and limited is not None:
            detail = "must be nil if the type is not Limited"
            wrong.append(fields.forbidden("spec.limited", detail))
        if kind == "Limited":
            if limited is None:
                wrong.append(
                    fields.required("spec.limited", "must not be empty when type is Limited")
                )
            else:
                wrong += _limited("spec.limited", limited)
        return wrong


def _limited(path: str, limited: Object) -> list[Cause]:
    wrong = not_negative(path, limited, "nominalConcurrencyShares")
    response, at = limited.get("limitResponse", {}), f"{path}.limitResponse"
    wrong += choice(at, response, "type", ("Queue", "Reject"))
    queuing = response.get("queuing")
    if response.get("type") == "Queue":
        if queuing is None:
            detail = "must not be empty if limitResponse.type is Limited"
            wrong.append(fields.required(f"{at}.queuing", detail))
        else:
            for field in ("queues", "queueLengthLimit", "handSize"):
                if queuing[field] <= 0:
                    wrong.append(fields.invalid(f"{at}.queuing.{field}", queuing[field], POSITIVE))
    elif queuing is not None:
        detail = "must be nil if limited.limitResponse.type is not Limited"
        wrong.append(fields.forbidden(f"{at}.queuing", detail))
    return wrong
