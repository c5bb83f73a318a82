"""OpenAPI documents: complete, consistent, and equal in both versions and encodings."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from wherry.api import kinds
from wherry.apiserver.discovery import VIRTUAL
from wherry.apiserver.openapi import V2_PROTOBUF_TYPE, OpenApi, get_openapi, gnostic
from wherry.apiserver.resources import BY_KIND, RETURNS_OBJECT, SERVED
from wherry.apiserver.schema import get_schema

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
WRITE = {"dryRun", "fieldManager", "fieldValidation"}


def read(path: str) -> dict[str, Any]:
    document = get_openapi().group_version(path)
    assert document is not None
    content: dict[str, Any] = orjson.loads(document.body)
    return content


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_root_names_every_group_version_with_its_hash() -> None:
    root = orjson.loads(get_openapi().root().body)["paths"]
    assert set(root) == {
        f"{'apis' if row.kind.group else 'api'}/{row.kind.api_version}"
        for row in (*SERVED, *VIRTUAL)
    }
    assert {"api/v1", "apis/autoscaling/v1", "apis/autoscaling/v2"} <= set(root)
    for path, entry in root.items():
        document = get_openapi().group_version(path)
        assert document is not None
        assert entry == {"serverRelativeURL": f"/openapi/v3/{path}?hash={document.hash}"}
    assert get_openapi().group_version("apis/extensions/v1beta1") is None
    assert get_openapi().group_version("root") is None


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/wherry.io/v1"])
def test_references_lead_somewhere(path: str) -> None:
    content = read(path)
    names = {f"#/components/schemas/{name}" for name in content["components"]["schemas"]}
    assert set(references(content)) <= names


def test_v2_references_lead_somewhere() -> None:
    content = orjson.loads(get_openapi().v2_json().body)
    assert set(references(content)) <= {f"#/definitions/{name}" for name in content["definitions"]}


def test_every_kind_can_be_patched_with_dry_run() -> None:
    """kubectl looks at the PATCH operation of a kind to see whether the server can do these."""
    found = {}
    for path in orjson.loads(get_openapi().root().body)["paths"]:
        for item in read(path)["paths"].values():
            if "patch" in item:
                gvk = item["patch"]["x-kubernetes-group-version-kind"]
                parameters = {p["name"] for p in item["patch"]["parameters"]}
                found[tuple(gvk[k] for k in ("group", "version", "kind"))] = parameters
    for row in SERVED:
        if "patch" not in row.verbs:
            continue
        gvk = (row.kind.group, row.kind.version, row.kind.kind)
        assert found[gvk] >= WRITE | {"force"}


def test_operation_ids_are_unique() -> None:
    content = orjson.loads(get_openapi().v2_json().body)
    ids = [op["operationId"] for item in content["paths"].values() for op in item.values()]
    assert len(ids) == len(set(ids))


def test_the_operations_of_a_pod() -> None:
    paths = read("api/v1")["paths"]
    pods = "/api/v1/namespaces/{namespace}/pods"
    served = {
        path: {m: op["x-kubernetes-action"] for m, op in item.items() if m != "parameters"}
        for path, item in paths.items()
        if "/pods" in path
    }
    assert served == {
        "/api/v1/pods": {"get": "list"},
        pods: {"get": "list", "post": "post", "delete": "deletecollection"},
        f"{pods}/{{name}}": {"get": "get", "put": "put", "patch": "patch", "delete": "delete"},
        f"{pods}/{{name}}/status": {"get": "get", "put": "put", "patch": "patch"},
        f"{pods}/{{name}}/binding": {"post": "post"},
        f"{pods}/{{name}}/eviction": {"post": "post"},
        f"{pods}/{{name}}/ephemeralcontainers": {"get": "get", "put": "put", "patch": "patch"},
        f"{pods}/{{name}}/resize": {"get": "get", "put": "put", "patch": "patch"},
        f"{pods}/{{name}}/log": {"get": "get"},
        f"{pods}/{{name}}/exec": {"get": "connect", "post": "connect"},
        f"{pods}/{{name}}/attach": {"get": "connect", "post": "connect"},
        f"{pods}/{{name}}/portforward": {"get": "connect", "post": "connect"},
        f"{pods}/{{name}}/proxy": dict.fromkeys(METHODS, "connect"),
        f"{pods}/{{name}}/proxy/{{path}}": dict.fromkeys(METHODS, "connect"),
    }
    node = paths["/api/v1/nodes/{name}/proxy/{path}"]["get"]
    assert node["operationId"] == "connectCoreV1GetNodeProxyWithPath"
    assert node["x-kubernetes-group-version-kind"]["kind"] == "NodeProxyOptions"


@pytest.mark.parametrize(
    ("path", "method", "codes", "needs_body"),
    [
        ("configmaps", "get", ["200", "401"], None),
        ("configmaps", "post", ["200", "201", "202", "401"], True),
        ("configmaps", "delete", ["200", "401"], False),
        ("configmaps/{name}", "put", ["200", "201", "401"], True),
        ("configmaps/{name}", "patch", ["200", "201", "401"], True),
        ("configmaps/{name}", "delete", ["200", "202", "401"], False),
        ("pods/{name}/eviction", "post", ["200", "201", "202", "401"], True),
        ("pods/{name}/log", "get", ["200", "401"], None),
    ],
)
def test_codes_and_bodies(
    path: str, method: str, codes: list[str], needs_body: bool | None
) -> None:
    """As upstream's documents have them: a client made of them must know a 201."""
    path = f"/api/v1/namespaces/{{namespace}}/{path}"
    v2 = orjson.loads(get_openapi().v2_json().body)["paths"][path][method]
    v3 = read("api/v1")["paths"][path][method]
    bodies = [each.get("required", False) for each in v2["parameters"] if each["in"] == "body"]
    assert sorted(v2["responses"]) == sorted(v3["responses"]) == codes
    assert bodies == ([] if needs_body is None else [needs_body])
    assert v3.get("requestBody", {}).get("required", False) == bool(needs_body)
    for code in codes[:-1]:
        shown = [v2["responses"][code]["schema"]]
        shown += [each["schema"] for each in v3["responses"][code]["content"].values()]
        assert all((each == {"type": "string"}) == path.endswith("/log") for each in shown)


