"""Strategic merge patch: JSON merge patch that knows which lists are maps in disguise.

A field's definition says how its list is patched (`x-kubernetes-patch-strategy: merge`) and by
which key elements are found (`x-kubernetes-patch-merge-key`; without one the elements are
primitives). These keys are not those of server-side apply: container ports merge by
`containerPort` alone here. Directives in the patch:

    $patch: replace | delete | merge      in a map, or in an element of a merged list
    $setElementOrder/F: [...]             order of F afterwards (keys, or the primitives)
    $deleteFromPrimitiveList/F: [...]     values to take out of F
    $retainKeys: [...]                    keys of this map that survive, others are cleared

Source: apimachinery `strategicpatch`, whose results are followed, order of elements included:
what the patch names comes in the patch's order, what only the server has is fitted in between
by the server's order.
"""

from collections.abc import Iterable
from typing import Any

from wherry.api.errors import BadRequestError, InvalidError, UnsupportedMediaError
from wherry.api.kinds import Kind
from wherry.apiserver.go import go_value
from wherry.apiserver.schema import GVK, Definitions, get_schema, gvk_of

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_GONE = object()


def strategic_merge_patch(
    doc: dict[str, Any], patch: dict[str, Any], kind: Kind | GVK
) -> dict[str, Any]:
    """Apply `patch` to `doc`; neither is changed, the result may share parts of both.

    Raises:
        BadRequestError: A directive or an element of the patch is malformed.
        InvalidError: The patch makes a list of lists.
        UnsupportedMediaError: The kind has no definition to take merge keys from.
    """
    definitions = get_schema().definitions
    definition = definitions.of(kind)
    if definition is None:
        raise UnsupportedMediaError(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json"
        )
    if not isinstance(patch, dict):
        raise BadRequestError("invalid JSON document")
    return _Merge(definitions, gvk_of(kind)[2]).maps(doc, patch, definition)


def _fresh(value: Any) -> Any:
    """Return what a patch's value stands for where nothing was before, `_GONE` for nothing."""
    if isinstance(value, list):
        return _fresh_list(item for item in value if not _replaces(item))
    if not isinstance(value, dict):
        return value
    if value.get(_PATCH) == "delete":
        return _GONE
    fresh = {
        key: _fresh(item)
        for key, item in value.items()
        if item is not None
        and key not in (_PATCH, _RETAIN)
        and not key.startswith((_ORDER, _DELETE))
    }
    return {key: item for key, item in fresh.items() if item is not _GONE}


def _fresh_list(values: Iterable[Any]) -> list[Any]:
    return [item for item in map(_fresh, values) if item is not _GONE]


def _replaces(item: Any) -> bool:
    """Tell whether an element is no element, but says that the list is to be replaced."""
    return isinstance(item, dict) and item.get(_PATCH) == "replace"


class _Merge:
    """One application of a patch."""

    def __init__(self, definitions: Definitions, kind: str) -> None:
        self._definitions = definitions
        self._kind = kind

    def maps(
        self, original: dict[str, Any], patch: dict[str, Any], definition: dict[str, Any]
    ) -> dict[str, Any]:
        """Merge a map of the patch into the one that it is for."""
        directive = patch.get(_PATCH)
        if directive == "replace":
            return _fresh(patch)  # type: ignore[no-any-return]  # a map without delete
        if directive == "delete":
            return {}
        if directive not in (None, "merge"):
            raise _bad_patch_type(directive, patch)
        out = _retain_keys(original, patch)
        for key, value in patch.items():
            if key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE)):
                continue
            merged = _GONE if value is None else self._value(key, out.get(key), patch, definition)
            if merged is _GONE:
                out.pop(key, None)
            else:
                out[key] = merged
        self._reorder(out, patch, definition)
        _delete_primitives(out, patch)
        return out

    def _value(self, key: str, old: Any, patch: dict[str, Any], definition: dict[str, Any]) -> Any:
        new = patch[key]
        field = definition.get("properties", {}).get(key) or definition.get("additionalProperties")
        if isinstance(old, dict) and isinstance(new, dict):
            return self.maps(old, new, self._definitions.resolve(field))
        if isinstance(old, list) and isinstance(new, list) and _merges(field):
            return self._lists(old, new, field or {}, patch.get(_ORDER + key))
        return _fresh(new)

    def _lists(
        self, old: list[Any], new: list[Any], field: dict[str, Any], order: Any
    ) -> list[Any]:
        if any(isinstance(item, list) for item in new):
            raise InvalidError("lists of lists are not supported")
        by = field.get("x-kubernetes-patch-merge-key", "")
        if not by:
            both = list(dict.fromkeys([*map(_primitive, old), *map(_primitive, new)]))
            return _ordered(both, _checked_order(new, order, by), old, by)
        kept, named = _apply_directives(old, new, by)
        if kept is None:
            return _fresh_list(named)
        merged = self._merge_elements(
            kept, named, by, self._definitions.resolve(field.get("items"))
        )
        return _ordered(merged, _checked_order(named, order, by), kept, by)

    def _merge_elements(
        self, kept: list[Any], named: list[Any], by: str, items: dict[str, Any]
    ) -> list[Any]:
        merged = list(kept)
        place = {_stored_key(item, by): index for index, item in reversed(list(enumerate(merged)))}
        for item in named:
            index = place.get(_key(item, by))
            if index is None:
                place[_key(item, by)] = len(merged)
                merged.append(_fresh(item))
            else:
                merged[index] = self.maps(merged[index], item, items)
        return merged

    def _reorder(
        self, out: dict[str, Any], patch: dict[str, Any], definition: dict[str, Any]
    ) -> None:
        """Apply orders of lists whose elements the patch does not touch."""
        for directive, order in patch.items():
            if not directive.startswith(_ORDER):
                continue
            if not isinstance(order, list):
                raise BadRequestError("invalid patch format of setElementOrder list")
            key = directive.removeprefix(_ORDER)
            old = out.get(key)
            field = definition.get("properties", {}).get(key)
            if patch.get(key) is None and isinstance(old, list) and _merges(field):
                by = field.get("x-kubernetes-patch-merge-key", "")
                out[key] = _ordered(old, order, old, by)


