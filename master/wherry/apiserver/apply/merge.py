"""A configuration merged into an object, and what its applier gave up, pruned. Nothing is changed in place.

What the configuration names comes from it, in its order; what only the object has is fitted in between by the object's
order. A field that the applier owned and does not name any more goes, unless somebody else owns it.
"""

from typing import Any

from wherry.apiserver.apply.fieldset import SELF, FieldSet, Node, is_member
from wherry.apiserver.apply.types import Shape, Type
from wherry.apiserver.apply.walk import index_list, step_of

_GONE = object()


def merge(live: Any, config: Any, typ: Type) -> Any:
    """Return `live` with all that `config` says."""
    if config is None or live is None:
        return config
    if isinstance(live, dict) and isinstance(config, dict) and typ.shape is not Shape.LEAF:
        out = dict(live)
        for name, value in config.items():
            below = typ.child(name)
            old = live.get(name)
            out[name] = value if below is None or old is None else merge(old, value, below)
        return out
    both_lists = isinstance(live, list) and isinstance(config, list)
    if both_lists and typ.element is not None and typ.shape in (Shape.KEYED, Shape.SET):
        return _merge_lists(live, config, typ, typ.element)
    return config


def _merge_lists(live: list[Any], config: list[Any], typ: Type, element: Type) -> list[Any]:
    had, wanted = index_list(live, typ), index_list(config, typ)
    coming = iter(wanted.items())
    done: set[str] = set()
    out: list[Any] = []

    def take_until(stop: str | None) -> None:
        """Append what the configuration names, up to the element `stop`."""
        while stop not in done:
            step, item = next(coming, (None, None))
            if step is None:
                return
            out.append(merge(had[step], item, element) if step in had else item)
            done.add(step)

    for item in live:
        step = step_of(item, typ)
        if step is None or step not in wanted:
            out.append(item)
        else:
            take_until(step)
    take_until(None)
    return out


def prune(merged: dict[str, Any], last: FieldSet, owned: FieldSet, typ: Type) -> dict[str, Any]:
    """Return the object without what only `last` had.

    Args:
        merged: The object with the new configuration in it.
        last: What the applier owned before.
        owned: What anybody owns now, the applier included.
        typ: The type of the object.
    """
    pruned = _prune_fields(merged, last, owned, typ)
    return pruned if isinstance(pruned, dict) else {}


def _prune_fields(value: dict[str, Any], last: Node, owned: Node, typ: Type) -> Any:
    out = {}
    for name, item in value.items():
        step = f"f:{name}"
        below = typ.child(name)
        kept = item
        if step in last and below is not None:
            kept = _prune_child(item, last[step], owned.get(step), below, typ.shape)
        if kept is not _GONE:
            out[name] = kept
    return out if out or not value else _GONE


def _prune_elements(value: list[Any], last: Node, owned: Node, typ: Type, element: Type) -> Any:
    out = []
    for item in value:
        step = step_of(item, typ)
        kept = item
        if step is not None and step in last:
            kept = _prune_child(item, last[step], owned.get(step), element, typ.shape)
        if kept is not _GONE:
            out.append(kept)
    return out if out or not value else _GONE


def _prune_child(item: Any, last: Node, owned: Node | None, typ: Type, parent: Shape) -> Any:
    """Return what is left of a child, `_GONE` for nothing.

    Elements of lists and keys of maps belong to who owns them as such; a field of a struct belongs also
    to who owns anything in it.
    """
    held = owned is not None and (parent is Shape.STRUCT or is_member(owned))
    if is_member(last) and not held:
        return _GONE
    under = owned if owned is not None else {}
    if isinstance(item, dict) and typ.shape is not Shape.LEAF and set(last) - {SELF}:
        return _prune_fields(item, last, under, typ)
    if isinstance(item, list) and typ.element is not None and typ.shape in (Shape.KEYED, Shape.SET):
        return _prune_elements(item, last, under, typ, typ.element)
    return item
