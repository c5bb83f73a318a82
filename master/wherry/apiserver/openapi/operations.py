"""Every verb of a row as an operation on a path, independent of the document's version."""

from collections.abc import Iterator
from dataclasses import dataclass

from wherry.apiserver.resources import RETURNS_OBJECT, Resource, Subresource
from wherry.apiserver.schema import GVK, Definitions
from wherry.apiserver.schema.definitions import DELETE_OPTIONS

STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
JSON_TYPES = ("application/json", "application/yaml")
BODY_TYPES = (*JSON_TYPES, "application/vnd.kubernetes.protobuf")
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
TEXT = {"type": "string"}
"""What an answer is described as that is no object: logs, streams, whatever is proxied."""
PATCH_BODY = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
"""Any object: named in the documents, without structure."""

_WRITE = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_SELECT = (
    ("labelSelector", "string"),
    ("fieldSelector", "string"),
    ("limit", "integer"),
    ("continue", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("timeoutSeconds", "integer"),
)
_LIST = (
    *_SELECT,
    ("watch", "boolean"),
    ("allowWatchBookmarks", "boolean"),
    ("sendInitialEvents", "boolean"),
)
_DELETE = (
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("propagationPolicy", "string"),
)
_PARAMETERS: dict[str, tuple[tuple[str, str], ...]] = {
    "get": (),
    "list": _LIST,
    "post": _WRITE,
    "put": _WRITE,
    "patch": (*_WRITE, ("force", "boolean")),
    "delete": _DELETE,
    "deletecollection": (*_SELECT, *_DELETE),
    "connect": (),
}
_STREAMS = (
    ("stdin", "boolean"),
    ("stdout", "boolean"),
    ("stderr", "boolean"),
    ("tty", "boolean"),
)
_OPTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "log": (
        ("container", "string"),
        ("follow", "boolean"),
        ("insecureSkipTLSVerifyBackend", "boolean"),
        ("limitBytes", "integer"),
        ("previous", "boolean"),
        ("sinceSeconds", "integer"),
        ("stream", "string"),
        ("tailLines", "integer"),
        ("timestamps", "boolean"),
    ),
    "exec": (("command", "string"), ("container", "string"), *_STREAMS),
    "attach": (("container", "string"), *_STREAMS),
    "portforward": (("ports", "integer"),),
}
"""What a subresource is asked for in the query (`PodLogOptions` and the like)."""
OK, CREATED, ACCEPTED = ("200", "OK"), ("201", "Created"), ("202", "Accepted")
UNAUTHORIZED = ("401", "Unauthorized")
_CODES: dict[str, tuple[tuple[str, str], ...]] = {
    "post": (OK, CREATED, ACCEPTED),
    "put": (OK, CREATED),
    "patch": (OK, CREATED),
    "delete": (OK, ACCEPTED),
}
"""What a good answer to an action may have as its code, and the code's name; otherwise 200."""
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_ITEM = (("get", "get", "get"), ("update", "put", "put"), ("patch", "patch", "patch"))
"""(verb, HTTP method, x-kubernetes-action) of one object; its DELETE is described apart."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; `body` and `response` are names of definitions."""

    path: str
    method: str
    action: str
    id: str
    gvk: GVK
    body: str | None
    response: str | None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Return the query parameters, with their types."""
        return (*_PARAMETERS[self.action], *self.options)

    @property
    def path_parameters(self) -> list[str]:
        """Return the names that stand in braces in the path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def codes(self) -> tuple[tuple[str, str], ...]:
        """Return the codes that a good answer may have, with their names."""
        return _CODES.get(self.action, (OK,))

    @property
    def needs_body(self) -> bool:
        """Tell whether the body may not be left out; the options of a DELETE may."""
        return self.body is not None and self.body != DELETE_OPTIONS

    @property
    def consumes(self) -> tuple[str, ...]:
        """Return the media types of the body."""
        return PATCH_TYPES if self.action == "patch" else BODY_TYPES

    @property
    def described_gvk(self) -> dict[str, str]:
        """Return the address in the form of `x-kubernetes-group-version-kind`."""
        group, version, kind = self.gvk
        return {"group": group, "version": version, "kind": kind}


def operations(row: Resource, definitions: Definitions) -> Iterator[Operation]:
    """Yield the operations of a row and its subresources."""
    kind = row.kind
    gvk = (kind.group, kind.version, kind.kind)
    name, listed = definitions.name(gvk), definitions.name((*gvk[:2], f"{kind.kind}List"))
    collection = kind.path("{namespace}" if kind.namespaced else "")
    item = f"{collection}/{{name}}"
    label = f"{kind.group.partition('.')[0].capitalize() or 'Core'}{kind.version.capitalize()}"
    scope = f"{label}Namespaced{kind.kind}" if kind.namespaced else f"{label}{kind.kind}"

    def operation(
        path: str, method: str, action: str, body: str | None = None, response: str | None = name
    ) -> Operation:
        return Operation(path, method, action, f"{action}{scope}", gvk, body, response)

    if "list" in row.verbs:
        yield operation(collection, "get", "list", response=listed)
        if kind.namespaced:
            everywhere = f"list{label}{kind.kind}ForAllNamespaces"
            yield Operation(kind.path(), "get", "list", everywhere, gvk, None, listed)
    if "create" in row.verbs:
        yield operation(collection, "post", "post", body=name)
    if "deletecollection" in row.verbs:
        yield operation(collection, "delete", "deletecollection", DELETE_OPTIONS, STATUS)
    for verb, method, action in _ITEM:
        if verb in row.verbs:
            body = PATCH_BODY if verb == "patch" else name if verb == "update" else None
            yield operation(item, method, action, body)
    if "delete" in row.verbs:
        told = name if kind.kind in RETURNS_OBJECT else STATUS
        yield operation(item, "delete", "delete", DELETE_OPTIONS, told)
    for sub in row.subresources:
        yield from _of_subresource(row, sub, f"{item}/{sub.name}", scope, definitions)


def _of_subresource(
    row: Resource, sub: Subresource, path: str, scope: str, definitions: Definitions
) -> Iterator[Operation]:
    gvk = sub.body or (row.kind.group, row.kind.version, row.kind.kind)
    name = definitions.name(gvk)
    label = f"{scope}{sub.name.capitalize()}"
    options = _OPTIONS.get(sub.name, ())
    if sub.name == "proxy":
        yield from _proxied(row, path, gvk)
        return
    if name is None:  # exec, attach, portforward: a stream, not an object
        for method in ("get", "post"):
            id_ = f"connect{method}{label}"
            yield Operation(path, method, "connect", id_, gvk, None, None, options)
        return
    if "create" in sub.verbs:
        yield Operation(path, "post", "post", f"post{label}", gvk, name, name)
    for verb, method, action in _ITEM:
        if verb in sub.verbs:
            body = PATCH_BODY if verb == "patch" else name if verb == "update" else None
            response = None if sub.name == "log" else name  # a log is text
            yield Operation(path, method, action, f"{action}{label}", gvk, body, response, options)


def _proxied(row: Resource, path: str, gvk: GVK) -> Iterator[Operation]:
    """Yield every method, for `proxy` itself and for what lies behind it."""
    scope = f"{'Namespaced' if row.kind.namespaced else ''}{row.kind.kind}Proxy"
    for where, tail in ((path, ""), (f"{path}/{{path}}", "WithPath")):
        for method in _METHODS:
            name = f"connectCoreV1{method.capitalize()}{scope}{tail}"
            yield Operation(where, method, "connect", name, gvk, None, None)
