"""Sets of field paths in the form FieldsV1, as nested dicts; nothing here changes its arguments.

A node is a member of the set if it is empty or has the child ".":

    {"f:a": {}, "f:b": {".": {}, "f:c": {}}}      a, b, b.c         {"f:b": {"f:c": {}}}   b.c

The root is no path, so it is never a member: `{}` is the empty set. Kinds of steps: `f:name` a field,
`k:{...}` the element of a list with these keys, `v:...` this value in a set, `i:n` an index.
"""

from collections.abc import Iterator
from typing import Any

import orjson

Node = dict[str, Any]
FieldSet = dict[str, Any]

SELF = "."
LEAF: Node = {}
"""The node of a path without children; shared, so it must never be filled."""
_KINDS = ("f:", "k:", "v:", "i:")


def is_member(node: Node) -> bool:
    """Tell whether the path of a node is in the set."""
    return not node or SELF in node


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the paths of both."""
    if not one or one is other:
        return other
    if not other:
        return one
    out = dict(one)
    for step, node in other.items():
        mine = out.get(step)
        out[step] = node if mine is None or mine is node else _join(mine, node)
    return out


def _join(one: Node, other: Node) -> Node:
    if one == other:
        return one
    out = union(one, other)
    if SELF not in out and (not one or not other):
        out = {SELF: LEAF, **out}
    return out


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the paths of `one` that are not in `other`; the result may be `one` itself."""
    out: FieldSet | None = None
    for step, theirs in other.items():
        mine = one.get(step)
        if mine is None:
            continue
        left = _subtract(mine, theirs)
        if left is mine:
            continue
        if out is None:
            out = dict(one)
        if left is None:
            del out[step]
        else:
            out[step] = left
    return one if out is None else out


def _subtract(mine: Node, theirs: Node) -> Node | None:
    """Return the node without the other's members, None if nothing is left of it."""
    member = is_member(mine) and not is_member(theirs)
    if not mine:
        return mine if member else None
    below = difference(mine, theirs) if theirs else mine
    if is_member(mine) == member and below is mine:
        return mine
    children = {step: node for step, node in below.items() if step != SELF}
    if not children:
        return LEAF if member else None
    return {SELF: LEAF, **children} if member else children


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the paths that are in both."""
    out: FieldSet = {}
    small, large = (one, other) if len(one) <= len(other) else (other, one)
    for step, node in small.items():
        against = large.get(step)
        if against is None or step == SELF:
            continue
        common = _common(node, against)
        if common is not None:
            out[step] = common
    return out


def _common(one: Node, other: Node) -> Node | None:
    member = is_member(one) and is_member(other)
    children = intersection(one, other)
    if not children:
        return LEAF if member else None
    return {SELF: LEAF, **children} if member else children


def paths(fields: FieldSet) -> Iterator[tuple[str, ...]]:
    """Yield every path of the set, as its steps, in order."""
    for step in sorted(fields):
        node = fields[step]
        if step == SELF:
            continue
        if is_member(node):
            yield (step,)
        for below in paths(node):
            yield (step, *below)


def format_path(path: tuple[str, ...]) -> str:
    r"""Write a path as Kubernetes' conflicts do: `.spec.containers[name="a"].image`."""
    return "".join(map(_format_step, path))


def _format_step(step: str) -> str:
    kind, rest = step[:2], step[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        keys = orjson.loads(rest)
        return f"[{','.join(f'{key}={_shown(keys[key])}' for key in sorted(keys))}]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()


def is_valid(fields: Any) -> bool:
    """Tell whether a value that a client sent is a field set."""
    return isinstance(fields, dict) and all(
        isinstance(node, dict) and (not node if step == SELF else _is_step(step) and is_valid(node))
        for step, node in fields.items()
    )


def _is_step(step: str) -> bool:
    kind, rest = step[:2], step[2:]
    if kind not in _KINDS:
        return False
    if kind == "f:":
        return True
    if kind == "i:":
        return rest.isascii() and rest.isdigit()
    try:
        value = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) if kind == "k:" else True
