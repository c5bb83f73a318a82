"""Discovery: what kinds, verbs and subresources this server has.

    /api /apis /apis/G /api/v1 /apis/G/V    the legacy documents; kopf and the Python dynamic
                                            client know no others
    /api /apis with Accept ...;as=APIGroupDiscoveryList    the aggregated ones (v2, v2beta1):
                                            all that a client needs in two requests

Every document follows from the rows of `resources` and is computed once.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson

from wherry.api.kinds import Kind
from wherry.apiserver.document import Document
from wherry.apiserver.metrics_kinds import ROWS as METRICS
from wherry.apiserver.resources import SERVED, Resource, Subresource

_AUTHN = "authentication.k8s.io"
_AUTHZ = "authorization.k8s.io"


def _review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    singular = kind.lower()
    address = Kind(group, "v1", kind, f"{singular}s", namespaced)
    return Resource(address, singular, "", verbs=("create",))


VIRTUAL: tuple[Resource, ...] = (
    _review(_AUTHN, "TokenReview"),
    _review(_AUTHN, "SelfSubjectReview"),
    _review(_AUTHZ, "LocalSubjectAccessReview", namespaced=True),
    _review(_AUTHZ, "SubjectAccessReview"),
    _review(_AUTHZ, "SelfSubjectAccessReview"),
    _review(_AUTHZ, "SelfSubjectRulesReview"),
)
"""Questions that are answered and not stored: rows without a storage prefix, create only."""

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def aggregated_version(accept: str) -> str | None:
    """Return the aggregated form that an Accept header prefers: v2, v2beta1, or None for legacy."""
    for part in accept.split(","):
        words = {word.strip() for word in part.split(";")}
        if "application/json" not in words or "g=apidiscovery.k8s.io" not in words:
            if words & {"application/json", "*/*", "application/*"}:
                return None
            continue
        for version in ("v2", "v2beta1"):
            if {f"v={version}", "as=APIGroupDiscoveryList"} <= words:
                return version
    return None


class Discovery:
    """The documents of one set of rows."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._groups: dict[str, dict[str, list[Resource]]] = {}
        for row in resources:
            self._groups.setdefault(row.kind.group, {}).setdefault(row.kind.version, []).append(row)
        for versions in self._groups.values():
            for rows in versions.values():
                rows.sort(key=lambda row: row.kind.plural)  # the order of `kubectl get all`
        self._documents: dict[tuple[str, ...], Document] = {}

    def core(self, address: str) -> Document:
        """Return legacy `/api`; `address` is the `host:port` under which everybody reaches us."""
        body = {
            "kind": "APIVersions",
            "versions": list(self._groups.get("", ())),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }
        return self._document(("core", address), body)

    def groups(self) -> Document:
        """Return legacy `/apis`."""
        groups = [_group(name, list(versions)) for name, versions in self._groups.items() if name]
        return self._document(
            ("groups",), {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        )

    def group(self, name: str) -> Document | None:
        """Return `/apis/G`, or None where there is no such group."""
        versions = self._groups.get(name)
        if not name or versions is None:
            return None
        head = {"kind": "APIGroup", "apiVersion": "v1"}
        return self._document(("group", name), head | _group(name, list(versions)))

    def paths(self) -> list[str]:
        """Return the paths of all legacy documents."""
        found = ["/api", "/apis"]
        for group, versions in self._groups.items():
            root = f"/apis/{group}" if group else "/api"
            found += [root] if group else []
            found += [f"{root}/{version}" for version in versions]
        return found

    def resources(self, group: str, version: str) -> Document | None:
        """Return `/api/V` (group "") or `/apis/G/V`, or None where there is none."""
        rows = self._groups.get(group, {}).get(version)
        if rows is None:
            return None
        entries: list[dict[str, Any]] = []
        for row in rows:
            entries.append(_resource(row))
            entries += [_subresource(row, sub) for sub in row.subresources]
        content = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": rows[0].kind.api_version,
            "resources": entries,
        }
        return self._document(("resources", group, version), content)

    def aggregated(self, version: str, *, core: bool) -> Document:
        """Return aggregated `/api` (core) or `/apis` as v2 or v2beta1."""
        items = [
            _aggregated_group(name, versions)
            for name, versions in self._groups.items()
            if core == (name == "")
        ]
        content = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
        key = ("aggregated", version, "core" if core else "groups")
        return self._document(key, content, _AGGREGATED.format(version))

    def _document(
        self, key: tuple[str, ...], content: dict[str, Any], media: str = "application/json"
    ) -> Document:
        known = self._documents.get(key)
        if known is None:
            known = self._documents[key] = Document(orjson.dumps(content), media)
        return known


@cache
def get_discovery() -> Discovery:
    """Return the documents of this server's own rows."""
    return Discovery((*SERVED, *VIRTUAL, *METRICS))


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _names(row: Resource) -> dict[str, Any]:
    named = {"shortNames": row.short_names, "categories": row.categories}
    return {key: list(value) for key, value in named.items() if value}


def _resource(row: Resource) -> dict[str, Any]:
    entry = {
        "name": row.kind.plural,
        "singularName": row.singular,
        "namespaced": row.kind.namespaced,
        "kind": row.kind.kind,
        "verbs": list(row.verbs),
        **_names(row),
    }
    if row.storage_prefix:
        address = f"{row.kind.group}/{row.kind.version}/{row.kind.kind}"
        digest = hashlib.sha256(address.encode()).digest()
        entry["storageVersionHash"] = b64encode(digest[:8]).decode()
    return entry


def _body(row: Resource, sub: Subresource) -> tuple[str, str, str]:
    return sub.body or (row.kind.group, row.kind.version, row.kind.kind)


def _subresource(row: Resource, sub: Subresource) -> dict[str, Any]:
    group, version, kind = _body(row, sub)
    entry: dict[str, Any] = {
        "name": f"{row.kind.plural}/{sub.name}",
        "singularName": "",
        "namespaced": row.kind.namespaced,
    }
    if (group, version) != (row.kind.group, row.kind.version):
        entry |= {"group": group, "version": version}
    return entry | {"kind": kind, "verbs": list(sub.verbs)}


def _aggregated_group(name: str, versions: dict[str, list[Resource]]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": None},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(row) for row in rows],
                "freshness": "Current",
            }
            for version, rows in versions.items()
        ],
    }


def _aggregated_resource(row: Resource) -> dict[str, Any]:
    entry = {
        "resource": row.kind.plural,
        "responseKind": _address((row.kind.group, row.kind.version, row.kind.kind)),
        "scope": "Namespaced" if row.kind.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
        **_names(row),
    }
    if row.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _address(_body(row, sub)),
                "verbs": list(sub.verbs),
            }
            for sub in row.subresources
        ]
    return entry


def _address(gvk: tuple[str, str, str]) -> dict[str, str]:
    group, version, kind = gvk
    return {"group": group, "version": version, "kind": kind}
