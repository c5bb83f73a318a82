"""What workloads have in common, and ReplicationController, ReplicaSet, Deployment, DaemonSet."""

from typing import Any, ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import (
    check_int_or_percent,
    is_zero,
    not_negative,
    unchanged,
)
from wherry.apiserver.strategy.pod.defaults import default_template
from wherry.apiserver.strategy.pod.spec import validate_endless_template, validate_template
from wherry.apiserver.strategy.selector import compile_selector, validate_label_selector

_MISMATCH = "`selector` does not match template `labels`"
_REPLICATED = Defaults(made={"spec": Defaults(absent={"replicas": 1})})
_QUARTERS = Defaults(absent={"maxUnavailable": "25%", "maxSurge": "25%"})


class Workload(Strategy):
    """A selector and a template. Its status begins with the fields that Go always writes."""

    generation = True
    step_first = False
    first_status: ClassVar[Object] = {}
    defaults: ClassVar[Defaults] = NOTHING
    word: ClassVar[str] = ""
    """What upstream calls the kind in its complaint about an empty selector."""

    def prepare_create(self, obj: Object) -> None:
        """Begin with a status: clients with typed models ask it for its fields at once."""
        obj["status"] = dict(self.first_status)

    def default(self, obj: Object) -> None:
        """Fill in the kind's own fields, and the template's pod."""
        self.defaults.apply(obj)
        template = obj["spec"].get("template")
        if template is not None:
            default_template(template)

    def validate(self, obj: Object) -> list[Cause]:
        """Check numbers, selector and template."""
        spec = obj["spec"]
        wrong = not_negative("spec", spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
        return wrong + validate_owned(spec, f"empty selector is invalid for {self.word}")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the selector: pods that it no longer selects would be left to nobody."""
        return unchanged("spec", new["spec"], old.get("spec", {}), "selector")


def validate_owned(spec: Object, empty: str) -> list[Cause]:
    """Check the selector of a workload and whether its template is selected by it."""
    selector = spec.get("selector")
    if selector is None:
        return [fields.required("spec.selector"), *check_template(spec, None)]
    wrong = validate_label_selector("spec.selector", selector)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        wrong.append(fields.invalid("spec.selector", selector, empty))
    return wrong + check_template(spec, None if wrong else selector)


def check_template(spec: Object, selector: Object | None) -> list[Cause]:
    """Check the template, and its labels against a selector that is known to be good."""
    template = spec.get("template")
    if template is None:
        return [fields.required("spec.template")]
    wrong: list[Cause] = []
    labels = template.get("metadata", {}).get("labels", {})
    if selector is not None and not compile_selector(selector).matches(labels):
        wrong.append(fields.invalid("spec.template.metadata.labels", labels, _MISMATCH))
    return wrong + validate_endless_template("spec.template", template, "ReplicaSet")


class ReplicaSetStrategy(Workload):
    """A number of equal pods."""

    first_status: ClassVar[Object] = {"replicas": 0}
    defaults = _REPLICATED
    word = "deployment"


class ReplicationControllerStrategy(Workload):
    """The ancestor of ReplicaSet: its selector is a plain map, and may change."""

    first_status: ClassVar[Object] = {"replicas": 0}
    defaults = _REPLICATED

    def default(self, obj: Object) -> None:
        """Default the selector, and the labels, to the template's labels."""
        super().default(obj)
        spec = obj["spec"]
        labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)

    def validate(self, obj: Object) -> list[Cause]:
        """Check numbers, selector and template."""
        spec = obj["spec"]
        wrong = not_negative("spec", spec, "replicas", "minReadySeconds")
        selector = spec.get("selector")
        if not selector:
            return [*wrong, fields.required("spec.selector"), *check_template(spec, None)]
        bad = names.check_labels("spec.selector", selector)
        return wrong + bad + check_template(spec, None if bad else {"matchLabels": selector})

    def validate_update(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Let everything change."""
        return []


def _rolling_deployment(spec: Object) -> None:
    if spec["strategy"]["type"] == "RollingUpdate":
        _QUARTERS.apply(spec["strategy"].setdefault("rollingUpdate", {}))


class DeploymentStrategy(Workload):
    """ReplicaSets, one for each template, and the way from one to the next."""

    status_metadata = ("annotations", "finalizers", "ownerReferences")

    defaults = Defaults(
        made={
            "spec": Defaults(
                absent={
                    "replicas": 1,
                    "revisionHistoryLimit": 10,
                    "progressDeadlineSeconds": 600,
                },
                made={"strategy": Defaults(empty={"type": "RollingUpdate"})},
                then=_rolling_deployment,
            )
        }
    )
    word = "deployment"

    def validate(self, obj: Object) -> list[Cause]:
        """Check the strategy as well."""
        spec = obj["spec"]
        wrong = super().validate(obj)
        wrong += _rollout("spec.strategy", spec["strategy"])
        wrong += not_negative("spec", spec, "progressDeadlineSeconds")
        deadline, ready = spec["progressDeadlineSeconds"], spec.get("minReadySeconds", 0)
        if deadline >= 0 and deadline <= ready:
            detail = "must be greater than minReadySeconds"
            wrong.append(fields.invalid("spec.progressDeadlineSeconds", deadline, detail))
        return wrong


def _rollout(path: str, strategy: Object) -> list[Cause]:
    kind = strategy["type"]
    if kind == "Recreate":
        if "rollingUpdate" in strategy:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [fields.forbidden(f"{path}.rollingUpdate", detail)]
        return []
    if kind != "RollingUpdate":
        return [fields.unsupported(f"{path}.type", kind, ("Recreate", "RollingUpdate"))]
    return _rolling(f"{path}.rollingUpdate", strategy["rollingUpdate"])


def _rolling(path: str, rolling: Object) -> list[Cause]:
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    wrong = check_int_or_percent(f"{path}.maxUnavailable", unavailable, most_percent=100)
    wrong += check_int_or_percent(f"{path}.maxSurge", surge)
    if not wrong and is_zero(unavailable) and is_zero(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        wrong.append(fields.invalid(f"{path}.maxUnavailable", unavailable, detail))
    return wrong


def _rolling_daemons(spec: Object) -> None:
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        rolling = spec["updateStrategy"].setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


class DaemonSetStrategy(Workload):
    """A pod on every node that is selected."""

    first_status: ClassVar[Object] = {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }
    defaults = Defaults(
        made={
            "spec": Defaults(
                absent={"revisionHistoryLimit": 10},
                made={"updateStrategy": Defaults(empty={"type": "RollingUpdate"})},
                then=_rolling_daemons,
            )
        }
    )
    word = "daemonset"

    def validate(self, obj: Object) -> list[Cause]:
        """Check the update strategy as well."""
        wrong = super().validate(obj)
        return wrong + _daemon_update("spec.updateStrategy", obj["spec"]["updateStrategy"])


def _daemon_update(path: str, strategy: Object) -> list[Cause]:
    kind, at = strategy["type"], f"{path}.rollingUpdate"
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [fields.unsupported(f"{path}.type", kind, ("RollingUpdate", "OnDelete"))]
    rolling: dict[str, Any] = strategy["rollingUpdate"]
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    wrong = check_int_or_percent(f"{at}.maxUnavailable", unavailable, most_percent=100)
    wrong += check_int_or_percent(f"{at}.maxSurge", surge, most_percent=100)
    if wrong:
        return wrong
    if is_zero(unavailable) and is_zero(surge):
        detail = "cannot be 0 when maxSurge is 0"
        wrong.append(fields.required(f"{at}.maxUnavailable", detail))
    elif not is_zero(unavailable) and not is_zero(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        wrong.append(fields.invalid(f"{at}.maxSurge", surge, detail))
    return wrong


class PodTemplateStrategy(Strategy):
    """A template by itself, for whoever makes pods of it."""

    generation = True

    def is_change(self, new: Object, old: Object) -> bool:
        """Look at the template: there is no spec."""
        return new.get("template") != old.get("template")

    def default(self, obj: Object) -> None:
        """Fill in the pod."""
        default_template(obj.setdefault("template", {}))

    def validate(self, obj: Object) -> list[Cause]:
        """Check the pod."""
        return validate_template("template", obj["template"])
