"""Everything of the API server that reads what strangers wrote, as functions of bytes.

Each target reads its bytes as a server would and raises for nothing but a bug: refusals
(`StatusError`, which becomes a Status) are what most bytes deserve. Hypothesis drives them in
`tests/unit`, atheris in `scripts/soak api`.
"""

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from wherry.api import kinds
from wherry.api.errors import InvalidQuantityError, InvalidSelectorError, StatusError
from wherry.api.quantity import parse_quantity
from wherry.api.selectors import parse_fields, parse_labels
from wherry.apiserver.apply.fieldset import is_valid, paths
from wherry.apiserver.decode import PROTOBUF_TYPE, decode_body, decode_object
from wherry.apiserver.http.message import Limits, Peer, Request
from wherry.apiserver.http.parser import RequestParser
from wherry.apiserver.nesting import MAX_DEPTH, depth
from wherry.apiserver.patch import json_patch, merge_patch
from wherry.apiserver.registry.read import decode_token
from wherry.apiserver.rest.accept import negotiate, patch_type
from wherry.apiserver.rest.path import parse, split
from wherry.apiserver.rest.query import (
    Query,
    context,
    delete_options,
    list_options,
    watch_options,
)
from wherry.apiserver.schema import get_schema
from wherry.apiserver.strategic import strategic_merge_patch
from wherry.apiserver.verbs import User

LONGEST_MESSAGE: Final = 8192
_HEAD_BYTES: Final = 2048
_YAML_GROWTH: Final = 16_000_000
POD: Final = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": ["x", "y"]},
    "spec": {
        "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "args": ["1"]},
            {"name": "d", "env": [{"name": "E", "value": "v"}]},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}


def _refused(error: StatusError) -> None:
    status = orjson.dumps(error.to_status())
    assert 400 <= error.code < 500, error
    assert len(status) < LONGEST_MESSAGE + 4096, len(status)


def _storable(value: Any) -> None:
    assert depth(value) <= MAX_DEPTH
    assert len(orjson.dumps(value)) < _YAML_GROWTH


