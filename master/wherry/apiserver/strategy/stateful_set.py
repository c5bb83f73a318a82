"""StatefulSet and ControllerRevision."""

from typing import ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import (
    NOT_NEGATIVE,
    check_int_or_percent,
    is_zero,
    not_negative,
    option,
    unchanged,
)
from wherry.apiserver.strategy.pod.defaults import CLAIM_SPEC
from wherry.apiserver.strategy.workload import Workload

_ORDERS = ("OrderedReady", "Parallel")
_UPDATES = ("OnDelete", "RollingUpdate")
_RETENTION = ("Delete", "Retain")
_MAY_CHANGE = frozenset(
    {
        "minReadySeconds",
        "ordinals",
        "persistentVolumeClaimRetentionPolicy",
        "replicas",
        "revisionHistoryLimit",
        "template",
        "updateStrategy",
    }
)
_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)
_CLAIM = Defaults(
    empty={"apiVersion": "v1", "kind": "PersistentVolumeClaim"},
    made={"spec": CLAIM_SPEC, "status": Defaults(empty={"phase": "Pending"})},
)


def _rolling(spec: Object) -> None:
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        spec["updateStrategy"].setdefault("rollingUpdate", {}).setdefault("partition", 0)


class StatefulSetStrategy(Workload):
    """Pods with names and claims of their own."""

    first_status: ClassVar[Object] = {"replicas": 0, "availableReplicas": 0}
    defaults = Defaults(
        made={
            "spec": Defaults(
                empty={"podManagementPolicy": "OrderedReady"},
                absent={"replicas": 1, "revisionHistoryLimit": 10},
                made={
                    "updateStrategy": Defaults(empty={"type": "RollingUpdate"}),
                    "persistentVolumeClaimRetentionPolicy": Defaults(
                        empty={"whenDeleted": "Retain", "whenScaled": "Retain"}
                    ),
                },
                within={"volumeClaimTemplates": _CLAIM},
                then=_rolling,
            )
        }
    )
    word = "statefulset"

    def validate(self, obj: Object) -> list[Cause]:
        """Check the policies as well."""
        spec = obj["spec"]
        wrong = option("spec", spec, "podManagementPolicy", _ORDERS)
        wrong += _update("spec.updateStrategy", spec["updateStrategy"])
        retention = spec["persistentVolumeClaimRetentionPolicy"]
        for field in ("whenDeleted", "whenScaled"):
            wrong += option(
                "spec.persistentVolumeClaimRetentionPolicy", retention, field, _RETENTION
            )
        wrong += not_negative("spec.ordinals", spec.get("ordinals", {}), "start")
        return wrong + super().validate(obj)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what the pods that are there were made from."""
        was, is_ = old.get("spec", {}), new["spec"]
        changed = {k for k in {*was, *is_} - _MAY_CHANGE if was.get(k) != is_.get(k)}
        return [fields.forbidden("spec", _FIXED)] if changed else []


def _update(path: str, strategy: Object) -> list[Cause]:
    kind, rolling = strategy["type"], strategy.get("rollingUpdate")
    at = f"{path}.rollingUpdate"
    if kind not in _UPDATES:
        return [fields.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    if kind == "OnDelete":
        if rolling is None:
            return []
        detail = "only allowed for updateStrategy 'RollingUpdate'"
        return [fields.invalid(at, rolling, detail)]
    wrong = not_negative(at, rolling or {}, "partition")
    if rolling and "maxUnavailable" in rolling:
        most = rolling["maxUnavailable"]
        bad = check_int_or_percent(f"{at}.maxUnavailable", most, most_percent=100)
        if not bad and is_zero(most):
            bad = [fields.invalid(f"{at}.maxUnavailable", most, "cannot be 0")]
        wrong += bad
    return wrong


class ControllerRevisionStrategy(Strategy):
    """A template as it was. Nobody changes the past."""

    def validate(self, obj: Object) -> list[Cause]:
        """Check the number, and that there is data."""
        revision = obj.get("revision", 0)
        wrong = [] if "data" in obj else [fields.required("data", "data is mandatory")]
        if revision < 0:
            wrong.append(fields.invalid("revision", revision, NOT_NEGATIVE))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the data."""
        return unchanged("", new, old, "data")
