"""`events.k8s.io/v1 Event` and the core Event that it is stored as: the same fields by other names.

Source: kubernetes `pkg/apis/core/v1/conversion.go` and `staging/src/k8s.io/api/events/v1/types.go`.
"""

from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy.event import validate_new, validate_step

Object = dict[str, Any]

_STORED_NAMES: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_NAMES: Final = {stored: name for name, stored in _STORED_NAMES.items()}
FIELDS: Final = {
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
}
"""Beginnings of field selectors, and what they are of the stored object."""


def to_stored(event: Object) -> Object:
    """Return the core Event."""
    return {_STORED_NAMES.get(name, name): value for name, value in event.items()}


def from_stored(event: Object) -> Object:
    """Return the Event of events.k8s.io."""
    return {_NAMES.get(name, name): value for name, value in event.items()}


def refused(event: Object, old: Object | None) -> list[Cause]:
    """Return what this version refuses; both as stored."""
    return validate_new(event) if old is None else validate_step(event, old)