@pytest.mark.parametrize(
    ("sub", "expected"),
    [
        ("exec", {"command", "container", "stdin", "stdout", "stderr", "tty"}),
        ("attach", {"container", "stdin", "stdout", "stderr", "tty"}),
        ("portforward", {"ports"}),
        ("eviction", {"dryRun", "fieldManager", "fieldValidation"}),
    ],
)
def test_what_a_subresource_is_asked_for(sub: str, expected: set[str]) -> None:
    asked = read("api/v1")["paths"][f"/api/v1/namespaces/{{namespace}}/pods/{{name}}/{sub}"]["post"]
    assert {each["name"] for each in asked["parameters"] if each["in"] == "query"} == expected


@pytest.mark.parametrize(("plural", "told"), [("pods", "core.v1.Pod"), ("configmaps", "v1.Status")])
def test_what_a_delete_answers_with(plural: str, told: str) -> None:
    path = f"/api/v1/namespaces/{{namespace}}/{plural}/{{name}}"
    answers = read("api/v1")["paths"][path]["delete"]["responses"]
    for code in ("200", "202"):
        schema = answers[code]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith(f".{told}")


def test_a_delete_of_any_device_answers_with_it() -> None:
    devices = {row.kind.kind for row in SERVED if row.kind.group == "resource.k8s.io"}
    assert len(devices) == 4
    assert devices <= RETURNS_OBJECT


