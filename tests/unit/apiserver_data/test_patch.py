"""JSON patch and merge patch."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadRequestError, InvalidError, TooLargeError
from wherry.apiserver.patch import (
    MAX_OPERATIONS,
    json_equal,
    json_patch,
    merge_patch,
    operation_of,
    unknown_members,
)

SCALARS = st.booleans() | st.integers(0, 5) | st.text("ab/~", max_size=3)
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("ab/~", max_size=2), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("doc", "ops", "result"),
    [
        # RFC 6902, appendix A
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
        ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
        ({"a": ["w", "x", "y", "z"]}, [{"op": "move", "from": "/a/1", "path": "/a/3"}], {"a": ["w", "y", "z", "x"]}),
        ({"a": "x", "l": ["y", 2]}, [{"op": "test", "path": "/l/1", "value": 2}], {"a": "x", "l": ["y", 2]}),
        ({"a": 1}, [{"op": "add", "path": "/c", "value": {"d": {}}}], {"a": 1, "c": {"d": {}}}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": [2]}], {"a": [1, [2]]}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"/": 9}, [{"op": "replace", "path": "/~1", "value": 1}], {"/": 1}),
        # the rest
        ({"a": [1, 2]}, [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 3}],
         {"a": [1, 2], "b": [1, 2, 3]}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 1}}], {"b": 1}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
        ({"": 1}, [{"op": "remove", "path": "/"}], {}),
        ({}, [{"op": "test", "path": "/nothing", "value": None}], {}),
        ({}, [{"op": "add", "path": "/a"}], {"a": None}),
        ({"l": [1, 2, 3]}, [{"op": "remove", "path": "/l/-1"}], {"l": [1, 2]}),
        ({"l": [1, 2, 3]}, [{"op": "replace", "path": "/l/-3", "value": 0}], {"l": [0, 2, 3]}),
        ({"l": [1, 2]}, [{"op": "add", "path": "/l/-1", "value": 3}], {"l": [1, 2, 3]}),
        ({"l": [1, 2]}, [{"op": "add", "path": "/l/01", "value": 3}], {"l": [1, 3, 2]}),
        ({"a": 1}, [], {"a": 1}),
    ],
)  # fmt: skip
def test_operations(doc: Any, ops: Any, result: Any) -> None:
    before = orjson.dumps([doc, ops])
    assert json_patch(doc, ops) == result
    assert orjson.dumps([doc, ops]) == before


@pytest.mark.parametrize(
    "ops",
    [
        [{"op": "test", "path": "/a", "value": 2}],
        [{"op": "test", "path": "/t", "value": 1}],
        [{"op": "test", "path": "/x", "value": 1}],
        [{"op": "test", "path": "/x/y", "value": None}],
        [{"op": "remove", "path": "/x"}],
        [{"op": "replace", "path": "/x", "value": 1}],
        [{"op": "add", "path": "/x/y", "value": 1}],
        [{"op": "add", "path": "/l/5", "value": 1}],
        [{"op": "add", "path": "/l/-3", "value": 1}],
        [{"op": "remove", "path": "/l/-"}],
        [{"op": "remove", "path": "/l/-2"}],
        [{"op": "remove", "path": "/l/1_0"}],
        [{"op": "add", "path": "/a/b", "value": 1}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "", "value": {}}],
        [{"op": "add", "value": 1}],
        [{"op": "remove", "path": ""}],
        [{"op": "copy", "path": "/b"}],
        [{"op": "move", "from": "/o", "path": "/o/p"}],
        [{"op": "replace", "path": "", "value": []}],
        [{"op": "spread", "path": "/a"}],
        [{"path": "/a"}],
    ],
)
def test_operations_that_do_not_apply(ops: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        json_patch({"a": 1, "t": True, "l": [1], "o": {}}, ops)
    assert caught.value.to_status()["details"] == {}
    assert str(caught.value) == "the server rejected our request due to an error in our request"


@pytest.mark.parametrize(
    ("ops", "why"),
    [
        ({}, "object into Go value of type []handlers.jsonPatchOp"),
        ("x", "string into Go value of type []handlers.jsonPatchOp"),
        ([1], "number into Go value of type handlers.jsonPatchOp"),
        ([{"op": "add", "path": 1}], "number into Go struct field jsonPatchOp.path of type string"),
        ([{"op": ["add"]}], "array into Go struct field jsonPatchOp.op of type string"),
        ([{"op": "x", "from": {}}], "object into Go struct field jsonPatchOp.from of type string"),
    ],
)
def test_patches_that_are_none(ops: Any, why: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        json_patch({"a": 1}, ops)
    assert str(caught.value) == f"error decoding patch: json: cannot unmarshal {why}"


def test_a_patch_cannot_grow_without_bound() -> None:
    with pytest.raises(TooLargeError, match="allowed maximum operations"):
        json_patch({}, [{"op": "test", "path": "/x", "value": None}] * (MAX_OPERATIONS + 1))
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(40)]
    with pytest.raises(TooLargeError, match="accumulated size"):
        json_patch({"a": ["x" * 100]}, doubling)
    deeper = [{"op": "add", "path": "/a" * n, "value": {}} for n in range(1, 200)]
    with pytest.raises(InvalidError):
        json_patch({}, deeper)


def diff(old: Any, new: Any, path: str = "") -> list[dict[str, Any]]:
    """The test's own diff: member by member of objects, lists and scalars whole."""
    if json_equal(old, new):
        return []
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [{"op": "replace", "path": path, "value": new}]
    ops = []
    for key in old.keys() | new.keys():
        step = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in new:
            ops.append({"op": "remove", "path": step})
        elif key not in old:
            ops.append({"op": "add", "path": step, "value": new[key]})
        else:
            ops += diff(old[key], new[key], step)
    return ops


@given(OBJECTS, OBJECTS)
def test_json_patch_applies_a_diff(old: Any, new: Any) -> None:
    patched = json_patch(old, diff(old, new))
    assert json_equal(patched, new)
    assert json_patch(patched, diff(patched, new)) == patched


@pytest.mark.parametrize(
    ("doc", "patch", "result"),
    [
        # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(doc: Any, patch: Any, result: Any) -> None:
    before = orjson.dumps([doc, patch])
    assert merge_patch(doc, patch) == result
    assert orjson.dumps([doc, patch]) == before


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


def merge_diff(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch = dict.fromkeys(old.keys() - new.keys())
    return patch | {
        key: merge_diff(old.get(key), value)
        for key, value in new.items()
        if key not in old or not json_equal(old[key], value)
    }


@given(OBJECTS, OBJECTS)
def test_merge_patch_applies_a_diff(old: Any, new: Any) -> None:
    old, new = without_nulls(old), without_nulls(new)
    assert json_equal(merge_patch(old, merge_diff(old, new)), new)


@given(OBJECTS, OBJECTS)
def test_merge_patch_is_idempotent(doc: Any, patch: Any) -> None:
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once


def test_what_an_operation_does_not_have_is_found_with_its_place() -> None:
    ops = [{"op": "test", "path": "/a"}, {"op": "test", "path": "/a", "foo": 1}, 1]
    (unknown,) = unknown_members(ops)
    assert (unknown, operation_of(unknown)) == ('unknown field "[1].foo"', 1)
    assert unknown_members("x") == []
