"""What a patch makes of an object is held to the schema, and refused in the words of patches."""

from typing import Any

import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import BadRequestError, StatusError
from wherry.apiserver.decode import decode_object
from wherry.apiserver.registry.request import apply_patch
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.schema import normalize
from wherry.apiserver.schema.unstructured import refusal
from wherry.apiserver.verbs import Context
from wherry.client.api import PatchType

TWICE = 'duplicate field "data.a"'


async def refused(
    w: World, patch: Any, patch_type: PatchType, found: list[str], validation: str
) -> StatusError | None:
    ctx = Context(ADMIN, field_validation=validation, warnings=found)
    row = BY_KIND[kinds.CONFIG_MAP]
    try:
        await w.registry.patch(ctx, row, "default", "c", patch, patch_type)
    except StatusError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("patch", "patch_type", "found", "shown", "why"),
    [
        ({"data": {"a": 1}}, PatchType.STRATEGIC, [], "map[data:map[a:1]]", "cannot convert int64 to string"),
        ({"data": {"a": True}}, PatchType.STRATEGIC, [], "map[data:map[a:true]]", "unrecognized type: string"),
        ({"data": [1]}, PatchType.STRATEGIC, [], "map[data:[1]]", "cannot restore map from slice"),
        ({"data": {"a": 1}}, PatchType.MERGE, [], '{"apiVersion":"v1","data":{"a":1},"kind":"ConfigMap"',
         "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
        ([{"op": "add", "path": "/data", "value": [1]}], PatchType.JSON, [], '"data":[1]',
         "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"),
        ({"data": {"a": "1"}}, PatchType.MERGE, [TWICE], '"data":{"a":"1"}', f"strict decoding error: {TWICE}"),
        ({"x": 1}, PatchType.STRATEGIC, [TWICE], "map[x:1]", f'strict decoding error: {TWICE}, unknown field "x"'),
        ([{"op": "add", "path": "/x", "value": 1}], PatchType.JSON, ['json patch unknown field "[0].y"'], '"x":1',
         'strict decoding error: json patch unknown field "[0].y", unknown field "x"'),
    ],
)  # fmt: skip
def test_patches_that_make_no_object(
    patch: Any, patch_type: PatchType, found: list[str], shown: str, why: str
) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", metadata={"name": "c"})
        error = await refused(w, patch, patch_type, found, "Strict")
        assert error is not None
        status = error.to_status()
        assert (status["code"], status["reason"]) == (422, "Invalid")
        assert status["message"].startswith(' "" is invalid: patch: Invalid value: "')
        assert status["message"].endswith(f": {why}")
        assert shown in status["message"].replace('\\"', '"')
        (cause,) = status["details"].pop("causes")
        assert status["details"] == {}
        assert (cause["reason"], cause["field"]) == ("FieldValueInvalid", "patch")
        if why.startswith("strict"):
            assert await refused(w, patch, patch_type, [*found], "Warn") is None

    in_world(run)


@pytest.mark.parametrize(
    ("value", "go_type", "why"),
    [
        ("x", "int32", "unrecognized type: int32"),
        (1.5, "int32", "cannot convert float64 to int32"),
        (2**40, "int32", "cannot convert int64 to int32"),
        (1, "bool", "unrecognized type: bool"),
        ({}, "[]v1.Container", "cannot restore slice from map"),
        ([], "PodSpec", "cannot restore struct from: slice"),
        ("x", "map[string]string", "cannot restore map from string"),
    ],
)
def test_values_that_the_converter_refuses(value: Any, go_type: str, why: str) -> None:
    assert refusal(value, go_type) == why


def test_a_strict_body_is_refused_for_all_that_is_wrong_with_it() -> None:
    body = b'{"metadata":{"name":"c"},"data":{"a":"1","a":"2"},"x":1}'
    with pytest.raises(BadRequestError) as caught:
        decode_object(body, "", kinds.CONFIG_MAP, field_validation="Strict")
    assert str(caught.value) == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'duplicate field "data.a", unknown field "x"'
    )
    obj, found = decode_object(body, "", kinds.CONFIG_MAP, field_validation="Warn")
    assert (found, normalize(kinds.CONFIG_MAP, obj)[1]) == ([TWICE], ['unknown field "x"'])


def test_all_repeated_keys_of_a_yaml_body_are_one_error() -> None:
    body = b"data:\n  a: x\n  a: z\nmetadata: {}\nmetadata: {}\n"
    lines = ['line 3: key "a" already set in map', 'line 5: key "metadata" already set in map']
    _, found = decode_object(body, "application/yaml", kinds.CONFIG_MAP, field_validation="Warn")
    assert found == lines
    with pytest.raises(BadRequestError) as caught:
        decode_object(body, "application/yaml", kinds.CONFIG_MAP, field_validation="Strict")
    assert str(caught.value) == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        f"yaml: unmarshal errors:\n  {lines[0]}\n  {lines[1]}"
    )


@pytest.mark.parametrize("form", [PatchType.JSON, PatchType.STRATEGIC])
def test_null_patches_nothing(form: PatchType) -> None:
    """Go reads it as a list without an operation, and as an object without a field."""
    old = {"data": {"a": "b"}}
    assert apply_patch(BY_KIND[kinds.CONFIG_MAP], "", old, None, form) == old


def test_null_is_no_merge_patch() -> None:
    with pytest.raises(BadRequestError) as caught:
        apply_patch(BY_KIND[kinds.CONFIG_MAP], "", {}, None, PatchType.MERGE)
    assert caught.value.message == "Invalid JSON Patch"
