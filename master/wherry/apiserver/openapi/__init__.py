"""The OpenAPI documents: what `kubectl explain`, `create`, `apply` and code generators read.

    operations   every verb of every row as a value; the documents are two renderings of it
    v3           /openapi/v3 (the root, with hashes) and one document for each group version
    v2           /openapi/v2 as JSON, and
    gnostic      as protobuf, which kubectl up to 1.27 cannot do without

kubectl looks at the PATCH operation of a kind for the parameters dryRun and fieldValidation
before it trusts the server with either. All documents are built at first use and kept with
their compressed form and hash; nothing here changes while the process runs.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson

from wherry.api import version
from wherry.apiserver.discovery import VIRTUAL
from wherry.apiserver.document import Document
from wherry.apiserver.openapi import gnostic, v2, v3
from wherry.apiserver.openapi.operations import Operation, operations
from wherry.apiserver.resources import SERVED, Resource
from wherry.apiserver.schema import Definitions, get_schema
from wherry.apiserver.schema.prose import describe

V2_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Of the answer, whatever spelling (`v2@v1.0`) the request used: kubectl 1.20 dies of the other."""


class OpenApi:
    """The documents of one set of rows."""

    def __init__(self, resources: Sequence[Resource], definitions: Definitions) -> None:
        self._resources = resources
        self._definitions = definitions
        self._described: dict[str, dict[str, Any]] = {}
        self._documents: dict[str, Document] = {}

    def root(self) -> Document:
        """Return `/openapi/v3`: where each group version's document lies, hash included."""
        if "root" not in self._documents:
            paths = {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={document.hash}"}
                for path, document in self._group_versions().items()
            }
            self._documents["root"] = Document(orjson.dumps({"paths": paths}))
        return self._documents["root"]

    def group_version(self, path: str) -> Document | None:
        """Return `/openapi/v3/PATH` (`api/v1`, `apis/apps/v1`), or None where there is none."""
        return self._group_versions().get(path)

    def v2_json(self) -> Document:
        """Return `/openapi/v2` as JSON."""
        if "v2" not in self._documents:
            self._documents["v2"] = Document(orjson.dumps(self._v2()))
        return self._documents["v2"]

    def v2_protobuf(self) -> Document:
        """Return `/openapi/v2` as gnostic's openapi.v2.Document."""
        if "v2pb" not in self._documents:
            body = gnostic.encode(self._v2())
            self._documents["v2pb"] = Document(body, V2_PROTOBUF_TYPE)
        return self._documents["v2pb"]

    def _types(self) -> dict[str, dict[str, Any]]:
        if not self._described:
            self._described = describe(self._definitions)
        return self._described

    def _v2(self) -> dict[str, Any]:
        return v2.document(self._operations(self._resources), self._types(), self._version)

    def _group_versions(self) -> dict[str, Document]:
        """Return all documents of v3 by path: the root's hashes need every one of them."""
        known = {p: d for p, d in self._documents.items() if p.startswith("api")}
        if known:
            return known
        rows: dict[str, list[Resource]] = {}
        for row in self._resources:
            prefix = "apis" if row.kind.group else "api"
            rows.setdefault(f"{prefix}/{row.kind.api_version}", []).append(row)
        for path, some in rows.items():
            content = v3.document(self._operations(some), self._types(), self._version)
            known[path] = self._documents[path] = Document(orjson.dumps(content))
        return known

    def _operations(self, rows: Sequence[Resource]) -> list[Operation]:
        return [op for row in rows for op in operations(row, self._definitions)]

    @property
    def _version(self) -> str:
        return version.KUBERNETES


@cache
def get_openapi() -> OpenApi:
    """Return the documents of this server's own rows."""
    return OpenApi((*SERVED, *VIRTUAL), get_schema().definitions)
