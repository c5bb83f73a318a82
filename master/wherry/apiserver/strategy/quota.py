"""ResourceQuota and LimitRange: core `ValidateResourceQuota`, `ValidateLimitRange`."""

from fractions import Fraction
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import quantities
from wherry.apiserver.strategy.pod.resources import (
    STANDARD,
    check_container_resource,
    check_resource_name,
    check_whole,
    may_overcommit,
)

Parsed = dict[str, dict[str, Fraction]]
_QUOTA: Final = STANDARD - {"storage"}
_SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_ONLY_EXIST = frozenset(_SCOPES) - {"PriorityClass", "VolumeAttributesClass"}
_OF_PODS = frozenset(
    {
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
    }
)
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_KINDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


class ResourceQuotaStrategy(Strategy):
    """How much a namespace may have."""

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing counted."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Have a spec."""
        obj.setdefault("spec", {})

    def validate(self, obj: Object) -> list[Cause]:
        """Check resources and scopes."""
        spec = obj["spec"]
        wrong = _hard("spec.hard", spec.get("hard", {}))
        wrong += _scopes("spec.scopes", spec.get("scopes", []), spec.get("hard", {}))
        if "scopeSelector" in spec:
            wrong += _selector("spec.scopeSelector.matchExpressions", spec)
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the scopes."""
        was, is_ = old.get("spec", {}), new["spec"]
        if set(was.get("scopes", ())) == set(is_.get("scopes", ())):
            return []
        return [fields.invalid("spec.scopes", is_.get("scopes"), fields.IMMUTABLE)]

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check what was counted."""
        status = new.get("status", {})
        return _hard("status.hard", status.get("hard", {})) + _hard(
            "status.used", status.get("used", {})
        )


