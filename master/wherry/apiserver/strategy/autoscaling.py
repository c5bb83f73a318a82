"""HorizontalPodAutoscaler: autoscaling `ValidateHorizontalPodAutoscaler`. v1 is stored as v2."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import POSITIVE, amount_of, not_negative, option

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_LOOKED_AT = ("object", "external", "pods", "resource", "containerResource")
"""The order in which upstream looks for sources, of which it reads the first."""
_TARGETS = ("AverageValue", "Utilization", "Value")
_SELECT = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_MOST_STABILIZATION_S = 3600
_MOST_PERIOD_S = 1800
_SCALE_UP: list[Object] = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
_SCALE_DOWN: list[Object] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def _cpu_by_default(spec: Object) -> None:
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is None:
        return
    for field, policies, window in (("scaleUp", _SCALE_UP, 0), ("scaleDown", _SCALE_DOWN, None)):
        rules = behavior.setdefault(field, {})
        rules.setdefault("selectPolicy", "Max")
        if window is not None:
            rules.setdefault("stabilizationWindowSeconds", window)
        if "policies" not in rules:
            rules["policies"] = [dict(policy) for policy in policies]


_DEFAULTS = Defaults(made={"spec": Defaults(absent={"minReplicas": 1}, then=_cpu_by_default)})


class HorizontalPodAutoscalerStrategy(Strategy):
    """How many pods, by what metrics, and how fast to follow them. Nobody counts generations."""

    step_first = False

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing counted."""
        obj["status"] = {"desiredReplicas": 0}

    def default(self, obj: Object) -> None:
        """Fill in one replica, 80 % of CPU and how fast to scale."""
        _DEFAULTS.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check the range, every metric and the behaviour."""
        spec = obj["spec"]
        wrong = _range(spec)
        wrong += _reference("spec.scaleTargetRef", spec.get("scaleTargetRef", {}))
        for index, metric in enumerate(spec.get("metrics", ())):
            wrong += _metric(f"spec.metrics[{index}]", metric)
        behavior = spec.get("behavior", {})
        for field in ("scaleUp", "scaleDown"):
            if field in behavior:
                wrong += _rules(f"spec.behavior.{field}", behavior[field])
        return wrong

    def validate_create(self, obj: Object) -> list[Cause]:
        """Scale a kind whose group is known."""
        return _check_target(obj["spec"])

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let a target stay what it was when nobody asked for its group."""
        kinds = [
            [spec.get("scaleTargetRef", {}).get(field, "") for field in ("apiVersion", "kind")]
            for spec in (new["spec"], old.get("spec", {}))
        ]
        return _check_target(new["spec"]) if kinds[0] != kinds[1] else []

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check the counts."""
        return not_negative("status", new.get("status", {}), "currentReplicas", "desiredReplicas")


def _range(spec: Object) -> list[Cause]:
    least, most = spec["minReplicas"], spec.get("maxReplicas", 0)
    wrong: list[Cause] = []
    if least < 1:
        detail = "must be greater than or equal to 1"
        wrong.append(fields.invalid("spec.minReplicas", least, detail))
    if most < 1:
        wrong.append(fields.invalid("spec.maxReplicas", most, POSITIVE))
    if most < least:
        detail = "must be greater than or equal to `minReplicas`"
        wrong.append(fields.invalid("spec.maxReplicas", most, detail))
    return wrong


def _check_target(spec: Object) -> list[Cause]:
    """Check that the target's version names a group; of the core group one kind can be scaled."""
    ref = spec.get("scaleTargetRef", {})
    text = ref.get("apiVersion", "")
    if text.count("/") > 1 or text.partition("/")[0 if "/" in text else 1]:
        return []  # said with the rest, or there is one
    if ref.get("kind") == "ReplicationController":
        return []
    detail = "apiVersion must specify API group"
    return [fields.invalid("spec.scaleTargetRef.apiVersion", text, detail)]


