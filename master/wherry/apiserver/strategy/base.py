"""What the registry asks about a kind.

A strategy is stateless and pure: it changes the dicts that it is given (they belong to the
request) and returns causes. The base class is the strategy of a kind without rules of its
own. Objects have passed the schema: types are right, nulls are gone.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import names

Object = dict[str, Any]


class Strategy:
    """Defaults, validation, and what clients may not choose."""

    generation: ClassVar[bool] = False
    """`metadata.generation` counts changes; `is_change` says which."""
    unconditional_update: ClassVar[bool] = True
    """A PUT without resourceVersion replaces whatever is there."""
    create_on_update: ClassVar[bool] = False
    """A PUT to a name that does not exist creates."""
    status_metadata: ClassVar[tuple[str, ...]] = (
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
    )
    """What of the metadata a status update changes too: upstream resets the spec, and rarely more."""
    step_first: ClassVar[bool] = True
    """An update names what is wrong with the step from the old object before the new one's faults."""

    def check_name(self, name: str) -> Sequence[str]:
        """Return the reasons why `name` is no name for this kind (`names.NameRule`)."""
        return names.dns1123_subdomain(name)

    def is_change(self, new: Object, old: Object) -> bool:
        """Tell whether an update counts as a generation. The base looks at the spec."""
        return new.get("spec") != old.get("spec")

    def default(self, obj: Object) -> None:
        """Fill in what the client left out; also applied to every update."""

    def prepare_create(self, obj: Object) -> None:
        """Drop what a client may not choose. The base drops the status."""
        obj.pop("status", None)

    def prepare_update(self, new: Object, old: Object) -> None:
        """Carry over what a client may not change. The base keeps the status."""
        keep(new, old, "status")

    def prepare_status(self, new: Object, old: Object) -> None:
        """Adjust a status update, after everything but the status was carried over."""

    def validate(self, obj: Object) -> list[Cause]:  # noqa: ARG002
        """Return everything that is wrong with the object."""
        return []

    def validate_create(self, obj: Object) -> list[Cause]:  # noqa: ARG002
        """Return what is wrong with a new object only; `validate(obj)` is called as well."""
        return []

    def validate_update(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Return what is wrong with the step from `old`; `validate(new)` is called as well."""
        return []

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Return what is wrong with a status update."""
        return []

    def warnings(self, obj: Object) -> Sequence[str]:  # noqa: ARG002
        """Return what a client is told who makes such an object: it may, but better had not.

        The object has passed the schema; no defaults are in it.
        """
        return ()


def keep(new: Object, old: Object, field: str) -> None:
    """Give `new` the field as `old` has it."""
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)