def _hard(path: str, hard: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for name in hard:
        at = f"{path}[{name}]"
        bad = check_resource_name(at, name)
        if "/" not in name and name not in _QUOTA and ".hugepages-" not in name:
            bad.append(fields.invalid(at, name, "must be a standard resource for quota"))
        wrong += bad
    for name, amount in quantities(path, hard, wrong).items():
        wrong += check_whole(f"{path}[{name}]", name, hard[name], amount)
    return wrong


def _fits(scope: str, name: str) -> bool:
    """Tell whether a standard resource can be counted for one sort of object only."""
    if name not in STANDARD:
        return True  # What is not standard is nobody's affair.
    if scope == "BestEffort":
        return name == "pods"
    if scope == "VolumeAttributesClass":
        return name in ("persistentvolumeclaims", "requests.storage")
    return scope not in _SCOPES or name in _OF_PODS


def _misfits(path: str, scope: str, hard: Object, shown: Any) -> list[Cause]:
    detail = "unsupported scope applied to resource"
    return [fields.invalid(path, shown, detail) for name in sorted(hard) if not _fits(scope, name)]


def _opposed(path: str, given: set[str], shown: Any) -> list[Cause]:
    return [
        fields.invalid(path, shown, "conflicting scopes") for pair in _OPPOSITES if pair <= given
    ]


def _scopes(path: str, scopes: list[str], hard: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for scope in scopes:
        if scope not in _SCOPES:
            wrong.append(fields.invalid(path, scopes, "unsupported scope"))
        wrong += _misfits(path, scope, hard, scopes)
    return wrong + _opposed(path, set(scopes), scopes)


def _selector(path: str, spec: Object) -> list[Cause]:
    """Check which objects are counted. Upstream's paths do not say which expression is wrong."""
    selector = spec["scopeSelector"]
    found = selector.get("matchExpressions", [])
    wrong: list[Cause] = []
    for each in found:
        wrong += _scope_expression(path, each, spec.get("hard", {}), selector)
    return wrong + _opposed(path, {each.get("scopeName", "") for each in found}, spec.get("scopes"))


def _scope_expression(path: str, each: Object, hard: Object, selector: Object) -> list[Cause]:
    scope, operator = each.get("scopeName", ""), each.get("operator", "")
    values = each.get("values", [])
    wrong: list[Cause] = []
    if scope not in _SCOPES:
        wrong.append(fields.invalid(f"{path}.scopeName", scope, "unsupported scope"))
    wrong += _misfits(path, scope, hard, selector)
    if scope in _ONLY_EXIST and operator != "Exists":
        detail = (
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
            "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
            "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
        )
        wrong.append(fields.invalid(f"{path}.operator", operator, detail))
    if operator in ("In", "NotIn"):
        if not values:
            detail = (
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
            wrong.append(fields.required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = (
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            )
            wrong.append(fields.invalid(f"{path}.values", values, detail))
    else:
        wrong.append(fields.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    return wrong


class LimitRangeStrategy(Strategy):
    """What one container, pod or claim may ask for, and gets unasked."""

    create_on_update = True

    def default(self, obj: Object) -> None:
        """Let the upper bound be the default, and the default what is requested."""
        spec = obj.setdefault("spec", {})
        for item in spec.get("limits", ()):
            if item.get("type") != "Container":
                continue
            limits = item.setdefault("default", {})
            requests = item.setdefault("defaultRequest", {})
            for name, most in item.get("max", {}).items():
                limits.setdefault(name, most)
            for name, amount in limits.items():
                requests.setdefault(name, amount)
            for name, least in item.get("min", {}).items():
                requests.setdefault(name, least)

    def validate(self, obj: Object) -> list[Cause]:
        """Check each type's bounds against each other."""
        limits = obj["spec"].get("limits", [])
        wrong: list[Cause] = []
        seen: set[str] = set()
        for index, item in enumerate(limits):
            kind = item.get("type", "")
            if kind in seen:
                wrong.append(fields.duplicate(f"spec.limits[{index}].type", kind))
            seen.add(kind)
            wrong += _limit(f"spec.limits[{index}]", item)
        return wrong


def _limit(path: str, item: Object) -> list[Cause]:
    kind = item.get("type", "")
    wrong = names.check(f"{path}.type", kind, names.qualified_name)
    if not wrong and "/" not in kind and kind not in _LIMIT_TYPES:
        detail = "must be a standard limit type or fully qualified"
        wrong.append(fields.invalid(f"{path}.type", kind, detail))
    check = check_container_resource if kind in ("Pod", "Container") else check_resource_name
    for field in _KINDS:
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if item.get(field):
                detail = "may not be specified when `type` is 'Pod'"
                wrong.append(fields.forbidden(f"{path}.{field}", detail))
            continue
        for name in item.get(field, {}):
            wrong += check(f"{path}.{field}[{name}]", name)
    bounded = {*item.get("min", {}), *item.get("max", {})}
    if kind == "PersistentVolumeClaim" and "storage" not in bounded:
        detail = "either minimum or maximum storage value is required, but neither was provided"
        wrong.append(fields.required(f"{path}.limits", detail))
    return wrong + _bounds(path, item)


def _bounds(path: str, item: Object) -> list[Cause]:
    wrong: list[Cause] = []
    parsed: Parsed = {
        kind: quantities(f"{path}.{kind}", item.get(kind, {}), wrong) for kind in _KINDS
    }
    for name in sorted({name for amounts in parsed.values() for name in amounts}):
        for low, high, where, detail in _PAIRS:
            if name not in parsed[low] or name not in parsed[high]:
                continue
            if parsed[low][name] > parsed[high][name]:
                text = detail.format(low=item[low][name], high=item[high][name])
                bound = low if low == "min" else high
                shown = item[bound if where == "default" else where][name]  # as upstream shows it
                wrong.append(fields.invalid(f"{path}.{where}[{name}]", shown, text))
        wrong += _ratio(f"{path}.maxLimitRequestRatio[{name}]", name, item, parsed)
        given, asked = parsed["default"].get(name), parsed["defaultRequest"].get(name)
        if not may_overcommit(name) and None not in (given, asked) and given != asked:
            shown = item["defaultRequest"][name]
            text = (
                f"default value {item['default'][name]} must equal to defaultRequest value "
                f"{shown} in {name}"
            )
            wrong.append(fields.invalid(f"{path}.defaultRequest[{name}]", shown, text))
    return wrong


def _ratio(path: str, name: str, item: Object, parsed: Parsed) -> list[Cause]:
    ratio = parsed["maxLimitRequestRatio"].get(name)
    if ratio is None:
        return []
    shown = item["maxLimitRequestRatio"][name]
    wrong: list[Cause] = []
    if ratio < 1:
        wrong.append(fields.invalid(path, shown, f"ratio {shown} is less than 1"))
    least, most = parsed["min"].get(name), parsed["max"].get(name)
    if least and most is not None and ratio > most / least:
        text = f"ratio {shown} is greater than max/min = {float(most / least):f}"
        wrong.append(fields.invalid(path, shown, text))
    return wrong


_PAIRS = (
    ("min", "max", "min", "min value {low} is greater than max value {high}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "min value {low} is greater than default request value {high}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "default request value {low} is greater than max value {high}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value {low} is greater than default limit value {high}",
    ),
    ("min", "default", "default", "min value {low} is greater than default value {high}"),
    ("default", "max", "default", "default value {low} is greater than max value {high}"),
)
