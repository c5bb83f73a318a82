"""What workloads have in common, and ReplicationController, ReplicaSet, Deployment, DaemonSet."""

from collections.abc import Sequence
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
from wherry.apiserver.strategy.pod.warnings import warn_of_template
from wherry.apiserver.strategy.selector import compile_selector, validate_label_selector

_MORE = "cannot be greater than {}"
_MISMATCH = "`selector` does not match template `labels`"
_WAITS = ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
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
    counts: ClassVar[tuple[str, ...]] = ()
    """Numbers of the status."""
    shares: ClassVar[tuple[str, ...]] = ()
    """Numbers of the status that count some of its `replicas`."""
    ready_path: ClassVar[str] = "readyReplicas"
    """What upstream calls the number that `availableReplicas` is a share of."""

    def prepare_create(self, obj: Object) -> None:
        """Begin with a status: clients with typed models ask it for its fields at once."""
        obj["status"] = dict(self.first_status)

    def default(self, obj: Object) -> None:
        """Fill in the kind's own fields, and the template's pod."""
        self.defaults.apply(obj)
        default_template(obj["spec"].setdefault("template", {}))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the selector: pods that it no longer selects would be left to nobody."""
        return unchanged("spec", new["spec"], old.get("spec", {}), "selector")

    def warnings(self, obj: Object) -> Sequence[str]:
        """Warn of a name that makes no host names, and of what is old in the template."""
        template = obj.get("spec", {}).get("template", {})
        return [*names.warn_of_host_name(obj), *warn_of_template("spec.template", template)]

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        """Check the counts, each alone and against those that it is a share of."""
        status, was = new.get("status", {}), old.get("status", {})
        wrong = not_negative("status", status, *self.counts, "observedGeneration", "collisionCount")
        wrong += [
            fields.invalid(f"status.{share}", status.get(share, 0), _MORE.format("status.replicas"))
            for share in self.shares
            if status.get(share, 0) > status.get("replicas", 0)
        ]
        available = status.get("availableReplicas", 0)
        if "availableReplicas" in self.shares and available > status.get("readyReplicas", 0):
            detail = _MORE.format(self.ready_path)
            wrong.append(fields.invalid("status.availableReplicas", available, detail))
        if status.get("collisionCount", -1) < was.get("collisionCount", -1):
            count = status.get("collisionCount", 0)
            wrong.append(fields.invalid("status.collisionCount", count, "cannot be decremented"))
        return wrong


def validate_owned(spec: Object, word: str, unread: str) -> tuple[list[Cause], bool]:
    """Check the selector of a workload, and whether it selects its template's pods.

    Args:
        spec: The workload's.
        word: What upstream calls the kind.
        unread: What upstream adds about a selector that cannot be read, and then looks no further.

    Returns:
        What is wrong, and whether the template is to be looked at.
    """
    selector = spec.get("selector")
    if selector is None:  # which selects nothing
        return [fields.required("spec.selector"), *check_labels_selected(spec, None)], True
    wrong = validate_label_selector("spec.selector", selector)
    if wrong:
        return [*wrong, fields.invalid("spec.selector", selector, unread)], False
    if is_empty_selector(selector):
        return [refuse_empty_selector(selector, word)], True
    return check_labels_selected(spec, selector), True


def is_empty_selector(selector: Object) -> bool:
    """Tell whether a selector asks for nothing, so that it selects everything."""
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def refuse_empty_selector(selector: Object, word: str) -> Cause:
    """Say that a workload cannot own every pod."""
    return fields.invalid("spec.selector", selector, f"empty selector is invalid for {word}")


def check_labels_selected(spec: Object, selector: Object | None) -> list[Cause]:
    """Check that a selector that can be read selects the template's labels; None selects nothing."""
    if selector is not None and compile_selector(selector).matches(_labels(spec) or {}):
        return []
    return [fields.invalid("spec.template.metadata.labels", _labels(spec), _MISMATCH)]


def _labels(spec: Object) -> dict[str, str] | None:
    labels: dict[str, str] | None = spec.get("template", {}).get("metadata", {}).get("labels")
    return labels


def check_selected(spec: Object, word: str) -> list[Cause]:
    """Check selector and template of a Deployment or ReplicaSet."""
    wrong, readable = validate_owned(spec, word, "invalid label selector")
    if readable:
        wrong += validate_endless_template("spec.template", spec["template"], "ReplicaSet")
    return wrong


_REPLICAS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


