"""Pods and pod templates.

defaults       what upstream fills in (`SetDefaults_Pod*`), as tables
spec           the whole spec, and templates; below it
  container      one container: image, ports, and what the next five say
    environment, handler, mount, resources, security
  ephemeral      containers for debugging
  volume         one volume; volume_source: what PersistentVolumes can be as well
  pod_level      requests and limits of the pod itself
  dns, scheduling, platform
annotations    those that say something of the pod
label_keys     what a new pod's own labels add to its selectors
warnings       what is allowed and better were not so
quality        Guaranteed, Burstable, BestEffort
status, update what may change on a pod that exists
"""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import Object, Strategy, keep
from wherry.apiserver.strategy.pod import defaults, label_keys, spec, status, update
from wherry.apiserver.strategy.pod.annotations import (
    MIRROR,
    validate_annotations,
    validate_annotations_update,
)
from wherry.apiserver.strategy.pod.quality import qos_class
from wherry.apiserver.strategy.pod.warnings import warn_of_pod

__all__ = ["MIRROR", "PodStrategy"]


class PodStrategy(Strategy):
    """A pod begins Pending; its spec is what was asked for and stays so."""

    generation = True
    status_metadata = ("labels", "annotations", "finalizers")

    def default(self, obj: Object) -> None:
        """Fill in the spec."""
        defaults.default_pod(obj.setdefault("spec", {}))

    def prepare_create(self, obj: Object) -> None:
        """Begin Pending, in the class that its resources make it."""
        spec_ = obj.get("spec", {})
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec_)}
        if spec_.get("schedulingGates"):
            obj["status"]["conditions"] = [dict(status.GATED)]
        label_keys.apply(spec_, obj["metadata"].get("labels", {}))

    def prepare_status(self, new: Object, old: Object) -> None:
        """Keep what follows from the spec."""
        new_status = new.setdefault("status", {})
        qos = old.get("status", {}).get("qosClass")
        if qos and not new_status.get("qosClass"):
            new_status["qosClass"] = qos
        status.keep_generations(new_status, old.get("status", {}))
        keep(new["metadata"], old["metadata"], "deletionTimestamp")

    def validate(self, obj: Object) -> list[Cause]:
        """Check annotations and the whole spec."""
        meta = obj.get("metadata", {})
        wrong: list[Cause] = []
        if "annotations" in meta:
            wrong += validate_annotations("metadata.annotations", meta["annotations"], obj["spec"])
        return wrong + spec.validate_pod("spec", obj["spec"], meta)

    def validate_create(self, obj: Object) -> list[Cause]:
        """Check what only a pod that exists may have."""
        made = obj["spec"]
        wrong: list[Cause] = []
        if made.get("ephemeralContainers"):
            wrong.append(fields.forbidden("spec.ephemeralContainers", "cannot be set on create"))
        if made.get("nodeName") and made.get("schedulingGates"):
            detail = "cannot be set until all schedulingGates have been cleared"
            wrong.append(fields.forbidden("spec.nodeName", detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Check that only what may change has changed."""
        now, was = (obj.get("metadata", {}).get("annotations", {}) for obj in (new, old))
        wrong = validate_annotations_update(now, was) if now != was else []
        return wrong + update.validate_update(new["spec"], old.get("spec", {}))

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        """Check what agents and the scheduler report."""
        return status.validate_status(new, old)

    def warnings(self, obj: Object) -> list[str]:
        """Warn of what is old, repeated or matches nothing."""
        return warn_of_pod(obj)
