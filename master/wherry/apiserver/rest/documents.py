"""What is served besides objects: discovery, OpenAPI, version, health, metrics, token keys."""

import asyncio
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Final, TypeVar

import orjson
from prometheus_client import REGISTRY, generate_latest

from wherry.api import version
from wherry.api.clock import Clock
from wherry.api.errors import NotAcceptableError, NotFoundError
from wherry.apiserver.discovery import Discovery, aggregated_version
from wherry.apiserver.document import Document
from wherry.apiserver.http.message import NO_CACHE, Request, Response
from wherry.apiserver.openapi import OpenApi
from wherry.apiserver.rest.health import PING, health, single
from wherry.apiserver.rest.query import Query
from wherry.apiserver.tokens import TokenIssuer

VERSION: Final = {
    "major": version.MAJOR,
    "minor": version.MINOR,
    "emulationMajor": "1",
    "emulationMinor": "33",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "32",
    "gitVersion": version.KUBERNETES,
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
"""The Kubernetes version whose API this is. Clients choose what they send by it, and where
Google's SDK is installed even which kubectl runs."""
HEALTH: Final = frozenset({"healthz", "livez", "readyz"})
PUBLIC: Final = HEALTH | {"version"}
"""First segments of paths that need no identity (`system:public-info-viewer`)."""
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_YEAR_S = 365 * 24 * 3600
_CONFIGURATION = "/.well-known/openid-configuration"
_KEYS = "/openid/v1/jwks"
_KEYS_TYPE = "application/jwk-set+json"
_PATHS: Final = ("/metrics", "/openapi/v2", "/openapi/v3", "/version")
D = TypeVar("D")
Checks = Callable[[], dict[str, str]]


class Documents:
    """Answers GET of everything that is not a resource.

    Args:
        discovery: Discovery documents.
        openapi: OpenAPI documents; they are computed at first use, beside the event loop.
        clock: For `Expires`.
        checks: Readiness: by name what is wrong, "" if nothing is.
        issuer: Whose tokens can be verified by what is published here; None: nobody's.
        address: `host:port` under which strangers reach us.
    """

    def __init__(
        self,
        discovery: Discovery,
        openapi: OpenApi,
        *,
        clock: Clock,
        checks: Checks,
        issuer: TokenIssuer | None = None,
        address: str = "",
    ) -> None:
        self._discovery = discovery
        self._openapi = openapi
        self._clock = clock
        self._checks = checks
        # Strangers look for an issuer's documents where its name says, and only by https.
        self._issuer = issuer if issuer and issuer.url.startswith("https://") else None
        self._address = address
        self._computing = asyncio.Lock()

    async def answer(self, parts: Sequence[str], request: Request, query: Query) -> Response:
        """Answer by path segments.

        Raises:
            NotFoundError: nothing is there.
        """
        match list(parts):
            case ["" | "index.html" | "version" as name]:
                content = VERSION if name == "version" else {"paths": self._paths()}
                return Response(body=orjson.dumps(content), headers=[NO_CACHE])
            case ["healthz" | "livez" | "readyz" as name, *rest]:
                return self._health(name, rest, query)
            case [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"]:
                return self._issuer_document("/" + "/".join(parts))
            case ["metrics"]:
                return Response(200, generate_latest(REGISTRY), _METRICS, [NO_CACHE])
            case ["openapi", *rest]:
                return await self._openapi_document(rest, request, query)
            case ["api" | "apis", *_]:
                return self._discover(list(parts), request)
            case _:
                raise _nothing_here()

    def _paths(self) -> list[str]:
        checks = [PING, *self._checks()]
        found = [*_PATHS, *self._discovery.paths()]
        found += [f"/{each}" for each in HEALTH]
        found += [f"/{each}/{check}" for each in HEALTH for check in checks]
        return sorted([*found, *([_CONFIGURATION, _KEYS] if self._issuer is not None else [])])

    def _health(self, name: str, rest: Sequence[str], query: Query) -> Response:
        checks = {PING: "", **self._checks()}
        return single("/".join(rest), checks) if rest else health(name, checks, query)

    def _issuer_document(self, path: str) -> Response:
        """Answer what strangers verify ServiceAccount tokens with (OpenID Connect discovery)."""
        if self._issuer is None:
            raise _nothing_here()
        headers = [("Cache-Control", "public, max-age=3600")]
        if path == _KEYS:
            return Response(200, orjson.dumps(self._issuer.keys()), _KEYS_TYPE, headers)
        return Response(
            body=orjson.dumps(self._issuer.configuration(self._address)), headers=headers
        )

    def _discover(self, parts: Sequence[str], request: Request) -> Response:
        version = aggregated_version(request.headers.get("accept", ""))
        found: Document | None
        match parts:
            case ["api" | "apis"] if version is not None:
                found = self._discovery.aggregated(version, core=parts[0] == "api")
            case ["api"]:
                found = self._discovery.core(self._address)
            case ["apis"]:
                found = self._discovery.groups()
            case ["apis", group]:
                found = self._discovery.group(group)
            case ["api", version_name]:
                found = self._discovery.resources("", version_name)
            case ["apis", group, version_name]:
                found = self._discovery.resources(group, version_name)
            case _:
                found = None
        if found is None:
            raise _nothing_here()
        return self._document(found, request, immutable=False)

    async def _openapi_document(
        self, rest: Sequence[str], request: Request, query: Query
    ) -> Response:
        accept = request.headers.get("accept", "")
        if rest[:1] == ["v2"] and len(rest) == 1:
            protobuf = "proto" in accept
            make = self._openapi.v2_protobuf if protobuf else self._openapi.v2_json
            return self._document(await self._compute(make), request, immutable=False)
        if rest[:1] != ["v3"]:
            raise _nothing_here()
        if "protobuf" in accept and "json" not in accept and "*/*" not in accept:
            raise NotAcceptableError("OpenAPI v3 is served as application/json only")
        if len(rest) == 1:
            root = await self._compute(self._openapi.root)
            return self._document(root, request, immutable=False)
        path = "/".join(rest[1:])
        document = await self._compute(lambda: self._openapi.group_version(path))
        if document is None:
            raise _nothing_here()
        immutable = query.text("hash") == document.hash
        return self._document(document, request, immutable=immutable)

    async def _compute(self, make: Callable[[], D]) -> D:
        """Compute a document in a thread: it takes long the first time, and others must not wait."""
        async with self._computing:
            return await asyncio.to_thread(make)

    def _document(self, document: Document, request: Request, *, immutable: bool) -> Response:
        headers = [("ETag", document.etag), ("Vary", "Accept, Accept-Encoding")]
        if immutable:  # the hash is in the URL: kubectl keeps it on disk for ever
            expires = formatdate(self._clock.now() + _YEAR_S, usegmt=True)
            headers += [("Cache-Control", "public, immutable"), ("Expires", expires)]
        else:
            headers.append(NO_CACHE)
        if request.headers.get("if-none-match") == document.etag:
            return Response(304, b"", "", headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers.append(("Content-Encoding", "gzip"))
            return Response(200, document.gzipped, document.content_type, headers)
        return Response(200, document.body, document.content_type, headers)


def _nothing_here() -> NotFoundError:
    return NotFoundError("the server could not find the requested resource")
