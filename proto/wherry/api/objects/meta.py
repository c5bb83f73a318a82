"""What objects of all kinds have, and what they name each other by (meta/v1)."""

from wherry.api.objects.view import View
from wherry.api.selectors import LabelSelector as Selector
from wherry.api.selectors import selector_from


class OwnerReference(View, frozen=True, kw_only=True):
    """Entry of `.metadata.ownerReferences`."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(View, frozen=True, kw_only=True):
    """`.metadata`, as the API server fills it."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []

    @property
    def key(self) -> str:
        """Return `namespace/name`, or the name alone for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def deleting(self) -> bool:
        """Tell whether deletion has begun."""
        return self.deletion_timestamp is not None

    @property
    def controller(self) -> OwnerReference | None:
        """Return the managing owner, if any."""
        return next((ref for ref in self.owner_references if ref.controller), None)


class Meta(View, frozen=True, kw_only=True):
    """Any object, only its identity and metadata."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


class LabelSelectorRequirement(View, frozen=True, kw_only=True):
    """Entry of `.matchExpressions`; also a node selector's."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class LabelSelector(View, frozen=True, kw_only=True):
    """metav1.LabelSelector."""

    match_labels: dict[str, str] = {}
    match_expressions: list[LabelSelectorRequirement] = []

    def compiled(self) -> Selector:
        """Return the matcher."""
        return selector_from(
            self.match_labels, ((r.key, r.operator, r.values) for r in self.match_expressions)
        )


class Condition(View, frozen=True, kw_only=True):
    """Entry of `.status.conditions` of any kind."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    last_heartbeat_time: str | None = None
    last_probe_time: str | None = None
    last_update_time: str | None = None
    observed_generation: int = 0


class ObjectReference(View, frozen=True, kw_only=True):
    """A reference to another object."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
