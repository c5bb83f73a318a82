"""Namespace."""

from collections.abc import Sequence

from wherry.apiserver.strategy import names
from wherry.apiserver.strategy.base import Object, Strategy, keep

NAME_LABEL = "kubernetes.io/metadata.name"


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
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, new: Object, old: Object) -> None:
        """Keep the finalizers: only the finalize subresource changes them."""
        keep(new, old, "spec")
        keep(new, old, "status")

    def prepare_status(self, new: Object, old: Object) -> None:  # noqa: ARG002
        """Keep the label, which may not be lost by this way either."""
        self.default(new)
