"""What every view is, and how it is read."""

from typing import Any, Generic, TypeVar

import msgspec


class View(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of all views: absent and null both mean the default where the type allows None."""


V = TypeVar("V", bound=View)


class Decoder(Generic[V]):
    """Decodes JSON bytes into one view; reused, because building a decoder costs."""

    def __init__(self, view: type[V]) -> None:
        self._decoder = msgspec.json.Decoder(view)

    def __call__(self, raw: bytes) -> V:
        """Decode one object.

        Raises:
            msgspec.ValidationError: the bytes are not of this kind; the API server checks
                types before it stores, so this is a bug, not a user's mistake.
        """
        return self._decoder.decode(raw)


def null_free(value: Any) -> Any:
    """Return `value` without dict entries that are null: to Kubernetes, null is absent."""
    if isinstance(value, dict):
        return {k: null_free(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [null_free(v) for v in value]
    return value
