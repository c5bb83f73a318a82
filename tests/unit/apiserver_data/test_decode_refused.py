"""In which words bodies and patches are refused that cannot be read: those of Go, which users search for."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON_VALUES

from wherry.api import kinds
from wherry.api.errors import BadRequestError
from wherry.api.exchange import PatchType
from wherry.apiserver.decode import PROTOBUF_TYPE, decode_body, decode_object, decode_patch

UNRECOGNIZED = "the object provided is unrecognized (must be of type Pod): "
NO_KIND = UNRECOGNIZED + "couldn't get version/kind; json parse error: "
TYPE_META = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)
JSON, YAML = "application/json", "application/yaml"
SYNTAX = {
    "": "unexpected end of JSON input",
    " ": "unexpected end of JSON input",
    "{": "unexpected end of JSON input",
    "nul": "unexpected end of JSON input",
    '{"a"': "unexpected end of JSON input",
    '{"a":"b': "unexpected end of JSON input",
    "-": "unexpected end of JSON input",
    '{"a":tru}': "invalid character '}' in literal true (expecting 'e')",
    "tRue": "invalid character 'R' in literal true (expecting 'r')",
    "NaN": "invalid character 'N' looking for beginning of value",
    "[,]": "invalid character ',' looking for beginning of value",
    "[1,]": "invalid character ']' looking for beginning of value",
    "[+1]": "invalid character '+' looking for beginning of value",
    '{"a":1, }': "invalid character '}' looking for beginning of object key string",
    "{a:1}": "invalid character 'a' looking for beginning of object key string",
    "{'a':1}": "invalid character '\\'' looking for beginning of object key string",
    '{"a" "b"}': "invalid character '\"' after object key",
    '{"a":1 "b"}': "invalid character '\"' after object key:value pair",
    '{"a":01}': "invalid character '1' after object key:value pair",
    '{"a":"é" é}': "invalid character 'Ã' after object key:value pair",
    "[1 2]": "invalid character '2' after array element",
    "[-01]": "invalid character '1' after array element",
    "01": "invalid character '1' after top-level value",
    "{} x": "invalid character 'x' after top-level value",
    '{"a":1}}': "invalid character '}' after top-level value",
    '{"a":"\x01"}': "invalid character '\\x01' in string literal",
    '{"a":"\n"}': "invalid character '\\n' in string literal",
    '{"a":"\\x"}': "invalid character 'x' in string escape code",
    '{"a":"\\u12x4"}': "invalid character 'x' in \\u hexadecimal character escape",
    "[-x]": "invalid character 'x' in numeric literal",
    "[1.x]": "invalid character 'x' after decimal point in numeric literal",
    "[1e+]": "invalid character ']' in exponent of numeric literal",
    "/**/{}": "invalid character '/' looking for beginning of value",
    "\ufeff{}": "invalid character 'ï' looking for beginning of value",
}
"""What is no JSON, and what Go says of it."""


@pytest.mark.parametrize(
    ("body", "media", "message"),
    [
        (b"", JSON, f"{NO_KIND}unexpected end of JSON input (<empty>)"),
        (
            b"nope",
            JSON,
            f"{NO_KIND}invalid character 'o' in literal null (expecting 'u') (6e6f7065)",
        ),
        (
            b'{"a":}',
            JSON,
            f"{NO_KIND}invalid character '}}' looking for beginning of value ({{\"a\":}})",
        ),
        (
            b"[]",
            JSON,
            f"{NO_KIND}json: cannot unmarshal array into Go value of type {TYPE_META} (5b5d)",
        ),
        (
            b"1",
            JSON,
            f"{NO_KIND}json: cannot unmarshal number into Go value of type {TYPE_META} (31)",
        ),
        (
            b"x",
            YAML,
            f"{NO_KIND}json: cannot unmarshal string into Go value of type {TYPE_META} (78)",
        ),
        (
            b'{"kind":1}',
            JSON,
            f"{NO_KIND}json: cannot unmarshal number into Go struct field .kind of type string "
            '({"kind":1})',
        ),
        (
            b'{"apiVersion":{}}',
            JSON,
            f"{NO_KIND}json: cannot unmarshal object into Go struct field .apiVersion of type string "
            '({"apiVersion":{}})',
        ),
        (
            b"a: [",
            YAML,
            f"{UNRECOGNIZED}yaml: line 2: did not find expected node content (613a205b)",
        ),
        (b"", PROTOBUF_TYPE, f"{UNRECOGNIZED}empty data (<empty>)"),
        (b"k8s\0", PROTOBUF_TYPE, f"{UNRECOGNIZED}empty body (6b387300)"),
        (
            b"{}",
            PROTOBUF_TYPE,
            f"{UNRECOGNIZED}provided data does not appear to be a protobuf message, expected prefix "
            "[107 56 115 0] ({})",
        ),
        (b"k8s\0\x0a\xff", PROTOBUF_TYPE, f"{UNRECOGNIZED}unexpected EOF (6b3873000aff)"),
    ],
)
def test_bodies_that_are_no_objects(body: bytes, media: str, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        decode_object(body, media, kinds.POD)
    assert caught.value.message == message


def test_null_is_an_object_without_a_field() -> None:
    assert decode_object(b"null", "", kinds.POD) == ({"apiVersion": "v1", "kind": "Pod"}, [])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (PatchType.JSON, "error decoding patch: "),
        (PatchType.MERGE, "error decoding patch: "),
        (PatchType.STRATEGIC, ""),
    ],
)
def test_patches_that_are_no_json(form: PatchType, said: str) -> None:
    for body, why in SYNTAX.items():
        with pytest.raises(BadRequestError) as caught:
            decode_patch(body.encode(), form)
        assert caught.value.message == f"{said}{why}"


def test_an_apply_is_yaml() -> None:
    assert decode_patch(b"a: 1\na: 2", PatchType.APPLY) == (
        {"a": 2},
        ['line 2: key "a" already set in map'],
    )
    with pytest.raises(BadRequestError) as caught:
        decode_patch(b"a: [", PatchType.APPLY)
    assert caught.value.message == (
        "error decoding YAML: error converting YAML to JSON: yaml: line 2: did not find expected node content"
    )


@given(JSON_VALUES, st.data())
def test_torn_and_damaged_json_is_refused_in_words(value: Any, data: st.DataObject) -> None:
    text = bytearray(json.dumps(value, ensure_ascii=False).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with suppress(orjson.JSONDecodeError):
        orjson.loads(bytes(text))
        return
    with pytest.raises(
        BadRequestError, match=r"^(unexpected end of JSON input$|invalid character ')"
    ):
        decode_body(bytes(text), "", strict=False)
