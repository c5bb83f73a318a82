"""Bodies: what is read, what is refused and in which words, and what cannot hurt."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON_VALUES

from wherry.api import kinds
from wherry.api.errors import BadRequestError, TooLargeError, UnsupportedMediaError
from wherry.apiserver.decode import MAX_BODY_BYTES, decode_body, decode_object, expect_kind


@given(JSON_VALUES)
def test_json_reads_what_was_written(value: Any) -> None:
    assert decode_body(json.dumps(value).encode(), "", strict=True) == (value, [])


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/yaml",
    ],
)
def test_media_types(content_type: str) -> None:
    assert decode_body(b'{"a": 1}', content_type, strict=True) == ({"a": 1}, [])


def test_unknown_media_types_are_named() -> None:
    with pytest.raises(UnsupportedMediaError, match=r"application/vnd\.kubernetes\.protobuf"):
        decode_body(b"{}", "application/cbor", strict=False)


@st.composite
def _objects(draw: st.DrawFn) -> tuple[str, bool]:
    """Draw the text of an object, as loose and as full of colons as JSON may be, and whether a field is repeated."""
    space = st.sampled_from(["", "", " ", "\n\t"])
    words = st.sampled_from(["a", "b", ":", '":', '\\"', "é"])
    keys = draw(st.lists(words, max_size=4))
    repeated = len(set(keys)) < len(keys)
    members = []
    for key in keys:
        value = json.dumps(draw(words), ensure_ascii=False)
        if draw(st.integers(0, 3)) == 0:
            value, below = draw(_objects())
            repeated = repeated or below
            value = f"[{value}]" if draw(st.booleans()) else value
        quoted = json.dumps(key, ensure_ascii=False)
        members.append(f"{draw(space)}{quoted}{draw(space)}:{draw(space)}{value}{draw(space)}")
    return f"{{{','.join(members)}}}", repeated


@given(_objects())
def test_a_repeated_field_is_found_in_every_text(drawn: tuple[str, bool]) -> None:
    text, repeated = drawn
    _, warnings = decode_body(text.encode(), "", strict=False)
    assert bool(warnings) == repeated


@pytest.mark.parametrize(
    ("body", "warnings"),
    [
        ('{"spec":{"replicas":1,"replicas":2}}', ['duplicate field "spec.replicas"']),
        ('{"a":1,"a":2,"a":3}', ['duplicate field "a"']),
        ('{"l":[{"x":1},{"x":1,"x":2}]}', ['duplicate field "l[1].x"']),
        ('{"a" :1,"a":2}', ['duplicate field "a"']),
        ('{"a":":","b":{"x":"\\":","x":1}}', ['duplicate field "b.x"']),
        ('{"a":{"b":1},"c":{"b":1}}', []),
    ],
)
def test_duplicate_fields(body: str, warnings: list[str]) -> None:
    value, found = decode_body(body.encode(), "", strict=False)
    assert found == warnings
    assert value == json.loads(body)
    if warnings:
        with pytest.raises(BadRequestError, match="strict decoding error: duplicate field"):
            decode_body(body.encode(), "", strict=True)
        assert decode_body(body.encode(), "", strict=False, duplicates=False) == (value, [])


def test_a_strict_error_names_the_kind() -> None:
    body = b'{"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":1,"replicas":2}}'
    with pytest.raises(BadRequestError) as caught:
        decode_object(body, "", kinds.DEPLOYMENT, field_validation="Strict")
    assert caught.value.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'duplicate field "spec.replicas"'
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a":tru}', "invalid character"),
        (b"\xff\xfe", "invalid character 'ÿ' looking for beginning of value"),
        (b"[" * 5000, "exceeded max depth"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "exceeded max depth"),
    ],
)
def test_malformed_json(body: bytes, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        decode_body(body, "application/json", strict=False)


def test_brackets_in_strings_are_not_depth() -> None:
    value = {"data": {"a": "[" * 500, "b": '\\"{' * 500}}
    assert decode_body(orjson.dumps(value), "", strict=True) == (value, [])


def test_the_size_is_bounded() -> None:
    with pytest.raises(TooLargeError):
        decode_body(b" " * (MAX_BODY_BYTES + 1), "", strict=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes\nb: 'yes'\nc: y", {"a": True, "b": "yes", "c": True}),
        ("a: 0777\nb: 0x1f\nc: 1_000\nd: -5", {"a": 511, "b": 31, "c": 1000, "d": -5}),
        ("a: 53_\nb: 1__0", {"a": 53, "b": 10}),
        ("a: 1.5\nb: 1e3\nc: .5", {"a": 1.5, "b": 1000.0, "c": 0.5}),
        ("a: ~\nb:\nc: null\nd: ''", {"a": None, "b": None, "c": None, "d": ""}),
        ("a: 2026-01-01T00:00:00Z\nb: 12:30", {"a": "2026-01-01T00:00:00Z", "b": "12:30"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("1: a\ntrue: b", {"1": "a", "true": "b"}),
        ("- 1\n- [a, {b: c}]", [1, ["a", {"b": "c"}]]),
        ("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}",
         {"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}}),
        ("'<<': 1", {"<<": 1}),
        ("a: !!str 1\nb: !!int '2'", {"a": "1", "b": 2}),
        ("a: 99999999999999999999", {"a": 1e20}),
    ],
)  # fmt: skip
def test_yaml_scalars(text: str, value: Any) -> None:
    assert decode_body(text.encode(), "application/yaml", strict=True) == (value, [])


@given(JSON_VALUES)
def test_yaml_reads_what_a_library_wrote(value: Any) -> None:
    text = yaml.safe_dump(value, default_style='"')  # plain style follows another YAML 1.1
    decoded, _ = decode_body(text.encode(), "application/yaml", strict=True)
    assert decoded == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "yaml"),
        ("a: 1\n---\nb: 2", "single document"),
        ("a: !!python/object:os.system {}", "yaml"),
        ("? [a]\n: b", "invalid map key"),
        ("a: *nowhere", "yaml"),
        ("a: &a [*a]", "unknown anchor"),
        ("[" * 400, "exceeded max depth|yaml"),
        ("<<: 1", "map merge"),
        ("\x00", "yaml"),
    ],
)
def test_yaml_that_json_could_not_say(text: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        decode_body(text.encode(), "application/yaml", strict=False)


def test_what_is_wrong_with_yaml_is_one_line() -> None:
    with pytest.raises(BadRequestError) as raised:
        decode_body(b"a: 1\nb: [1", "application/yaml", strict=False)
    assert str(raised.value) == ("yaml: line 3: did not find expected ',' or ']'")


def test_duplicates_name_the_kind_that_they_are_in() -> None:
    body = b'{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}'
    with pytest.raises(BadRequestError) as raised:
        decode_object(body, "", kinds.CONFIG_MAP, field_validation="Strict")
    assert str(raised.value) == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'duplicate field "data.a"'
    )


def test_yaml_aliases_are_paid_for() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(BadRequestError, match="excessive aliasing"):
        decode_body("\n".join(lines).encode(), "application/yaml", strict=False)


def test_long_texts_are_paid_for_with_every_alias() -> None:
    body = b'a: &a "' + b"x" * 1_000_000 + b'"\nb: [' + b"*a, " * 20_000 + b"]\n"
    with pytest.raises(BadRequestError, match="excessive aliasing"):
        decode_body(body, "application/yaml", strict=True)
    value, _ = decode_body(b"a: " + b"x" * 3_000_000, "application/yaml", strict=True)
    assert len(value["a"]) == 3_000_000


def test_yaml_merge_keys_are_paid_for_too() -> None:
    base = "b: &b {" + ", ".join(f"k{i}: 1" for i in range(1000)) + "}\n"
    uses = "\n".join(f"u{i}: {{<<: *b}}" for i in range(1000))
    with pytest.raises(BadRequestError, match="excessive aliasing"):
        decode_body((base + uses).encode(), "application/yaml", strict=False)


def test_duplicate_keys_in_yaml() -> None:
    body = b"spec:\n  replicas: 1\n  replicas: 2\n"
    value, found = decode_body(body, "application/yaml", strict=False)
    assert value == {"spec": {"replicas": 2}}
    assert found == ['line 3: key "replicas" already set in map']


@given(st.binary(max_size=200), st.sampled_from(["", "application/yaml"]))
def test_garbage_is_refused_politely(data: bytes, media: str) -> None:
    with suppress(BadRequestError):
        decode_body(data, media, strict=False)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            {"apiVersion": "v1", "kind": "Deployment"},
            'Deployment in version "v1" cannot be handled as a Deployment: no kind "Deployment" '
            'is registered for version "v1" in scheme "wherry"',
        ),
        (
            {"apiVersion": "v1", "kind": "Pod"},
            "the API version in the data (v1) does not match the expected API version (apps/v1)",
        ),
        (
            {"apiVersion": "apps/v1", "kind": "ReplicaSet"},
            'ReplicaSet in version "v1" cannot be handled as a Deployment: converting '
            "(v1.ReplicaSet) to (apps.Deployment): unknown conversion",
        ),
    ],
)
def test_other_kinds_than_expected(obj: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        expect_kind(obj, kinds.DEPLOYMENT)
    assert caught.value.message == message


def test_missing_kinds_are_filled_in() -> None:
    full = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}
    assert expect_kind({"spec": {}}, kinds.DEPLOYMENT) == full
    assert decode_object(b'{"spec":{}}', "", kinds.DEPLOYMENT) == (full, [])