class ReplicaSetStrategy(Workload):
    """A number of equal pods."""

    first_status: ClassVar[Object] = {"replicas": 0}
    defaults = _REPLICATED
    word = "deployment"
    counts = _REPLICAS
    shares = _REPLICAS[1:]

    def validate(self, obj: Object) -> list[Cause]:
        """Check numbers, selector and template."""
        spec = obj["spec"]
        wrong = not_negative("spec", spec, "replicas", "minReadySeconds")
        return wrong + check_selected(spec, self.word)


class ReplicationControllerStrategy(Workload):
    """The ancestor of ReplicaSet: its selector is a plain map, and may change."""

    first_status: ClassVar[Object] = {"replicas": 0}
    counts = _REPLICAS
    shares = _REPLICAS[1:]

    def default(self, obj: Object) -> None:
        """Default the selector, and the labels, to the template's labels."""
        _REPLICATED.apply(obj)
        spec = obj["spec"]
        if "template" not in spec:
            return
        default_template(spec["template"])
        labels = _labels(spec)
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)

    def validate(self, obj: Object) -> list[Cause]:
        """Check numbers, selector and template."""
        spec = obj["spec"]
        wrong = not_negative("spec", spec, "minReadySeconds")
        selector, template = spec.get("selector"), spec.get("template")
        if not selector:
            wrong.append(fields.required("spec.selector"))
        wrong += not_negative("spec", spec, "replicas")
        if template is None:
            return [*wrong, fields.required("spec.template")]
        if selector:
            wrong += check_labels_selected(spec, {"matchLabels": selector})
        return wrong + validate_endless_template("spec.template", template, "ReplicationController")

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
    counts = (
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    )
    shares = ("updatedReplicas", "readyReplicas", "availableReplicas")

    def is_change(self, new: Object, old: Object) -> bool:
        """Count a change of the annotations too: ReplicaSets have copies of them."""
        noted = [obj["metadata"].get("annotations") for obj in (new, old)]
        return noted[0] != noted[1] or super().is_change(new, old)

    def validate(self, obj: Object) -> list[Cause]:
        """Check numbers, selector, template and strategy."""
        spec = obj["spec"]
        wrong = not_negative("spec", spec, "replicas") + check_selected(spec, self.word)
        wrong += _rollout("spec.strategy", spec["strategy"])
        wrong += not_negative("spec", spec, *_WAITS)
        deadline = spec["progressDeadlineSeconds"]
        if deadline <= spec.get("minReadySeconds", 0):
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
        return [fields.unsupported(path, strategy, ("Recreate", "RollingUpdate"))]
    return _rolling(f"{path}.rollingUpdate", strategy["rollingUpdate"])


def _rolling(path: str, rolling: Object) -> list[Cause]:
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    wrong = check_int_or_percent(f"{path}.maxUnavailable", unavailable, most_percent=100)
    wrong += check_int_or_percent(f"{path}.maxSurge", surge)
    if is_nothing(unavailable) and is_nothing(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        wrong.append(fields.invalid(f"{path}.maxUnavailable", unavailable, detail))
    return wrong


def is_nothing(value: int | str) -> bool:
    """Tell whether a number or percentage is none at all, as one is that cannot be read."""
    if isinstance(value, str) and not (value.endswith("%") and value[:-1].isdecimal()):
        return True
    return is_zero(value)


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
    counts = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    )

    def validate(self, obj: Object) -> list[Cause]:
        """Check selector, template, numbers and the update strategy."""
        spec, selector = obj["spec"], obj["spec"].get("selector")
        # Nobody asks for one: what is missing selects nothing.
        wrong = [] if selector is None else validate_label_selector("spec.selector", selector)
        if not wrong:
            wrong += check_labels_selected(spec, selector)
        if selector is not None and is_empty_selector(selector):
            wrong.append(refuse_empty_selector(selector, self.word))
        wrong += validate_endless_template("spec.template", spec["template"], "DaemonSet")
        wrong += not_negative("spec", spec, "minReadySeconds")
        wrong += _daemon_update("spec.updateStrategy", spec["updateStrategy"])
        return wrong + not_negative("spec", spec, "revisionHistoryLimit")


def _daemon_update(path: str, strategy: Object) -> list[Cause]:
    kind, at = strategy["type"], f"{path}.rollingUpdate"
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [fields.unsupported(path, strategy, ("RollingUpdate", "OnDelete"))]
    rolling: dict[str, Any] = strategy["rollingUpdate"]
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    wrong = check_int_or_percent(f"{at}.maxUnavailable", unavailable, most_percent=100)
    wrong += check_int_or_percent(f"{at}.maxSurge", surge, most_percent=100)
    if is_nothing(unavailable) and is_nothing(surge):
        detail = "cannot be 0 when maxSurge is 0"
        wrong.append(fields.required(f"{at}.maxUnavailable", detail))
    elif not is_nothing(unavailable) and not is_nothing(surge):
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
