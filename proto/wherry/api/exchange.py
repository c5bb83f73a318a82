"""What passes between the API server and its clients, whichever door they use."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class EventType(StrEnum):
    """What a watch event says."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class PatchType(StrEnum):
    """The media type of a patch body."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change; `revision` is the resourceVersion that the watch has reached with it."""

    type: EventType
    object: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page of objects, all read at `revision`; `continue_token` is "" on the last page."""

    items: Sequence[bytes]
    revision: int
    continue_token: str = ""
