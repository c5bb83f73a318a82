"""Objects as bytes: what the store holds, and what goes out.

A stored value is the object's JSON with `metadata` first and without resourceVersion:

    {"metadata":{"name":"web-1",...},"apiVersion":"v1","kind":"Pod","spec":{...}}

The store's revision *is* the resourceVersion. It is spliced in behind the fixed head on the
way out, so neither a list nor a watch event costs a parse or a dump. What selectors look
at is decoded once for each write into an `Entry.index`; everything else stays bytes.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import msgspec
import orjson

from wherry.api.errors import BadRequestError, InternalError
from wherry.apiserver.resources import Resource

HEAD = b'{"metadata":{'
_NEVER_STORED = ("resourceVersion", "selfLink")
_FIELD_AT = {"source": "source.component", "status.successful": "status.succeeded"}
"""Field selectors whose name is not the path (core/v1 Event, batch/v1 Job)."""
_FIELD_UNSET = {
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
    "status.replicas": "0",
    "status.successful": "0",
}
"""How Kubernetes prints a field that is absent; "" for all others."""


class _Struct(msgspec.Struct, frozen=True, gc=False):
    """Frozen and acyclic, so the garbage collector need not walk 20,000 of them."""


class Owner(_Struct, frozen=True, gc=False):
    """The part of an owner reference that is indexed."""

    uid: str = ""


class IndexMeta(_Struct, frozen=True, gc=False, rename="camel"):
    """What every object is found by."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()
    deletion_timestamp: str | None = None


class Index(_Struct, frozen=True, gc=False):
    """The indexed part of an object; each kind adds its field-selector fields."""

    metadata: IndexMeta = IndexMeta()


class Entry(_Struct, frozen=True, gc=False):
    """One object at one revision; `object` has the resourceVersion in it."""

    key: bytes
    revision: int
    object: bytes
    index: Index

    @property
    def value(self) -> bytes:
        """Return the bytes as stored."""
        return HEAD + self.object[self.object.index(b",") + 1 :]


def encode(obj: dict[str, Any]) -> bytes:
    """Return the canonical bytes of an object; its metadata must not be empty.

    Raises:
        BadRequestError: the object cannot be written as JSON (an integer beyond 64 bits).
    """
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _NEVER_STORED}
    ordered = {"metadata": metadata, "apiVersion": obj["apiVersion"], "kind": obj["kind"], **obj}
    ordered["metadata"] = metadata
    try:
        return orjson.dumps(ordered)
    except orjson.JSONEncodeError as error:
        raise BadRequestError(f"the object cannot be written as JSON: {error}") from error


def with_revision(value: bytes, revision: int) -> bytes:
    """Splice the resourceVersion into stored bytes."""
    return b'{"metadata":{"resourceVersion":"%d",%b' % (revision, value[len(HEAD) :])


def at_revision(obj: bytes, revision: int) -> bytes:
    """Replace the resourceVersion in bytes that came from `with_revision`."""
    return b'{"metadata":{"resourceVersion":"%d",%b' % (revision, obj[obj.index(b",") + 1 :])


def decode(value: bytes) -> dict[str, Any]:
    """Parse stored bytes into a fresh dict.

    Raises:
        InternalError: the bytes are not an object of ours; somebody wrote into the store.
    """
    if not value.startswith(HEAD):
        raise InternalError("the stored object cannot be read: it is not in Wherry's form")
    obj: dict[str, Any] = orjson.loads(value)
    return obj


class Codec:
    """Reads one resource's stored values into entries, and fields out of entries."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        paths = ["metadata.name", "metadata.namespace", *resource.field_selectors]
        self._readers = {path: _reader(path) for path in paths}
        index = _index_struct(_FIELD_AT.get(path, path) for path in resource.field_selectors)
        self._decode = msgspec.json.Decoder(index).decode

    def entry(self, key: bytes, value: bytes, revision: int) -> Entry:
        """Decode the index of a stored value.

        Raises:
            InternalError: the value is not an object of this kind.
        """
        if not value.startswith(HEAD):
            raise InternalError(f"{key.decode(errors='replace')} does not hold a Wherry object")
        try:
            index = self._decode(value)
        except msgspec.MsgspecError as error:
            raise InternalError(f"{key.decode(errors='replace')}: {error}") from error
        return Entry(key, revision, with_revision(value, revision), index)

    def serves(self, path: str) -> bool:
        """Tell whether a field selector may name `path`."""
        return path in self._readers

    def field(self, path: str) -> Callable[[Index], str]:
        """Return the reader of a served field."""
        return self._readers[path]


def _reader(path: str) -> Callable[[Index], str]:
    get = attrgetter(_FIELD_AT.get(path, path))
    unset = _FIELD_UNSET.get(path, "")

    def read(index: Index) -> str:
        value = get(index)
        if isinstance(value, str):
            return value or unset
        if value is None:
            return unset
        return str(value).lower() if isinstance(value, bool) else str(value)

    return read


def _index_struct(paths: Any) -> type[Index]:
    """Build the struct type that holds just these dotted paths, absent ones as None."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = None
    struct = msgspec.defstruct(
        "ResourceIndex", _struct_fields(tree), bases=(Index,), frozen=True, gc=False
    )
    return cast("type[Index]", struct)


def _struct_fields(tree: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    fields: list[tuple[str, Any, Any]] = []
    for name, below in tree.items():
        if below is None:
            fields.append((name, str | int | float | bool | None, None))
        else:
            struct = msgspec.defstruct(
                f"Index_{name}", _struct_fields(below), bases=(_Struct,), frozen=True, gc=False
            )
            fields.append((name, struct, struct()))
    return fields
