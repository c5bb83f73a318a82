"""StatefulSet and ControllerRevision."""

from collections.abc import Sequence
from typing import ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import (
    NOT_NEGATIVE,
    check_int_or_percent,
    not_negative,
    option,
    unchanged,
)
from wherry.apiserver.strategy.pod.defaults import CLAIM_SPEC
from wherry.apiserver.strategy.pod.spec import validate_endless_template
from wherry.apiserver.strategy.pod.warnings import warn_of_template
from wherry.apiserver.strategy.volume_claim_spec import validate_claim_spec
from wherry.apiserver.strategy.workload import Workload, is_nothing, validate_owned

_ORDERS = ("OrderedReady", "Parallel")
_UPDATES = ("OnDelete", "RollingUpdate")
_REPLICAS = (
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
)
_RETENTION = ("Retain", "Delete")
_CLAIM_POLICY = "persistentVolumeClaimRetentionPolicy"
_MAY_CHANGE = frozenset(
    {
        "minReadySeconds",
        "ordinals",
        _CLAIM_POLICY,
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
_ALL_REVISIONS = (
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
    "recommended"
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
                    _CLAIM_POLICY: Defaults(
                        empty={"whenDeleted": "Retain", "whenScaled": "Retain"}
                    ),
                },
                within={"volumeClaimTemplates": _CLAIM},
                then=_rolling,
            )
        }
    )
    word = "statefulset"
    counts = _REPLICAS
    shares = _REPLICAS[1:]
    ready_path = "status.readyReplicas"

    def check_name(self, name: str) -> Sequence[str]:
        """Be a label: the pods' host names begin with it."""
        return names.dns1123_label(name)

    def validate(self, obj: Object) -> list[Cause]:
        """Check policies, numbers, selector and template."""
        spec = obj["spec"]
        wrong: list[Cause] = []
        if spec["podManagementPolicy"] not in _ORDERS:
            at, detail = "spec.podManagementPolicy", "must be 'OrderedReady' or 'Parallel'"
            wrong.append(fields.invalid(at, spec["podManagementPolicy"], detail))
        wrong += _update("spec.updateStrategy", spec["updateStrategy"])
        retention, at = spec[_CLAIM_POLICY], f"spec.{_CLAIM_POLICY}"
        for field in ("whenDeleted", "whenScaled"):
            wrong += option(at, retention, field, _RETENTION)
        wrong += not_negative("spec", spec, "replicas", "minReadySeconds")
        wrong += not_negative("spec.ordinals", spec.get("ordinals", {}), "start")
        selected, readable = validate_owned(spec, self.word, "")
        wrong += selected
        if readable:
            template = _with_claims(spec["template"], spec.get("volumeClaimTemplates", ()))
            wrong += validate_endless_template("spec.template", template, "StatefulSet")
        return wrong

    def validate_create(self, obj: Object) -> list[Cause]:
        """Check what never changes: the Service, and the claims that pods will have."""
        spec = obj["spec"]
        wrong: list[Cause] = []
        if spec.get("serviceName"):
            wrong += names.check("spec.serviceName", spec["serviceName"], names.dns1123_label)
        for index, claim in enumerate(spec.get("volumeClaimTemplates", ())):
            wrong += validate_claim_spec(f"spec.volumeClaimTemplates[{index}].spec", claim["spec"])
        return wrong

    def warnings(self, obj: Object) -> Sequence[str]:
        """Warn of revisions that are kept for ever; the name is a label."""
        spec = obj.get("spec", {})
        of_template = warn_of_template("spec.template", spec.get("template", {}))
        kept = spec.get("revisionHistoryLimit", 0)
        return [*of_template, _ALL_REVISIONS] if kept < 0 else of_template

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what the pods that are there were made from."""
        was, is_ = old.get("spec", {}), new["spec"]
        changed = {k for k in {*was, *is_} - _MAY_CHANGE if was.get(k) != is_.get(k)}
        return [fields.forbidden("spec", _FIXED)] if changed else []


def _with_claims(template: Object, claims: Sequence[Object]) -> Object:
    """Return the template with a volume for each claim: its containers mount them by name."""
    pod = template["spec"]
    volumes = pod.get("volumes", [])
    taken = {volume.get("name") for volume in volumes}
    claimed = [claim.get("metadata", {}).get("name") for claim in claims]
    made = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in dict.fromkeys(claimed)
        if name and name not in taken
    ]
    return {**template, "spec": {**pod, "volumes": [*volumes, *made]}} if made else template


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
        wrong += check_int_or_percent(f"{at}.maxUnavailable", most, most_percent=100)
        if is_nothing(most):
            wrong.append(fields.invalid(f"{at}.maxUnavailable", most, "cannot be 0"))
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