class _Served:
    """What a parser made of some bytes."""

    def __init__(self, *pieces: bytes) -> None:
        self.requests: list[Request] = []
        limits = Limits(header_bytes=_HEAD_BYTES, target_bytes=512, body_bytes=256)
        self.parser = RequestParser(limits, Peer(), self.requests.append, lambda: None)
        for piece in pieces:
            if self.parser.upgraded is not None:  # the rest is the tunnel's
                self.parser.upgraded += piece
            else:
                self.parser.feed(piece, lambda: True)

    @property
    def seen(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return [(r.method, r.target, dict(r.headers), r.body) for r in self.requests]


def http(data: bytes) -> None:
    """Parse a connection's bytes at once and in two pieces: the same requests, or one refusal."""
    whole = _Served(data)
    half = len(data) // 2
    cut = _Served(data[:half], data[half:])
    assert cut.seen == whole.seen
    assert cut.parser.upgraded == whole.parser.upgraded
    if (refused := whole.parser.refused) is not None:
        assert refused.close
        assert orjson.loads(bytes(refused.body))["kind"] == "Status"
        assert cut.parser.refused is not None
    for request in whole.requests:
        assert len(request.body) <= 256
        assert not {"transfer-encoding", "content-length"} <= request.headers.keys()


def json(data: bytes) -> None:
    """Read a JSON body as a create's."""
    _body(data, "application/json")


def yaml(data: bytes) -> None:
    """Read a YAML body."""
    _body(data, "application/yaml")


def protobuf(data: bytes) -> None:
    """Read a protobuf body, its prefix added."""
    _body(b"k8s\x00" + data, PROTOBUF_TYPE)


def _body(data: bytes, media: str) -> None:
    try:
        value, warnings = decode_body(data, media, strict=False)
        _storable(value)
        assert all(isinstance(warning, str) for warning in warnings)
        decode_object(data, media, kinds.POD)
    except StatusError as error:
        _refused(error)


def pods(data: bytes) -> None:
    """Read a body and hold it to the schema of a Pod."""
    try:
        obj, _ = decode_object(data, "application/json", kinds.POD)
        value, _ = get_schema().normalize(kinds.POD, obj, "Warn")
        _storable(value)
    except StatusError as error:
        _refused(error)


def json_patches(data: bytes) -> None:
    """Apply a JSON patch."""
    _patched(data, lambda patch: json_patch(POD, patch))


def merge_patches(data: bytes) -> None:
    """Apply a merge patch, twice: the second time changes nothing."""

    def twice(patch: Any) -> Any:
        once = merge_patch(POD, patch)
        assert merge_patch(once, patch) == once
        return once

    _patched(data, twice)


def strategic_patches(data: bytes) -> None:
    """Apply a strategic merge patch."""
    _patched(data, lambda patch: strategic_merge_patch(POD, patch, kinds.POD))


def _patched(data: bytes, apply: Callable[[Any], Any]) -> None:
    before = orjson.dumps(POD)
    try:
        patch, _ = decode_body(data, "", strict=False, duplicates=False)
        _storable(apply(patch))
    except StatusError as error:
        _refused(error)
    assert orjson.dumps(POD) == before, "a patch changed what it was given"


def targets(data: bytes) -> None:
    """Read a request target: path and query, every option of it."""
    path, _, raw = data.decode("latin-1").partition("?")
    try:
        parse(split(path))
        query = Query(raw)
        for read in (list_options, watch_options):
            with suppress(StatusError):
                read(query)
        with suppress(StatusError):
            context(query, User("u"), raw[:40], "CreateOptions")
        with suppress(StatusError):
            delete_options(query, {})
        decode_token(query.text("continue"))
    except StatusError as error:
        _refused(error)


def headers(data: bytes) -> None:
    """Read Accept and Content-Type."""
    text = data.decode("latin-1")
    for read in (negotiate, patch_type):
        try:
            read(text)
        except StatusError as error:
            _refused(error)


def selectors(data: bytes) -> None:
    """Read selectors and quantities."""
    text = data.decode(errors="replace")
    with suppress(InvalidSelectorError):
        parse_labels(text).matches({"a": "b"})
    with suppress(InvalidSelectorError):
        parse_fields(text).matches(lambda path: path)
    with suppress(InvalidQuantityError):
        parse_quantity(text)


def field_sets(data: bytes) -> None:
    """Read managedFields that a client sent."""
    try:
        fields, _ = decode_body(data, "", strict=False, duplicates=False)
    except StatusError as error:
        _refused(error)
        return
    if is_valid(fields):
        list(paths(fields))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    one.__name__: one
    for one in (
        http,
        json,
        yaml,
        protobuf,
        pods,
        json_patches,
        merge_patches,
        strategic_patches,
        targets,
        headers,
        selectors,
        field_sets,
    )
}
_HTTP = (
    b"GET /api/v1/pods?limit=500 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0\r\nT: 1\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n\x80\x03",
    b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
)
_YAML = (
    b"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    tty: yes\n",
    b"a: &a [1, 2.5, 5_3_, 0x1f, 0o17, ~, 1e3]\nb: *a\nc: {<<: &d {x: 1}, y: !!str 2}\n",
    b"a: |\n  text\n  more\nb: >-\n  folded\n? k\n: v\n'q': \"\\u00e9\\n\"\n",
)
_PATCHES = (
    b'[{"op":"add","path":"/metadata/labels/x~1y","value":{}},{"op":"test","path":"/a","value":null}]',
    b'[{"op":"copy","from":"/spec","path":"/spec/x"},{"op":"move","from":"/spec/x","path":"/y"},'
    b'{"op":"replace","path":"/spec/containers/0","value":1},{"op":"remove","path":"/kind"},'
    b'{"op":"add","path":"/spec/containers/-","value":[]}]',
    b'{"metadata":{"labels":{"a":null,"c":"d"}},"spec":null}',
    b'{"spec":{"containers":[{"name":"c","$patch":"delete"},{"name":"e"}],'
    b'"$setElementOrder/containers":[{"name":"e"},{"name":"d"}]},'
    b'"metadata":{"$deleteFromPrimitiveList/finalizers":["x"],"$retainKeys":["finalizers"]}}',
    b'{"spec":{"$patch":"replace","volumes":[{"name":"v","hostPath":{},"$retainKeys":["name"]}]}}',
)
_TARGETS = (
    b"/api/v1/namespaces/a/pods/b/log?follow=1&tailLines=5",
    b"/apis/apps/v1/namespaces/%2e%2e/deployments/x%2fy/scale",
    b"/api/v1/watch/pods?watch=1&timeoutSeconds=9&resourceVersion=0&sendInitialEvents=true",
    b"/api/v1/pods?continue=eyJydiI6NSwic3RhcnQiOiJhIn0&limit=2&labelSelector=a%3Db",
    b"/api/v1/pods?dryRun=All&fieldManager=m&fieldValidation=Strict&propagationPolicy=Orphan",
)
_HEADERS = (
    b"application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5",
    b"application/vnd.kubernetes.protobuf,application/yaml;q=nan",
    b"application/strategic-merge-patch+json; charset=utf-8",
)
_SELECTORS = (
    b"a=b,c!=d,e in (f,g),!h,i notin (),j>5",
    b"metadata.name=a,status.phase!=B\\,c",
    b"1.5e3",
    b"-0.25Ki",
)
_FIELD_SETS = (
    b'{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"k:{\\"name\\":\\"c\\"}":{}}}',
)


def seeds(target: str, recorded: Path) -> list[bytes]:
    """Return bytes to begin with; `recorded` holds kubectl's protobuf bodies."""
    rows: list[dict[str, Any]] = orjson.loads(recorded.read_bytes())
    pod = orjson.dumps(POD)
    return {
        "http": [*_HTTP],
        "json": [pod, *_PATCHES, b'{"a":1,"a":2}'],
        "yaml": [*_YAML, pod],
        "protobuf": [b64decode(row["body"])[4:] for row in rows],
        "pods": [pod, b'{"spec":{"containers":[{"name":1}],"x":{}},"metadata":null}'],
        "json_patches": [*_PATCHES],
        "merge_patches": [*_PATCHES],
        "strategic_patches": [*_PATCHES],
        "targets": [*_TARGETS],
        "headers": [*_HEADERS],
        "selectors": [*_SELECTORS],
        "field_sets": [*_FIELD_SETS],
    }[target]
