"""Values to field sets: what a configuration says, and what a write changed.

Two rules for containers that are easily confused (both upstream's): a *configuration* owns the leaves, the
empty maps, the keys of maps and the elements of lists that it names; a *write* owns also each container that it
added, which shows as "." in it.

Tracking runs on every write, so the walk leaves what is equal to Python's own comparison.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from wherry.apiserver.apply.fieldset import LEAF, SELF, FieldSet, Node
from wherry.apiserver.apply.types import Shape, Type, key_of

_STRIPPED = frozenset(
    {
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    }
)
"""Fields of the metadata that nobody owns (upstream's stripMetaManager)."""
_UNOWNED = frozenset({"apiVersion", "kind"})
_CONTAINERS = (dict, list)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a write did: paths that have a new value, and paths that are gone."""

    changed: FieldSet
    removed: FieldSet


def step_of(item: Any, typ: Type) -> str | None:
    """Return the step to an element of a keyed list or a set, None if it cannot be found again."""
    if typ.shape is Shape.SET:
        return None if isinstance(item, _CONTAINERS) else f"v:{orjson.dumps(item).decode()}"
    keys = key_of(item, typ.keys)
    return None if keys is None else f"k:{orjson.dumps(keys).decode()}"


def index_list(items: list[Any], typ: Type) -> dict[str, Any]:
    """Return the elements by their step; of two with the same step the first counts."""
    found: dict[str, Any] = {}
    for item in items:
        step = step_of(item, typ)
        if step is not None:
            found.setdefault(step, item)
    return found


def _is_struct(value: Any, typ: Type) -> bool:
    return isinstance(value, dict) and typ.shape in (Shape.STRUCT, Shape.MAP, Shape.DEDUCED)


def _is_elements(value: Any, typ: Type) -> bool:
    return isinstance(value, list) and typ.shape in (Shape.KEYED, Shape.SET)


# -- configurations -----------------------------------------------------------------------------


def configured(config: dict[str, Any], typ: Type) -> FieldSet:
    """Return the paths that a configuration sets, without those that nobody owns."""
    return _strip(_said(config, typ) or {})


def _said(value: Any, typ: Type) -> Node | None:
    """Return the node of a value without deciding whether it is a member itself; None says nothing."""
    if _is_struct(value, typ):
        return _said_fields(value, typ)
    if _is_elements(value, typ) and typ.element is not None:
        element = typ.element
        found = index_list(value, typ).items()
        return {step: _with_self(_said(item, element)) for step, item in found} or None
    return LEAF


def _said_fields(value: dict[str, Any], typ: Type) -> Node | None:
    if not value:
        return LEAF
    out: Node = {}
    for name, item in value.items():
        below = typ.child(name)
        if item is None or below is None:
            continue
        node = _said(item, below)
        if typ.shape is not Shape.STRUCT:
            node = _with_self(node)
        if node is not None:
            out[f"f:{name}"] = node
    return out or None


def _with_self(node: Node | None) -> Node:
    return {SELF: LEAF, **node} if node else LEAF


def _strip(fields: FieldSet) -> FieldSet:
    """Take out what nobody owns."""
    out = {step: node for step, node in fields.items() if step[2:] not in _UNOWNED}
    if metadata := out.pop("f:metadata", None):
        kept = {s: n for s, n in metadata.items() if s[2:] not in _STRIPPED and s != SELF}
        if kept:
            out["f:metadata"] = kept
    return out


# -- writes -------------------------------------------------------------------------------------


def changes(old: dict[str, Any], new: dict[str, Any], typ: Type) -> Changes:
    """Return what differs between two versions of an object, without what nobody owns."""
    changed: Node = {}
    removed: Node = {}
    _compare_fields(_owned_part(old), _owned_part(new), typ, changed, removed)
    return Changes(changed, removed)


def _owned_part(obj: dict[str, Any]) -> dict[str, Any]:
    out = {name: value for name, value in obj.items() if name not in _UNOWNED}
    metadata = obj.get("metadata") or {}
    out["metadata"] = {name: v for name, v in metadata.items() if name not in _STRIPPED}
    return out


def _compare_fields(
    old: dict[str, Any], new: dict[str, Any], typ: Type, changed: Node, removed: Node
) -> None:
    for name, value in new.items():
        before = old.get(name)
        if value is None or before == value:
            continue
        below = typ.child(name)
        if below is None:
            continue
        if before is None and name in typ.by_value:
            before = {} if isinstance(value, dict) else []
        _note(f"f:{name}", before, value, below, changed, removed)
    if len(old) > len(new) or not old.keys() <= new.keys() or None in new.values():
        for name, before in old.items():
            below = typ.child(name)
            if before is None or new.get(name) is not None or below is None:
                continue
            value = None
            if name in typ.by_value:
                value = {} if isinstance(before, dict) else []
            _note(f"f:{name}", before, value, below, changed, removed)


def _note(step: str, before: Any, value: Any, typ: Type, changed: Node, removed: Node) -> None:
    """Add one difference to the two sets."""
    if before is None:
        changed[step] = _added(value, typ)
        return
    if value is None:
        removed[step] = _added(before, typ)
        return
    if not before and not value:
        return  # nothing became nothing, where Go has the empty struct anyway
    more: Node = {}
    less: Node = {}
    if _is_struct(before, typ) and _is_struct(value, typ):
        _compare_fields(before, value, typ, more, less)
    elif _is_elements(before, typ) and _is_elements(value, typ):
        _compare_elements(before, value, typ, more, less)
    elif _is_struct(before, typ) or _is_elements(before, typ):
        less, changed[step] = _added(before, typ), LEAF
    else:
        changed[step] = _added(value, typ)
    if more:
        changed[step] = more
    if less:
        removed[step] = less


def _compare_elements(
    old: list[Any], new: list[Any], typ: Type, changed: Node, removed: Node
) -> None:
    was, now = index_list(old, typ), index_list(new, typ)
    below = typ.element
    if below is None:
        return
    for step, value in now.items():
        before = was.get(step)
        if before != value:
            _note(step, before, value, below, changed, removed)
    for step, before in was.items():
        if step not in now:
            removed[step] = _added(before, below)


def _added(value: Any, typ: Type) -> Node:
    """Return the node of a value that was not there: it and all below it.

    The most travelled function here: objects have passed the schema, so that only containers
    need their types.
    """
    if not value or not isinstance(value, _CONTAINERS) or typ.shape is Shape.LEAF:
        return LEAF
    out: Node = {SELF: LEAF}
    if isinstance(value, dict):
        if typ.shape in (Shape.KEYED, Shape.SET):
            return LEAF
        known = typ.fields.get
        for name, item in value.items():
            if isinstance(item, _CONTAINERS):
                below = known(name) or typ.child(name)
                if below is not None:
                    out[f"f:{name}"] = _added(item, below) if item else LEAF
            elif item is not None:
                out[f"f:{name}"] = LEAF
    elif typ.element is not None and typ.shape in (Shape.KEYED, Shape.SET):
        for step, item in index_list(value, typ).items():
            out[step] = _added(item, typ.element)
    return out if len(out) > 1 else LEAF