def test_schemas_carry_what_clients_merge_by() -> None:
    schemas = read("api/v1")["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    quantity = schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity["oneOf"] == [{"type": "string"}, {"type": "number"}]


def test_reviews_and_our_own_kinds_are_described() -> None:
    assert (
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        in read("apis/authorization.k8s.io/v1")["paths"]
    )
    schemas = read("apis/wherry.io/v1")["components"]["schemas"]
    assert schemas["io.wherry.v1.SubnetLease"]["properties"]["PublicIP"]["description"]


def test_documents_are_deterministic() -> None:
    again = OpenApi((*SERVED, *VIRTUAL), get_schema().definitions)
    assert again.root().etag == get_openapi().root().etag
    assert again.v2_protobuf().etag == get_openapi().v2_protobuf().etag


def test_without_the_extra_there_are_types_and_no_prose() -> None:
    """In a fresh interpreter that cannot find the package with the sentences."""
    script = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'kubernetes_validate' else find(n, *a)\n"
        "from wherry.apiserver.openapi import get_openapi\n"
        "print(len(get_openapi().group_version('api/v1').body))\n"
        "import sys; assert 'kubernetes_validate' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    full = get_openapi().group_version("api/v1")
    assert full is not None
    assert 100_000 < int(done.stdout) < len(full.body)


# --- the protobuf form, read back by a decoder of the test's own ----------------------------


def wire(data: bytes) -> Iterator[tuple[int, Any]]:
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = varint()
            yield key >> 3, data[position : position + size]
            position += size


def fields(data: bytes) -> dict[int, list[Any]]:
    out: dict[int, list[Any]] = {}
    for number, value in wire(data):
        out.setdefault(number, []).append(value)
    return out


def named(items: list[bytes]) -> dict[str, dict[int, list[Any]]]:
    pairs = (fields(item) for item in items)
    return {pair[1][0].decode(): fields(pair[2][0]) for pair in pairs}


def schema_of(message: dict[int, list[Any]]) -> dict[str, Any]:
    """Read a gnostic Schema back into the JSON that it was made from."""
    out: dict[str, Any] = {}
    for number, key in ((1, "$ref"), (2, "format"), (4, "description")):
        if number in message:
            out[key] = message[number][0].decode()
    if 19 in message:
        out["required"] = [name.decode() for name in message[19]]
    if 21 in message:
        out["additionalProperties"] = schema_of(fields(fields(message[21][0])[1][0]))
    if 22 in message:
        out["type"] = fields(message[22][0])[1][0].decode()
    if 23 in message:
        out["items"] = schema_of(fields(fields(message[23][0])[1][0]))
    if 25 in message:
        properties = named(fields(message[25][0])[1])
        out["properties"] = {name: schema_of(sub) for name, sub in properties.items()}
    for name, value in named(message.get(31, [])).items():
        out[name] = orjson.loads(value[2][0])
    return out


def test_v2_protobuf_says_what_the_json_says() -> None:
    document = get_openapi().v2_protobuf()
    assert document.content_type == V2_PROTOBUF_TYPE
    content = orjson.loads(get_openapi().v2_json().body)
    top = fields(document.body)
    assert top[1] == [b"2.0"]
    definitions = named(fields(top[9][0])[1])
    assert {name: schema_of(d) for name, d in definitions.items()} == content["definitions"]
    paths = named(fields(top[8][0])[2])
    numbers = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
    assert {path: set(item) for path, item in paths.items()} == {
        path: {numbers[method] for method in item} for path, item in content["paths"].items()
    }
    patch = fields(paths["/api/v1/nodes/{name}"][8][0])
    extensions = {name: orjson.loads(value[2][0]) for name, value in named(patch[13]).items()}
    assert extensions["x-kubernetes-group-version-kind"] == {
        "group": "",
        "version": "v1",
        "kind": "Node",
    }
    assert b"application/strategic-merge-patch+json" in patch[7]
    assert set(named(fields(patch[9][0])[1])) == {"200", "201", "401"}
    bodies = [fields(fields(each)[1][0]) for each in patch[8] if 1 in fields(each)]
    sent = [fields(body[1][0]) for body in bodies if 1 in body]
    assert [(one[2], one[4]) for one in sent] == [([b"body"], [1])]


def test_gnostic_of_one_small_document() -> None:
    """Field numbers written out: a transcript of OpenAPIv2.proto."""
    small = OpenApi([BY_KIND[kinds.NETWORK_CONFIG]], get_schema().definitions)
    content = orjson.loads(small.v2_json().body)
    assert gnostic.encode(content).startswith(b"\x0a\x032.0\x12")
