"""Strategic merge patch against a reference in which a merged list is simply a dict by its key.

The reference knows no order; what is said of order is checked by itself.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wherry.api import kinds
from wherry.apiserver.strategic import strategic_merge_patch

NAMES = "abcde"
SOURCES = ("emptyDir", "hostPath", "configMap")
_REPLACE = {"$patch": "replace"}


def unique(elements: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(elements, max_size=4, unique_by=lambda one: one["name"])


def named(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"name": st.sampled_from(NAMES)}, optional=fields)


def patched(
    elements: st.SearchStrategy[dict[str, Any]],
) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Elements to merge, to delete, and at times the order to replace the list."""
    gone = named().map(lambda one: one | {"$patch": "delete"})
    replaced = unique(elements).map(lambda some: [_REPLACE, *some])
    return st.one_of(unique(elements | gone), replaced)


VALUE = st.sampled_from("12")
ARGS = st.lists(VALUE, max_size=2)
CONTAINER = named(image=VALUE, args=ARGS, env=unique(named(value=VALUE)))
CONTAINER_PATCH = named(
    image=VALUE | st.none(), args=ARGS | st.none(), env=patched(named(value=VALUE | st.none()))
)
VOLUME = st.builds(
    lambda name, source: {"name": name, source: {}},
    st.sampled_from(NAMES),
    st.sampled_from(SOURCES),
)
VOLUME_PATCH = VOLUME.map(lambda one: {**one, "$retainKeys": list(one)})
FINALIZERS = st.lists(st.sampled_from(NAMES), unique=True)


def by_name(old: list[dict[str, Any]], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge lists of elements with names."""
    out = {} if _REPLACE in patch else {one["name"]: contents(one) for one in old}
    for one in patch:
        if one.get("$patch") == "delete":
            out.pop(one["name"], None)
        elif one != _REPLACE:
            out[one["name"]] = element(out.get(one["name"], {}), one)
    return out


def element(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Merge one element."""
    keep = patch.get("$retainKeys", old)
    out = {key: value for key, value in old.items() if key in keep}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif key == "env":
            was = [{"name": name, **rest} for name, rest in out.get("env", {}).items()]
            out["env"] = by_name(was, value)
        elif key != "$retainKeys":
            out[key] = value
    return out


def contents(one: dict[str, Any]) -> dict[str, Any]:
    """Return an element whose own merged list is a dict."""
    return {**one, "env": by_name([], one["env"])} if "env" in one else one


def merged(field: str, old: list[Any], patch: list[Any], **directives: Any) -> list[Any]:
    spec = {field: patch, **directives}
    result = strategic_merge_patch({"spec": {field: old}}, {"spec": spec}, kinds.POD)
    return result["spec"][field]  # type: ignore[no-any-return]  # JSON


@given(unique(CONTAINER), patched(CONTAINER_PATCH))
def test_containers(old: list[Any], patch: list[Any]) -> None:
    result = merged("containers", old, patch)
    assert by_name([], result) == by_name(old, patch)
    assert len(result) == len(by_name(old, patch))


@given(unique(VOLUME), unique(VOLUME_PATCH))
def test_retain_keys_leaves_one_source(old: list[Any], patch: list[Any]) -> None:
    assert by_name([], merged("volumes", old, patch)) == by_name(old, patch)


@given(st.data(), unique(CONTAINER), unique(CONTAINER_PATCH))
def test_set_element_order(data: st.DataObject, old: list[Any], patch: list[Any]) -> None:
    both = list(dict.fromkeys(one["name"] for one in (*old, *patch)))
    touched = [one["name"] for one in patch]
    order = [
        name
        for name in data.draw(st.permutations(both))
        if name in touched or data.draw(st.booleans())
    ]
    patch = sorted(patch, key=lambda one: order.index(one["name"]))
    wanted = [{"name": name} for name in order]
    result = merged("containers", old, patch, **{"$setElementOrder/containers": wanted})
    assert by_name([], result) == by_name(old, patch)
    names = [one["name"] for one in result]
    assert [name for name in names if name in order] == order
    servers = [one["name"] for one in old if one["name"] not in order]
    assert [name for name in names if name not in order] == servers


@given(FINALIZERS, FINALIZERS, FINALIZERS)
def test_primitives_are_a_set(old: list[str], new: list[str], gone: list[str]) -> None:
    new = [one for one in new if one not in gone]
    patch = {"metadata": {"finalizers": new, "$deleteFromPrimitiveList/finalizers": gone}}
    result = strategic_merge_patch({"metadata": {"finalizers": old}}, patch, kinds.POD)
    finalizers = result["metadata"]["finalizers"]
    assert len(finalizers) == len(set(finalizers))
    assert set(finalizers) == {*old, *new} - {*gone}
