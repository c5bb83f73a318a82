"""Pods and pod templates.

defaults     what upstream fills in (`SetDefaults_Pod*`)
spec         the whole spec: names, volumes, restart policy, scheduling
container    one container: image, ports, env, mounts, probes, resources
volume       one volume
scheduling   node selectors, affinity, tolerations
update       what may change on a pod that exists
"""

from wherry.api.errors import Cause
from wherry.apiserver.strategy.base import Object, Strategy, keep
from wherry.apiserver.strategy.pod import defaults, spec, update


class PodStrategy(Strategy):
    """A pod begins Pending; its spec is what was asked for and stays so."""

    generation = True
    status_metadata = True

    def default(self, obj: Object) -> None:
        """Fill in the spec."""
        defaults.default_pod(obj.setdefault("spec", {}))

    def prepare_create(self, obj: Object) -> None:
        """Begin Pending, in the class that its resources make it."""
        obj["status"] = {"phase": "Pending", "qosClass": defaults.qos_class(obj.get("spec", {}))}

    def prepare_status(self, new: Object, old: Object) -> None:
        """Keep what follows from the spec."""
        status = new.setdefault("status", {})
        qos = old.get("status", {}).get("qosClass")
        if qos and not status.get("qosClass"):
            status["qosClass"] = qos
        keep(new["metadata"], old["metadata"], "deletionTimestamp")

    def validate(self, obj: Object) -> list[Cause]:
        """Check the whole spec."""
        return spec.validate_spec("spec", obj["spec"])

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Check that only what may change has changed."""
        return update.validate_update(new["spec"], old.get("spec", {}))