def _merges(field: dict[str, Any] | None) -> bool:
    return "merge" in (field or {}).get("x-kubernetes-patch-strategy", "").split(",")


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    retain = patch.get(_RETAIN)
    if retain is None:
        return dict(original)
    if not isinstance(retain, list) or not all(isinstance(key, str) for key in retain):
        raise BadRequestError("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and key not in retain and not key.startswith("$"):
            raise BadRequestError("patch content doesn't match retainKeys list")
    return {key: value for key, value in original.items() if key in retain}


def _delete_primitives(out: dict[str, Any], patch: dict[str, Any]) -> None:
    for directive, values in patch.items():
        if not directive.startswith(_DELETE):
            continue
        if not isinstance(values, list):
            raise BadRequestError("invalid patch format of primitive list")
        key = directive.removeprefix(_DELETE)
        if isinstance(out.get(key), list):
            gone = set(map(_primitive, values))
            out[key] = [item for item in out[key] if _primitive(item) not in gone]


def _primitive(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise BadRequestError("invalid patch format of primitive list")
    return value


def _key(item: Any, by: str) -> Any:
    """Return the identity of a patch's element: the value of its merge key, or itself."""
    if by and (not isinstance(item, dict) or item.get(by) is None):
        raise BadRequestError(f"map: {go_value(item)} does not contain declared merge key: {by}")
    return _primitive(item[by] if by else item)


def _bad_patch_type(directive: Any, item: Any) -> BadRequestError:
    return BadRequestError(f"unknown patch type: {go_value(directive)} in map: {go_value(item)}")


def _stored_key(item: Any, by: str) -> Any:
    """Return the identity of a stored element; one without its key is like no other."""
    value = item.get(by) if by and isinstance(item, dict) else item
    return str(value) if isinstance(value, dict | list) else value


def _apply_directives(
    old: list[Any], new: list[Any], by: str
) -> tuple[list[Any] | None, list[Any]]:
    """Return what stays of the old list (None: it is replaced) and the elements to merge."""
    deleted, named, replace = set(), [], False
    for item in new:
        directive = item.get(_PATCH) if isinstance(item, dict) else None
        if directive == "delete":
            deleted.add(_key(item, by))
        elif directive == "replace":
            replace = True
        elif directive in (None, "merge"):
            named.append(item)
        else:
            raise _bad_patch_type(directive, item)
    if replace:
        return None, named
    return [item for item in old if not deleted or _stored_key(item, by) not in deleted], named


def _checked_order(named: list[Any], order: Any, by: str) -> list[Any]:
    """Return the order to follow: the directive's, which must contain the patch's, or the patch's."""
    if order is None:
        return named
    if not isinstance(order, list):
        raise BadRequestError("invalid patch format of setElementOrder list")
    rest = iter([_key(item, by) for item in order])
    if not all(any(_key(item, by) == other for other in rest) for item in named):
        raise BadRequestError(
            f"The order in patch list:\n{go_value(named)}\n doesn't match $setElementOrder list:\n"
            f"{go_value(order)}\n"
        )
    return order


def _ordered(merged: list[Any], order: list[Any], server: list[Any], by: str) -> list[Any]:
    """Sort `merged`: ordered elements as in `order`, the others among them as in `server`."""
    wanted = {_key(item, by): index for index, item in reversed(list(enumerate(order)))}
    position = {_stored_key(item, by): index for index, item in reversed(list(enumerate(server)))}
    named = sorted(
        (item for item in merged if _stored_key(item, by) in wanted),
        key=lambda item: wanted[_stored_key(item, by)],
    )
    others = [item for item in merged if _stored_key(item, by) not in wanted]
    out: list[Any] = []
    left = 0
    for item in named:
        here = position.get(_stored_key(item, by), -1)
        while left < len(others) and -1 < position.get(_stored_key(others[left], by), -1) < here:
            out.append(others[left])
            left += 1
        out.append(item)
    return out + others[left:]
