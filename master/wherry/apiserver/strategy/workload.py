"""Deployment, ReplicaSet and ReplicationController."""

import re
from typing import Any, ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.pod.defaults import default_template
from wherry.apiserver.strategy.pod.spec import validate_endless_template
from wherry.apiserver.strategy.selector import compile_selector, validate_label_selector

_NOT_NEGATIVE = "must be greater than or equal to 0"
_PERCENT = re.compile(r"[0-9]+%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
    "'93%', regex used for validation is '[0-9]+%')"
)
_EMPTY_SELECTOR = "empty selector is invalid for deployment"
_MISMATCH = "`selector` does not match template `labels`"


class _Replicated(Strategy):
    """What all three have in common: replicas, a selector, a template."""

    generation = True
    first_status: ClassVar[Object] = {"replicas": 0}

    def prepare_create(self, obj: Object) -> None:
        """Begin with a status: clients with typed models ask it for its fields at once."""
        obj["status"] = dict(self.first_status)

    def default(self, obj: Object) -> None:
        """Default one replica, and the template's pod."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        if "template" in spec:
            default_template(spec["template"])

    def validate(self, obj: Object) -> list[Cause]:
        """Check numbers, selector and template."""
        spec = obj["spec"]
        wrong = _not_negative(spec, "replicas", "minReadySeconds")
        return wrong + self._selector(spec)

    def _selector(self, spec: Object) -> list[Cause]:
        wrong: list[Cause] = []
        selector = spec.get("selector")
        if selector is None:
            wrong.append(fields.required("spec.selector"))
        else:
            wrong += validate_label_selector("spec.selector", selector)
            if not selector.get("matchLabels") and not selector.get("matchExpressions"):
                wrong.append(fields.invalid("spec.selector", selector, _EMPTY_SELECTOR))
        return wrong + _template(spec, None if wrong else selector)


def _template(spec: Object, selector: Object | None) -> list[Cause]:
    template = spec.get("template")
    if template is None:
        return [fields.required("spec.template")]
    wrong: list[Cause] = []
    labels = template.get("metadata", {}).get("labels", {})
    if selector is not None and not compile_selector(selector).matches(labels):
        wrong.append(fields.invalid("spec.template.metadata.labels", labels, _MISMATCH))
    return wrong + validate_endless_template("spec.template", template, "ReplicaSet")


def _not_negative(spec: Object, *names_: str) -> list[Cause]:
    return [
        fields.invalid(f"spec.{name}", spec[name], _NOT_NEGATIVE)
        for name in names_
        if spec.get(name, 0) < 0
    ]


def _immutable_selector(new: Object, old: Object) -> list[Cause]:
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [fields.invalid("spec.selector", new["spec"].get("selector"), "field is immutable")]


class ReplicaSetStrategy(_Replicated):
    """A number of equal pods."""

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the selector: pods that it no longer selects would be left to nobody."""
        return _immutable_selector(new, old)


class DeploymentStrategy(_Replicated):
    """ReplicaSets, one for each template, and the way from one to the next."""

    first_status: ClassVar[Object] = {}

    def default(self, obj: Object) -> None:
        """Default a rolling update by quarters, ten old revisions, ten minutes of patience."""
        super().default(obj)
        spec = obj["spec"]
        strategy = spec.setdefault("strategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def validate(self, obj: Object) -> list[Cause]:
        """Check the strategy as well."""
        spec = obj["spec"]
        wrong = super().validate(obj)
        wrong += _not_negative(spec, "revisionHistoryLimit", "progressDeadlineSeconds")
        deadline, ready = spec["progressDeadlineSeconds"], spec.get("minReadySeconds", 0)
        if deadline >= 0 and deadline <= ready:
            detail = "must be greater than minReadySeconds"
            wrong.append(fields.invalid("spec.progressDeadlineSeconds", deadline, detail))
        return wrong + _strategy("spec.strategy", spec["strategy"])

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the selector."""
        return _immutable_selector(new, old)


def _strategy(path: str, strategy: Object) -> list[Cause]:
    kind = strategy["type"]
    if kind == "Recreate":
        if "rollingUpdate" in strategy:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [fields.forbidden(f"{path}.rollingUpdate", detail)]
        return []
    if kind != "RollingUpdate":
        return [fields.unsupported(f"{path}.type", kind, ("Recreate", "RollingUpdate"))]
    rolling, at = strategy["rollingUpdate"], f"{path}.rollingUpdate"
    wrong = _count(f"{at}.maxUnavailable", rolling["maxUnavailable"], most_percent=100)
    wrong += _count(f"{at}.maxSurge", rolling["maxSurge"])
    if not wrong and _is_zero(rolling["maxUnavailable"]) and _is_zero(rolling["maxSurge"]):
        detail = "may not be 0 when `maxSurge` is 0"
        wrong.append(fields.invalid(f"{at}.maxUnavailable", rolling["maxUnavailable"], detail))
    return wrong


def _count(path: str, value: Any, most_percent: int | None = None) -> list[Cause]:
    if isinstance(value, int):
        return [] if value >= 0 else [fields.invalid(path, value, _NOT_NEGATIVE)]
    if not _PERCENT.fullmatch(value):
        return [fields.invalid(path, value, _PERCENT_TEXT)]
    if most_percent is not None and int(value[:-1]) > most_percent:
        return [fields.invalid(path, value, f"must not be greater than {most_percent}%")]
    return []


def _is_zero(value: Any) -> bool:
    return value in (0, "0%")


class ReplicationControllerStrategy(_Replicated):
    """The ancestor of ReplicaSet: its selector is a plain map, and may change."""

    def default(self, obj: Object) -> None:
        """Default the selector to the template's labels."""
        super().default(obj)
        spec = obj["spec"]
        labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)

    def _selector(self, spec: Object) -> list[Cause]:
        selector = spec.get("selector")
        wrong: list[Cause] = []
        if not selector:
            wrong.append(fields.required("spec.selector"))
        else:
            wrong += names.check_labels("spec.selector", selector)
        return wrong + _template(
            spec, {"matchLabels": selector} if selector and not wrong else None
        )
