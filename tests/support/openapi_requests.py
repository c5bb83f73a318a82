"""Requests made of our own OpenAPI documents: mostly what they allow, and a little that they do not.

Chance is `random.Random` and not hypothesis: a request is worth no shrinking, and a thousand of
them have to be made in the time of one test.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import quote

import orjson

METHODS: Final = ("get", "put", "post", "patch", "delete")
NAMES: Final = ("a", "b", "c")
_STREAMING: Final = ("/exec", "/attach", "/portforward", "/log", "/proxy")
_MISTAKES: Final[tuple[Any, ...]] = (
    None, -1, 0, 2**31, 2**63 - 1, 1.5, True, "", " ", "x" * 300, "\0", "é", "../..", "1e3", "-1Mi",
    "99999999999999999999", [], {}, [None], [[]], {"": ""}, {"a": {"b": [1]}}, [{"name": "a"}, {"name": "a"}],
)  # fmt: skip
_TEXTS: Final = (
    "a", "b", "app", "80", "http", "TCP", "1", "100m", "1Gi", "50%", "a/b", "10.0.0.1", "10.0.0.0/24",
    "*/5 * * * *", "Always", "Never", "example.com", "2026-01-01T00:00:00Z", "default",
)  # fmt: skip
_QUERIES: Final[Mapping[str, Sequence[str]]] = {
    "dryRun": ("All", "All", "None"),
    "fieldManager": ("me", "me", "x" * 200, "\t"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "Maybe"),
    "force": ("true", "false"),
    "labelSelector": ("app=a", "a in (b", "!x,y notin (z)", ",,,"),
    "fieldSelector": ("metadata.name=a", "spec.nodeName!=b", "moon=1", "="),
    "limit": ("1", "0", "-1", "x", "99999999999999999999"),
    "continue": ("", "x", "eyJydiI6MSwic3RhcnQiOiIvIn0", "eyJydiI6LTF9"),
    "resourceVersion": ("", "0", "1", "-1", "x"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "Moon"),
    "propagationPolicy": ("Orphan", "Foreground", "Background", "Moon"),
    "gracePeriodSeconds": ("0", "30", "-1", "x"),
    "sendInitialEvents": ("true",),
    "includeObject": ("None", "Object", "Moon"),
    "timeoutSeconds": ("1", "x"),
    "pretty": ("true",),
}
_ACCEPTS: Final = (
    "application/json", "*/*", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "image/png",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
)  # fmt: skip
_SCALARS: Final[Mapping[str | None, Sequence[Any]]] = {
    "integer": (0, 1, 2, 5, 80, 30000, 65535),
    "number": (0.0, 0.5, 10.0),
    "boolean": (True, False),
}
_DEEPEST: Final = 9


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, as a document describes it."""

    path: str
    method: str
    body: Mapping[str, Any] | None
    """The schema of what is sent."""
    media: tuple[str, ...]
    gvk: Mapping[str, str]
    answers: frozenset[str]
    """Kinds that a good answer may have."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    operation: Operation = field(repr=False)


class Document:
    """One `/openapi/v3/...` document."""

    def __init__(self, raw: bytes) -> None:
        self._paths = orjson.loads(raw)["paths"]
        self._schemas = orjson.loads(raw)["components"]["schemas"]

    def operations(self) -> Iterator[Operation]:
        """Yield every operation that ends by itself."""
        for path, item in self._paths.items():
            for method in METHODS:
                if method in item and not path.endswith(_STREAMING):
                    yield self._operation(path, method, item[method])

    def _operation(self, path: str, method: str, found: Mapping[str, Any]) -> Operation:
        content = found.get("requestBody", {}).get("content", {})
        schema = next((one["schema"] for one in content.values()), None)
        kinds = {"Status", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"}
        for response in found["responses"].values():
            for one in response.get("content", {}).values():
                kinds.add(one["schema"].get("$ref", "").rpartition(".")[2])
        gvk = found.get("x-kubernetes-group-version-kind", {})
        kinds |= {gvk.get("kind", ""), f"{gvk.get('kind', '')}List"}
        return Operation(path, method.upper(), schema, tuple(content), gvk, frozenset(kinds))

    def value(self, schema: Mapping[str, Any], rng: Random, depth: int = 0) -> Any:
        """Return a value of a schema, wrong somewhere now and then."""
        if rng.random() < 0.02:
            return rng.choice(_MISTAKES)
        schema = self._resolved(schema)
        if "enum" in schema:
            return rng.choice(schema["enum"])
        if (kind := schema.get("type")) in _SCALARS:
            return rng.choice(_SCALARS[kind])
        if kind == "string":
            return self._text(schema, rng)
        if kind == "array":
            count = rng.choice((0, 1, 1, 2)) if depth < _DEEPEST else 0
            return [self.value(schema.get("items", {}), rng, depth + 1) for _ in range(count)]
        return self._object(schema, rng, depth)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema or "allOf" in schema:
            one = schema.get("allOf", [schema])[0]
            schema = self._schemas[one["$ref"].rpartition("/")[2]]
        return schema

    def _text(self, schema: Mapping[str, Any], rng: Random) -> Any:
        match schema.get("format"):
            case "byte":
                return rng.choice(("YQ==", "", "%%%"))
            case "date-time":
                return rng.choice(("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z", "noon"))
            case "int-or-string":
                return rng.choice((80, "http", "25%"))
            case _:
                return rng.choice(_TEXTS)

    def _object(self, schema: Mapping[str, Any], rng: Random, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        often = 0.6 / (1 + depth)
        for name, one in schema.get("properties", {}).items():
            wanted = name in schema.get("required", ()) or name in ("spec", "template")
            if depth < _DEEPEST and (wanted or rng.random() < often):
                found[name] = self.value(one, rng, depth + 1)
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and depth < _DEEPEST:
            for _ in range(rng.choice((0, 1, 2))):
                found[rng.choice(_TEXTS)] = self.value(more, rng, depth + 1)
        return found

    def request(self, operation: Operation, rng: Random) -> Asked:
        """Make one request for an operation."""
        path = operation.path
        for name in ("namespace", "name", "path"):
            usual = "default" if name == "namespace" else rng.choice(NAMES)
            odd = quote(rng.choice(("..", "a/b", "A_", "x" * 300, "é", "\0")), safe="")
            path = path.replace(f"{{{name}}}", usual if rng.random() < 0.97 else odd)
        chosen = [
            f"{name}={quote(rng.choice(values))}"
            for name, values in _QUERIES.items()
            if rng.random() < 0.08
        ]
        headers = {"Accept": rng.choice(_ACCEPTS) if rng.random() < 0.4 else "application/json"}
        body = b""
        if operation.body is not None:
            media = rng.choice(operation.media)
            if media == "application/vnd.kubernetes.protobuf":
                media = "application/json"
            headers["Content-Type"] = media
            if media == "application/apply-patch+yaml":
                chosen.append("fieldManager=me")
            body = orjson.dumps(self._body(operation, media, rng))
        target = path + ("?" + "&".join(chosen) if chosen else "")
        return Asked(operation.method, target, headers, body, operation)

    def _body(self, operation: Operation, media: str, rng: Random) -> Any:
        if media == "application/json-patch+json":
            return [_operation(rng) for _ in range(rng.randrange(4))]
        gvk = operation.gvk
        schema: Mapping[str, Any] = operation.body or {}
        if operation.method == "PATCH":
            schema = next(
                (
                    one
                    for one in self._schemas.values()
                    if dict(gvk) in one.get("x-kubernetes-group-version-kind", ())
                ),
                schema,
            )
        found = self.value(schema, rng)
        if not isinstance(found, dict) or rng.random() < 0.02:
            return found
        found.pop("apiVersion", None)
        found.pop("kind", None)
        if media == "application/apply-patch+yaml":
            group = f"{gvk['group']}/" if gvk.get("group") else ""
            found |= {"apiVersion": group + gvk.get("version", ""), "kind": gvk.get("kind", "")}
        meta = {"name": rng.choice(NAMES), "labels": {"app": "a"}}
        if isinstance(found.get("metadata"), dict) and rng.random() < 0.2:
            meta = found["metadata"] | meta
        if operation.method != "PATCH":
            found["metadata"] = meta
        elif rng.random() < 0.2:
            found["$patch"] = rng.choice(("replace", "delete", "merge", "moon"))
        return found


def _operation(rng: Random) -> dict[str, Any]:
    path = rng.choice(
        ("/metadata/labels/x", "/spec", "/data", "/status", "/metadata/name", "", "/-")
    )
    value = rng.choice((*_MISTAKES, "a", {"a": "b"}))
    kind = rng.choice(("add", "remove", "replace", "test", "move", "copy", "moon"))
    return {"op": kind, "path": path, "value": value, "from": "/metadata/labels"}
