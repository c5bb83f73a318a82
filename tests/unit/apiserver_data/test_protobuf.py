"""Kubernetes protobuf bodies: recorded ones, single rules, and bytes that are none."""

import json
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadRequestError
from wherry.apiserver.decode import PROTOBUF_TYPE, decode_body
from wherry.apiserver.protobuf import get_tables
from wherry.apiserver.schema import normalize

RECORDED = json.loads((Path(__file__).parent / "kubectl_bodies.json").read_text())
"""What kubectl 1.33 sent, and the object that it meant."""


def decode(data: bytes) -> Any:
    return decode_body(data, PROTOBUF_TYPE, strict=True)[0]


@pytest.mark.parametrize("row", RECORDED, ids=[row["command"] for row in RECORDED])
def test_recorded_bodies(row: dict[str, Any]) -> None:
    obj = decode(b64decode(row["body"]))
    assert obj == row["object"]
    group, _, version = obj["apiVersion"].rpartition("/")
    assert normalize((group, version, obj["kind"]), obj, "Strict") == (obj, [])


def test_every_type_compiles() -> None:
    tables = get_tables()
    for name in tables.definitions.types:
        assert tables.message(name, b"") == {}


# --- a small encoder: nested (number, value) pairs -----------------------------------------


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def message(*fields: tuple[int, Any]) -> bytes:
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def body(api_version: str, kind: str, raw: bytes, *more: tuple[int, Any]) -> bytes:
    return b"k8s\0" + message((1, message((1, api_version), (2, kind))), (2, raw), *more)


def spec(kind: str, *fields: tuple[int, Any], api_version: str = "v1") -> Any:
    return decode(body(api_version, kind, message((2, message(*fields)))))["spec"]


def container(*fields: tuple[int, Any]) -> Any:
    return spec("Pod", (2, message(*fields)))["containers"][0]


def test_zeros_that_go_writes_but_json_would_not() -> None:
    probe = message((2, 0), (3, 1), (4, 0), (7, 0))
    assert container((1, "c"), (2, ""), (10, probe), (16, 0)) == {
        "name": "c",
        "livenessProbe": {"timeoutSeconds": 1, "terminationGracePeriodSeconds": 0},
    }
    scaled_to_none = spec("Deployment", (1, 0), (5, 0), (7, 0), api_version="apps/v1")
    assert scaled_to_none == {"replicas": 0}
    assert spec("PersistentVolumeClaim", (5, "")) == {"storageClassName": ""}


def test_inlined_messages() -> None:
    http_get = message((1, "/x"), (2, message((1, 0), (2, 80))))
    probe = container((10, message((1, message((2, http_get))))))
    assert probe == {"livenessProbe": {"httpGet": {"path": "/x", "port": 80}}}
    volume = message((1, "v"), (2, message((2, b""))))
    assert spec("Pod", (1, volume)) == {"volumes": [{"name": "v", "emptyDir": {}}]}
    key_ref = message((1, message((1, "cm"))), (2, "key"), (3, 0))
    env = message((1, "E"), (3, message((3, key_ref))))
    assert container((7, env)) == {
        "env": [
            {
                "name": "E",
                "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "key", "optional": False}},
            }
        ]
    }


def test_scalars_with_messages_of_their_own() -> None:
    limits = message((1, "cpu"), (2, message((1, "250m"))))
    assert container((8, message((1, limits))))["resources"] == {"limits": {"cpu": "250m"}}
    metadata = message((1, "p"), (7, 0), (8, message((1, 1_767_323_045), (2, 0))), (9, b""))
    assert decode(body("v1", "Pod", message((1, metadata))))["metadata"] == {
        "name": "p",
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    lease = spec(
        "Lease", (4, message((1, 1_767_323_045), (2, 6000))), api_version="coordination.k8s.io/v1"
    )
    assert lease == {"renewTime": "2026-01-02T03:04:05.000006Z"}
    port = message((3, 1), (4, message((1, 1), (2, 0), (3, "web"))))
    assert spec("Service", (1, port))["ports"] == [{"port": 1, "targetPort": "web"}]


def test_negative_numbers() -> None:
    raw = message((1, message((1, "low"))), (2, -5))
    obj = decode(body("scheduling.k8s.io/v1", "PriorityClass", raw))
    assert obj["value"] == -5


def test_maps_and_lists() -> None:
    entry = message((1, "a"), (2, b"\x00\xff"))
    empty = message((1, "b"))
    secret = decode(body("v1", "Secret", message((2, entry), (2, empty))))
    assert secret["data"] == {"a": "AP8=", "b": ""}
    extra = message((1, "scopes"), (2, message((1, "x"), (1, "y"))))
    review = decode(
        body(
            "authentication.k8s.io/v1",
            "SelfSubjectReview",
            message((2, message((1, message((4, extra)))))),
        )
    )
    assert review["status"] == {"userInfo": {"extra": {"scopes": ["x", "y"]}}}


def test_raw_json_inside() -> None:
    managed = message((1, "kubectl"), (7, message((1, '{"f:spec":{}}'))))
    obj = decode(body("v1", "Pod", message((1, message((17, managed))))))
    assert obj["metadata"]["managedFields"] == [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    deep = message((7, message((1, b'{"a":' * 200 + b"1" + b"}" * 200))))
    with pytest.raises(BadRequestError, match="max depth"):
        decode(body("v1", "Pod", message((1, message((17, deep))))))


def test_delete_options_of_any_group() -> None:
    raw = message((1, 0), (2, message((1, "u-1"))), (4, "Foreground"))
    expected = {
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u-1"},
        "propagationPolicy": "Foreground",
    }
    for api_version in ("v1", "apps/v1", "meta.k8s.io/v1"):
        head = {"apiVersion": api_version, "kind": "DeleteOptions"}
        assert decode(body(api_version, "DeleteOptions", raw)) == head | expected


def test_unknown_numbers_are_skipped() -> None:
    raw = (
        message((900, "x"), (901, 7))
        + varint(902 << 3 | 1)
        + bytes(8)
        + varint(903 << 3 | 5)
        + bytes(4)
    )
    assert decode(body("v1", "ConfigMap", raw)) == {"apiVersion": "v1", "kind": "ConfigMap"}


def test_json_in_a_protobuf_envelope() -> None:
    data = body("v1", "ConfigMap", b'{"data":{"a":"b"}}', (4, "application/json"))
    assert decode(data)["data"] == {"a": "b"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{}", "expected prefix"),
        (body("v1", "Nothing", b""), 'no kind "Nothing" is registered for version "v1"'),
        (body("v1", "Pod", b"\x0a\x7f"), "unexpected EOF"),
        (body("v1", "Pod", b"\x0b"), "illegal wireType"),
        (body("v1", "Pod", b"\xff" * 11), "overflow"),
        (body("v1", "Pod", message((1, 5))), "wrong wireType"),
        (body("v1", "Pod", b"", (3, "gzip")), "content encoding"),
        (body("v1", "ConfigMap", message((1, message((1, b"\xff"))))), "invalid UTF-8"),
    ],
)
def test_malformed(data: bytes, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        decode(data)


@given(st.sampled_from(RECORDED), st.data())
def test_damaged_bodies_are_refused_or_read(row: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(b64decode(row["body"]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    with suppress(BadRequestError):
        decode(bytes(raw))
