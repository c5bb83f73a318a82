"""What was found out about credentials that were presented last."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

_REMEMBERED: Final = 10_000
V = TypeVar("V")


class Recent(Generic[V]):
    """The values used last, by digest: what was presented is not kept in memory."""

    def __init__(self) -> None:
        self._values: OrderedDict[bytes, V] = OrderedDict()

    def get(self, digest: bytes) -> V | None:
        """Return the value, None where it is not known or was forgotten."""
        value = self._values.get(digest)
        if value is not None:
            self._values.move_to_end(digest)
        return value

    def put(self, digest: bytes, value: V) -> None:
        """Remember a value; the one that was not used for longest may be forgotten."""
        self._values[digest] = value
        if len(self._values) > _REMEMBERED:
            self._values.popitem(last=False)

    def forget(self, digest: bytes) -> None:
        """Forget a value, if it is known."""
        self._values.pop(digest, None)
