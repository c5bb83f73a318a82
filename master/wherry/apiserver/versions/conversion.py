"""Which kinds are stored as another, and how the one becomes the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from wherry.api import kinds
from wherry.api.errors import Cause
from wherry.api.kinds import Kind
from wherry.apiserver.versions import autoscaling, events

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Between a kind and the kind that it is stored as. Neither function changes its argument."""

    kind: Kind
    stored: Kind
    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]
    fields: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of field selectors and their names in the stored object."""
    refused: Callable[[Object, Object | None], list[Cause]] | None = None
    """What is wrong with an object, both as stored, where its own version asks for more; None
    before it is there."""

    def stored_object(self, obj: Object) -> Object:
        """Return the object as it is stored."""
        return self.to_stored(obj) | _address(self.stored)

    def shown_object(self, obj: Object) -> Object:
        """Return the stored object as this kind."""
        return self.from_stored(obj) | _address(self.kind)

    def shown(self, raw: bytes) -> bytes:
        """Return a stored object's bytes as this kind's."""
        return orjson.dumps(self.shown_object(orjson.loads(raw)))

    def stored_fields(self, selector: str) -> str:
        """Return a field selector in the stored object's terms."""
        return ",".join(self._stored_field(term) for term in selector.split(","))

    def _stored_field(self, term: str) -> str:
        for name, stored in self.fields.items():
            rest = term.removeprefix(name)
            if rest != term and rest[:1] in (".", "=", "!"):
                return stored + rest
        return term


def _address(kind: Kind) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind}


CONVERSIONS: Final[Mapping[Kind, Conversion]] = {
    each.kind: each
    for each in (
        Conversion(
            kinds.EVENT_V1,
            kinds.EVENT,
            events.to_stored,
            events.from_stored,
            events.FIELDS,
            events.refused,
        ),
        Conversion(
            kinds.HORIZONTAL_POD_AUTOSCALER_V1,
            kinds.HORIZONTAL_POD_AUTOSCALER,
            autoscaling.to_stored,
            autoscaling.from_stored,
        ),
    )
}
