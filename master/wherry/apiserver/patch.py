"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386), as pure functions on decoded JSON.

Neither changes what it is given. What applies is what the library of kube-apiserver applies: a missing `value` is
null, an index below zero counts from the end. Operations that do not apply are refused with 422 and, as there, not a word
about which and why.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson

from wherry.api.errors import BadRequestError, InvalidError, TooLargeError
from wherry.apiserver.nesting import MAX_DEPTH, depth
from wherry.apiserver.schema.scalar import json_type

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""What all `copy` operations of a patch may add: a doubling copy makes gigabytes in 20 steps."""

_INDEX = re.compile(r"[-+]?[0-9]{1,9}")
_REJECTED = "the server rejected our request due to an error in our request"
_OPERATION = {"op": "string", "path": "string", "from": "string"}
"""What must be of this type where it is there; everything else is found out when it is applied."""


def merge_patch(doc: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: objects merge, null deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    out = dict(doc) if isinstance(doc, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = merge_patch(out.get(key), value)
        else:
            out[key] = value
    return out


def json_patch(doc: dict[str, Any], ops: Any) -> dict[str, Any]:
    """Apply a JSON patch.

    Raises:
        BadRequestError: `ops` is not a list of operations.
        InvalidError: An operation does not apply, or a `test` fails.
        TooLargeError: Too many operations, or copies that would grow without bound.
    """
    target = _Target(copy_json(doc))
    for op in _operations(ops):
        target.apply(op)
    if not isinstance(target.doc, dict):
        raise _rejected()
    _check_depth(target.doc)
    return target.doc


def _check_depth(value: Any) -> None:
    if depth(value) > MAX_DEPTH:
        raise _rejected()


def copy_json(value: Any) -> Any:
    """Copy decoded JSON; several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def json_equal(one: Any, other: Any) -> bool:
    """Compare as JSON does: numbers by value, but true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(json_equal(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _rejected() -> InvalidError:
    return InvalidError(_REJECTED)


def _operations(ops: Any) -> list[dict[str, Any]]:
    if ops is None:  # as Go reads null into a list
        return []
    if not isinstance(ops, list):
        raise _undecodable(ops, "value of type []handlers.jsonPatchOp")
    for op in ops:
        if not isinstance(op, dict):
            raise _undecodable(op, "value of type handlers.jsonPatchOp")
        for name, wanted in _OPERATION.items():
            if op.get(name) is not None and json_type(op[name]) != wanted:
                raise _undecodable(op[name], f"struct field jsonPatchOp.{name} of type {wanted}")
    if len(ops) > MAX_OPERATIONS:
        raise TooLargeError(
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MAX_OPERATIONS}, got {len(ops)}"
        )
    return ops


def unknown_members(ops: Any) -> list[str]:
    """Return an `unknown field "..."` for whatever in operations is no part of one."""
    known = {*_OPERATION, "value"}
    return [
        f'unknown field "[{index}].{name}"'
        for index, op in enumerate(ops if isinstance(ops, list) else [])
        for name in (op if isinstance(op, dict) else ())
        if name not in known
    ]


def operation_of(finding: str) -> int:
    """Return which operation something was found in, by the index in its path."""
    found = re.search(r"\[([0-9]+)\]", finding)
    return int(found[1]) if found else 0


def _undecodable(value: Any, into: str) -> BadRequestError:
    return BadRequestError(
        f"error decoding patch: json: cannot unmarshal {json_type(value)} into Go {into}"
    )


class _MissingError(Exception):
    """A pointer leads nowhere."""


def _tokens(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise _MissingError
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer[1:].split("/")]


def _index(token: str, length: int) -> int:
    """Read an index into a list of this length; below zero it counts from the end."""
    if not _INDEX.fullmatch(token):
        raise _MissingError
    index = int(token)
    if not -length <= index < length:
        raise _MissingError
    return index % length


def _child(container: Any, token: str) -> Any:
    if isinstance(container, list):
        return container[_index(token, len(container))]
    if isinstance(container, dict) and token in container:
        return container[token]
    raise _MissingError


class _Target:
    """The document while operations change it in place."""

    def __init__(self, doc: Any) -> None:
        self.doc = doc
        self._copied_bytes = 0
        self._perform: dict[Any, Callable[[dict[str, Any]], None]] = {
            "add": lambda op: self._add(op.get("path"), copy_json(op.get("value"))),
            "remove": lambda op: self._remove(op.get("path")),
            "replace": self._replace,
            "move": self._move,
            "copy": self._copy,
            "test": self._test,
        }

    def apply(self, op: dict[str, Any]) -> None:
        """Perform one operation."""
        perform = self._perform.get(op.get("op"))
        if perform is None:
            raise _rejected()
        try:
            perform(op)
        except _MissingError as missing:
            raise _rejected() from missing

    def _get(self, pointer: Any) -> Any:
        parent, last = self._parent(pointer)
        return _child(parent, last)

    def _parent(self, pointer: Any) -> tuple[Any, str]:
        *parents, last = _tokens(pointer)
        value = self.doc
        for token in parents:
            value = _child(value, token)
        return value, last

    def _add(self, path: Any, value: Any) -> None:
        parent, last = self._parent(path)
        if isinstance(parent, list):
            parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
        elif isinstance(parent, dict):
            parent[last] = value
        else:
            raise _MissingError

    def _remove(self, path: Any) -> Any:
        parent, last = self._parent(path)
        removed = _child(parent, last)
        if isinstance(parent, list):
            del parent[_index(last, len(parent))]
        else:
            del parent[last]
        return removed

    def _replace(self, op: dict[str, Any]) -> None:
        path, value = op.get("path"), copy_json(op.get("value"))
        if path == "":
            self.doc = value
            return
        parent, last = self._parent(path)
        _child(parent, last)
        parent[_index(last, len(parent)) if isinstance(parent, list) else last] = value

    def _move(self, op: dict[str, Any]) -> None:
        self._add(op.get("path"), self._remove(op.get("from")))

    def _copy(self, op: dict[str, Any]) -> None:
        value = self._get(op.get("from"))
        _check_depth(value)  # copies of copies deepen it with every operation
        self._copied_bytes += len(orjson.dumps(value))
        if self._copied_bytes > MAX_COPIED_BYTES:
            raise TooLargeError(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self._copied_bytes}, exceeding the limit {MAX_COPIED_BYTES}"
            )
        self._add(op.get("path"), copy_json(value))

    def _test(self, op: dict[str, Any]) -> None:
        parent, last = self._parent(op.get("path"))
        absent = isinstance(parent, dict) and last not in parent  # as good as null
        if not json_equal(None if absent else _child(parent, last), op.get("value")):
            raise _rejected()
