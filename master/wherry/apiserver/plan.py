r"""What a write intends, as a value: computed from the object as it is, performed as one transaction.

    Current --(transform)--> Plan --(compares hold)--> one revision of the store
                                  \+-(not)--> read again, transform again

A transform may run several times; nothing it does may matter unless its plan is performed.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from wherry.api.errors import StatusError
from wherry.apiserver.storage import decode
from wherry.store.kv import Compare, Op


@dataclass(frozen=True, slots=True)
class Current:
    """An object as the store has it (`fresh`), or as the cache believes."""

    key: bytes
    value: bytes
    revision: int
    fresh: bool

    def decode(self) -> dict[str, Any]:
        """Return a fresh dict with the resourceVersion in it."""
        obj = decode(self.value)
        obj["metadata"]["resourceVersion"] = str(self.revision)
        return obj


Lost = Callable[[], StatusError]


class Guard(msgspec.Struct, frozen=True):
    """A condition of a plan besides the object's own revision, and who to blame where it fails.

    `lost` makes what to raise; None means: make a new plan.
    """

    compare: Compare
    lost: Lost | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`value` is written, None deletes; `also` is done in the same transaction."""

    value: bytes | None
    guards: Sequence[Guard] = ()
    also: Sequence[Op] = ()
    lease: int = 0


Transform = Callable[[Current], Awaitable[Plan]]
