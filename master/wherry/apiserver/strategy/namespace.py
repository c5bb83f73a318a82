"""Namespace."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy, keep
from wherry.apiserver.strategy.metadata import check_finalizer

NAME_LABEL = "kubernetes.io/metadata.name"
_OURS = "kubernetes"


class NamespaceStrategy(Strategy):
    """Begins Active and held by the finalizer `kubernetes`, which the controller removes."""

    def check_name(self, name: str) -> Sequence[str]:
        """Be a DNS label: the name becomes part of host names."""
        return names.dns1123_label(name)

    def default(self, obj: Object) -> None:
        """Label the namespace with its name, so that selectors can choose by it."""
        meta = obj["metadata"]
        if meta.get("name"):
            meta["labels"] = {**meta.get("labels", {}), NAME_LABEL: meta["name"]}

    def prepare_create(self, obj: Object) -> None:
        """Set phase and finalizer."""
        asked = obj.get("spec", {}).get("finalizers", [])
        obj["spec"] = {"finalizers": asked if _OURS in asked else [*asked, _OURS]}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, new: Object, old: Object) -> None:
        """Keep the finalizers: only the finalize subresource changes them."""
        keep(new, old, "spec")
        keep(new, old, "status")

    def prepare_status(self, new: Object, old: Object) -> None:  # noqa: ARG002
        """Keep the label, which may not be lost by this way either."""
        self.default(new)

    def validate(self, obj: Object) -> list[Cause]:
        """Check who else holds it."""
        return [
            cause
            for finalizer in obj.get("spec", {}).get("finalizers", ())
            for cause in check_finalizer("spec.finalizers", finalizer)
        ]

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Let the phase say whether it is being deleted."""
        ends = bool(new["metadata"].get("deletionTimestamp"))
        phase, wanted = new.get("status", {}).get("phase", ""), "Terminating" if ends else "Active"
        if phase == wanted:
            return []
        detail = f"may only be '{wanted}' if `deletionTimestamp` is {'not ' if ends else ''}empty"
        return [fields.invalid("status.Phase", phase, detail)]  # upstream's path
