"""FlowSchema and PriorityLevelConfiguration: flowcontrol's validation."""

import math

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.flow_rule import validate_flow_rule
from wherry.apiserver.strategy.formats import in_range

_EXEMPT_NAME = "exempt"
_METHODS = ("ByNamespace", "ByUser")
_RESPONSES = ("Queue", "Reject")
_POSITIVE = "must be positive"
_MOST_PRECEDENCE = 10000
_MOST_QUEUES = 10_000_000
_MOST_HASH_BITS = 60
"""Bits of the hash that a flow's hand of queues is dealt by."""
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
        """Check precedence, level and rules."""
        spec, name = obj["spec"], obj["metadata"].get("name", "")
        precedence, at = spec["matchingPrecedence"], "spec.matchingPrecedence"
        wrong: list[Cause] = []
        if precedence <= 0:
            wrong.append(fields.invalid(at, precedence, "must be a positive value"))
        if precedence > _MOST_PRECEDENCE:
            detail = f"must not be greater than {_MOST_PRECEDENCE}"
            wrong.append(fields.invalid(at, precedence, detail))
        if precedence == 1 and name != _EXEMPT_NAME:
            detail = "only the schema named 'exempt' may have matchingPrecedence 1"
            wrong.append(fields.invalid(at, precedence, detail))
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type") not in _METHODS:
            at = "spec.distinguisherMethod.type"
            wrong.append(fields.unsupported(at, method, _METHODS))
        level, at = spec.get("priorityLevelConfiguration", {}), "spec.priorityLevelConfiguration"
        if not level.get("name"):
            wrong.append(fields.required(f"{at}.name", "must reference a priority level"))
        else:
            wrong += names.check(f"{at}.name", level["name"], names.dns1123_subdomain)
        for index, rule in enumerate(spec.get("rules", ())):
            wrong += validate_flow_rule(f"spec.rules[{index}]", rule)
        return wrong

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check that conditions have types, each its own."""
        return _conditions(new)


def _conditions(obj: Object) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, condition in enumerate(obj.get("status", {}).get("conditions", ())):
        at, kind = f"status.conditions[{index}].type", condition.get("type", "")
        if kind in seen:
            wrong.append(fields.duplicate(at, kind))
        seen.add(kind)
        if not kind:
            wrong.append(fields.required(at, "must not be empty"))
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
        spec, name = obj["spec"], obj["metadata"].get("name", "")
        kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
        wrong: list[Cause] = []
        if (name == _EXEMPT_NAME) != (kind == "Exempt"):
            detail = "type must be 'Exempt' if and only if name is 'exempt'"
            wrong.append(fields.invalid("spec.type", kind, detail))
        if kind == "Exempt":
            if limited is not None:
                detail = "must be nil if the type is not Limited"
                wrong.append(fields.forbidden("spec.limited", detail))
            return wrong + _shares("spec.exempt", exempt or {})
        if kind != "Limited":
            return [*wrong, fields.unsupported("spec.type", kind, ("Exempt", "Limited"))]
        if exempt is not None:
            wrong.append(fields.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            detail = "must not be empty when type is Limited"
            return [*wrong, fields.required("spec.limited", detail)]
        return wrong + _limited("spec.limited", limited)

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check that conditions have types, each its own."""
        return _conditions(new)


def _shares(path: str, part: Object) -> list[Cause]:
    """Check how much of the whole a level has, and how much of that it lends."""
    shares, lent = part.get("nominalConcurrencyShares", 0), part.get("lendablePercent", 0)
    wrong: list[Cause] = []
    if shares < 0:
        detail = "must be a non-negative integer"
        wrong.append(fields.invalid(f"{path}.nominalConcurrencyShares", shares, detail))
    return wrong + in_range(f"{path}.lendablePercent", lent, 0, 100)


def _limited(path: str, limited: Object) -> list[Cause]:
    wrong = _shares(path, limited)
    borrowed = limited.get("borrowingLimitPercent", 0)
    if borrowed < 0:
        detail = "if specified, must be a non-negative integer"
        wrong.append(fields.invalid(f"{path}.borrowingLimitPercent", borrowed, detail))
    response, at = limited.get("limitResponse", {}), f"{path}.limitResponse"
    kind, queuing = response.get("type", ""), response.get("queuing")
    if kind not in _RESPONSES:
        return [*wrong, fields.unsupported(f"{at}.type", kind, _RESPONSES)]
    if kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            return [*wrong, fields.required(f"{at}.queuing", detail)]
        return wrong + _queues(f"{at}.queuing", queuing)
    if queuing is not None:
        detail = "must be nil if limited.limitResponse.type is not Limited"
        wrong.append(fields.forbidden(f"{at}.queuing", detail))
    return wrong


def _queues(path: str, queuing: Object) -> list[Cause]:
    wrong: list[Cause] = []
    queues, hand, limit = (queuing[f] for f in ("queues", "handSize", "queueLengthLimit"))
    if limit <= 0:
        wrong.append(fields.invalid(f"{path}.queueLengthLimit", limit, _POSITIVE))
    if queues <= 0:
        wrong.append(fields.invalid(f"{path}.queues", queues, _POSITIVE))
    elif queues > _MOST_QUEUES:
        detail = f"must not be greater than {_MOST_QUEUES}"
        wrong.append(fields.invalid(f"{path}.queues", queues, detail))
    at, detail = f"{path}.handSize", ""
    if hand <= 0:
        detail = _POSITIVE
    elif hand > queues:
        detail = f"should not be greater than queues ({queues})"
    elif math.ceil(math.log2(queues) * hand) > _MOST_HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater "
            f"than {_MOST_HASH_BITS}"
        )
    return [*wrong, fields.invalid(at, hand, detail)] if detail else wrong