def _reference(path: str, ref: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field in ("kind", "name"):
        value = ref.get(field, "")
        if not value:
            wrong.append(fields.required(f"{path}.{field}"))
        else:
            wrong += names.check(f"{path}.{field}", value, names.path_segment)
    text = ref.get("apiVersion", "")
    if text.count("/") > 1:
        detail = f"unexpected GroupVersion string: {text}"
        wrong.append(fields.invalid(f"{path}.apiVersion", text, detail))
    return wrong


def _metric(path: str, metric: Object) -> list[Cause]:
    kind = metric.get("type", "")
    wrong: list[Cause] = []
    if not kind:
        wrong.append(fields.required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        wrong.append(fields.unsupported(f"{path}.type", kind, _SOURCES))
    present = [source for source in _LOOKED_AT if source in metric]
    for source in present[:1]:
        wrong += _source(f"{path}.{source}", source, metric[source])
    expected = _SOURCES.get(kind)
    if expected is not None and expected not in present:
        detail = "must populate information for the given metric source"
        wrong.append(fields.required(f"{path}.{expected}", detail))
    if len(present) != 1:
        detail = "must populate the given metric source only"
        wrong += [fields.forbidden(f"{path}.{s}", detail) for s in present if s != expected]
    return wrong


def _source(path: str, kind: str, source: Object) -> list[Cause]:
    target, at = source.get("target", {}), f"{path}.target"
    if kind in ("resource", "containerResource"):
        return _resource(path, kind, source)
    wrong: list[Cause] = []
    if kind == "object":
        wrong += _reference(f"{path}.describedObject", source.get("describedObject", {}))
    wrong += _identifier(f"{path}.metric", source.get("metric", {}))
    wrong += _target(at, target)
    if kind == "pods":
        if "averageValue" not in target:
            detail = "must specify a positive target averageValue"
            wrong.append(fields.required(f"{at}.averageValue", detail))
    elif "value" not in target and "averageValue" not in target:
        detail = "must set either a target value or averageValue"
        if kind == "external":
            detail = "must set either a target value for metric or a per-pod target"
        wrong.append(fields.required(f"{at}.averageValue", detail))
    elif kind == "external" and "value" in target and "averageValue" in target:
        detail = "may not set both a target value for metric and a per-pod target"
        wrong.append(fields.forbidden(f"{at}.value", detail))
    return wrong


def _resource(path: str, kind: str, source: Object) -> list[Cause]:
    target, at = source.get("target", {}), f"{path}.target"
    wrong: list[Cause] = []
    if not source.get("name"):
        wrong.append(fields.required(f"{path}.name", "must specify a resource name"))
    if kind == "containerResource":
        if not source.get("container"):
            wrong.append(fields.required(f"{path}.container", "must specify a container"))
        else:
            wrong += names.check(f"{path}.container", source["container"], names.dns1123_label)
    wrong += _target(at, target)
    if "averageUtilization" in target and "averageValue" in target:
        detail = "may not set both a target raw value and a target utilization"
        wrong.append(fields.forbidden(f"{at}.averageValue", detail))
    elif "averageUtilization" not in target and "averageValue" not in target:
        detail = "must set either a target raw value or a target utilization"
        wrong.append(fields.required(f"{at}.averageUtilization", detail))
    return wrong


def _identifier(path: str, metric: Object) -> list[Cause]:
    name = metric.get("name", "")
    if not name:
        return [fields.required(f"{path}.name", "must specify a metric name")]
    return names.check(f"{path}.name", name, names.path_segment)


def _target(path: str, target: Object) -> list[Cause]:
    wrong: list[Cause] = []
    kind = target.get("type", "")
    if not kind:
        wrong.append(fields.required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        detail = "must be either Utilization, Value, or AverageValue"
        wrong.append(fields.invalid(f"{path}.type", kind, detail))
    wrong += [
        fields.invalid(f"{path}.{field}", target[field], "must be positive")
        for field in ("value", "averageValue")
        if field in target and amount_of(target[field]) <= 0
    ]
    percent = target.get("averageUtilization", 1)
    if percent < 1:
        wrong.append(fields.invalid(f"{path}.averageUtilization", percent, POSITIVE))
    return wrong


def _rules(path: str, rules: Object) -> list[Cause]:
    window, at = rules.get("stabilizationWindowSeconds", 0), f"{path}.stabilizationWindowSeconds"
    wrong: list[Cause] = []
    if window < 0:
        wrong.append(fields.invalid(at, window, "must be greater than or equal to zero"))
    if window > _MOST_STABILIZATION_S:
        detail = f"must be less than or equal to {_MOST_STABILIZATION_S}"
        wrong.append(fields.invalid(at, window, detail))
    wrong += option(path, rules, "selectPolicy", _SELECT)
    if not rules.get("policies") and "tolerance" not in rules:
        wrong.append(fields.required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(rules.get("policies", ())):
        wrong += _policy(f"{path}.policies[{index}]", policy)
    if "tolerance" in rules and amount_of(rules["tolerance"]) < 0:
        detail = "must be greater than or equal to zero"
        wrong.append(fields.invalid(f"{path}.tolerance", rules["tolerance"], detail))
    return wrong


def _policy(path: str, policy: Object) -> list[Cause]:
    kind, period = policy.get("type", ""), policy.get("periodSeconds", 0)
    wrong = [] if kind in _POLICIES else [fields.unsupported(f"{path}.type", kind, _POLICIES)]
    wrong += [
        fields.invalid(f"{path}.{field}", policy.get(field, 0), "must be greater than zero")
        for field in ("value", "periodSeconds")
        if policy.get(field, 0) <= 0
    ]
    if period > _MOST_PERIOD_S:
        detail = f"must be less than or equal to {_MOST_PERIOD_S}"
        wrong.append(fields.invalid(f"{path}.periodSeconds", period, detail))
    return wrong
