"""The REST door: authenticate, find out what is wanted, authorize, perform, count."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

import orjson

from wherry.api.clock import Clock
from wherry.api.errors import (
    BadRequestError,
    MethodNotAllowedError,
    NotFoundError,
    StatusError,
    TimeoutStatusError,
    UnauthorizedError,
)
from wherry.apiserver import metrics_kinds
from wherry.apiserver.asked import not_allowed
from wherry.apiserver.certified import Certified
from wherry.apiserver.decode import decode_object
from wherry.apiserver.discovery import VIRTUAL
from wherry.apiserver.duration import parse_duration
from wherry.apiserver.gate import Action, Gate, authorize, bearer, websocket_bearer
from wherry.apiserver.http.handling import OUT_OF_TIME
from wherry.apiserver.http.message import (
    NO_CACHE,
    TEXT,
    Reply,
    Request,
    Response,
    Upgrade,
    status_response,
)
from wherry.apiserver.impersonation import impersonation
from wherry.apiserver.metrics import NO_RESOURCE, Metrics, address_of
from wherry.apiserver.proxy.door import Proxies
from wherry.apiserver.resources import BY_ADDRESS, Resource
from wherry.apiserver.rest.action import STREAMS, action_of
from wherry.apiserver.rest.documents import HEALTH, PUBLIC, Documents
from wherry.apiserver.rest.info import READS, request_info
from wherry.apiserver.rest.objects import Objects
from wherry.apiserver.rest.path import PROXY, Paths, Route
from wherry.apiserver.rest.pretty import indented, is_for_people
from wherry.apiserver.rest.query import Query
from wherry.apiserver.rest.render import warning_header
from wherry.apiserver.reviews import Reviews
from wherry.apiserver.schema import normalize
from wherry.apiserver.tunnel.agent import Dialer, TcpDialer
from wherry.apiserver.tunnel.door import PodStreams
from wherry.apiserver.usage import NodeUsage
from wherry.apiserver.verbs import ANONYMOUS, User, Verbs

log = logging.getLogger(__name__)

_REVIEWS = {(r.kind.group, r.kind.version, r.kind.plural): r for r in VIRTUAL}
_CRDS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_NO_CRDS = orjson.dumps(
    {
        "kind": "CustomResourceDefinitionList",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"resourceVersion": "0"},
        "items": [],
    }
)
"""There are none. kubectl lists them before it says that a kind is unknown."""
_CLUSTER_INFO = ("api", "v1", "namespaces", "kube-public", "configmaps", "cluster-info")
"""The one object that authorization may show to who is nobody yet."""
_METRICS = ("apis", metrics_kinds.GROUP, metrics_kinds.VERSION)
_APPLY = "apply-patch"
_CERTIFIED = "certified"


class RestDoor:
    """The `Handler` of the HTTP server."""

    def __init__(
        self,
        verbs: Verbs,
        gate: Gate,
        documents: Documents,
        *,
        dialer: Dialer,
        clock: Clock,
        metrics: Metrics,
        resources: Mapping[tuple[str, str, str], Resource] = BY_ADDRESS,
        watch_s: Callable[[], float | None] = lambda: None,
        direct: Dialer | None = None,
        rng: Random | None = None,
    ) -> None:
        """Build one.

        Args:
            verbs: What can be done.
            gate: Who is who and who may what.
            documents: What is not an object.
            dialer: Connects to agents.
            clock: The time.
            metrics: Counters.
            resources: The kinds that are served.
            watch_s: Tells how long a watch lasts whose client does not say.
            direct: Connects to what is proxied and behind no agent; by TCP.
            rng: Chooses among endpoints of a proxied Service; without one, the first is asked.
        """
        self._gate = gate
        self._documents = documents
        self._objects = Objects(verbs, gate, clock, metrics, watch_s)
        self._streams = PodStreams(verbs, dialer, metrics)
        self._proxies = Proxies(verbs, dialer, direct or TcpDialer(), metrics, rng)
        self._reviews = Reviews(gate, clock)
        self._usage = NodeUsage(verbs, gate, dialer)
        self._clock = clock
        self._metrics = metrics
        self._paths = Paths(resources)

    async def __call__(self, request: Request) -> Reply:
        """Answer one request; a refusal is an answer too."""
        began = self._clock.monotonic()
        user = ANONYMOUS
        verb, address, deprecated = request.method.lower(), NO_RESOURCE, ""
        path, _, raw_query = request.target.partition("?")
        try:
            parts = self._paths.split(path)
            public = parts[0] in PUBLIC or parts == _CLUSTER_INFO
            user = await self._user(request, public=public)
            user = self._acting(user, request)
            query = Query(raw_query)
            route = self._paths.route(path, parts)
            reply: Reply
            if route is None:
                async with _allotted(query):
                    reply = await self._other(parts, request, query, user)
            else:
                action = self._action(request, route, parts, query, user)
                asked = action.attributes
                verb, address = action.verb, address_of(asked)
                if verb == "patch" and _APPLY in request.headers.get("content-type", ""):
                    verb = "apply"
                authorize(self._gate, user, asked)
                deprecated = action.resource.deprecated
                reply = await self._perform(action, request, query, user)
        except StatusError as error:
            # A client that renewed its certificate shows it on a new connection only.
            outdated = isinstance(error, UnauthorizedError) and request.peer.certificate is not None
            reply = status_response(error, close=outdated)
        if deprecated and not isinstance(reply, Upgrade):
            reply.headers = [("Warning", warning_header(deprecated)), *reply.headers]
        people = is_for_people(raw_query, request.headers.get("user-agent", ""))
        if people and path.startswith("/api") and PROXY not in address:
            reply = indented(reply)
        code = 101 if not hasattr(reply, "status") else reply.status
        seconds = self._clock.monotonic() - began
        self._metrics.count("rest", verb, address, code, seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s %s %d",
                request.method,
                path,
                code,
                extra={"user": user.name, "seconds": seconds},
            )
        return reply

    async def _user(self, request: Request, *, public: bool) -> User:
        """Return who asks; whom the connection's certificate names is remembered while it is valid."""
        peer = request.peer
        known: Certified | None = peer.cache.get(_CERTIFIED)
        if known is not None and self._clock.now() <= known.until_s:
            return known.user
        given = request.headers.get("authorization")
        token = bearer(given) if given else ""
        if request.upgrade and not token:
            token = websocket_bearer(request.headers.get("sec-websocket-protocol", ""))
        if not token and peer.certificate is None:
            if public:
                return ANONYMOUS
            raise UnauthorizedError("Unauthorized")
        user = await self._gate.authenticate(peer.certificate, token)
        if not token and peer.certificate is not None:
            peer.cache[_CERTIFIED] = self._gate.certified(peer.certificate)
        return user

    def _acting(self, user: User, request: Request) -> User:
        """Return whom the user acts as: nearly always themselves."""
        wanted = impersonation(request.header_lines)
        if wanted is None:
            return user
        for attributes in wanted.needed:
            authorize(self._gate, user, attributes)
        return wanted.user

    def _action(
        self, request: Request, route: Route, parts: Sequence[str], query: Query, user: User
    ) -> Action:
        try:
            return action_of(request.method, route, query)
        except MethodNotAllowedError:
            authorize(self._gate, user, request_info(request.method, parts, query))
            raise

    async def _perform(self, action: Action, request: Request, query: Query, user: User) -> Reply:
        if action.subresource == PROXY:
            return await self._proxies.connect(action, request, user)
        if action.subresource in STREAMS:
            return await self._streams.connect(action, request, query, user)
        if action.subresource == "log":
            return await self._streams.log(action, query, user)
        if action.verb == "watch" or not query.text("timeout"):
            return await self._objects.perform(action, request, query, user)
        async with _allotted(query):
            return await self._objects.perform(action, request, query, user)

    async def _other(
        self, parts: Sequence[str], request: Request, query: Query, user: User
    ) -> Response:
        asked = request_info(request.method, parts, query)
        reads = request.method in READS
        if not (reads and parts[0] in PUBLIC):
            authorize(self._gate, user, asked)
        if (row := _review_row(parts)) is not None:
            return await self._review(row, asked.namespace, request, user)
        if tuple(parts[:3]) == _METRICS and len(parts) > 3:
            body = await self._usage.answer(parts[3:], request.method, query, user)
            return Response(body=body, headers=[NO_CACHE])
        if reads and tuple(parts[1:]) == _CRDS:
            return Response(body=_NO_CRDS, headers=[NO_CACHE])
        try:
            answer = await self._documents.answer(parts, request, query)
        except NotFoundError:
            if parts[0] in ("api", "apis"):
                raise
            return Response(404, b"404 page not found\n", TEXT, [NO_CACHE])
        if not reads and parts[0] not in HEALTH:
            raise not_allowed()
        return answer

    async def _review(
        self, row: Resource, namespace: str, request: Request, user: User
    ) -> Response:
        if request.method != "POST":
            raise not_allowed()
        content_type = request.headers.get("content-type", "")
        decoded, _ = decode_object(request.body, content_type, row.kind)
        obj, _ = normalize(row.kind, decoded, "Ignore")
        answered = await self._reviews.answer(row.kind.kind, obj, user, namespace)
        return Response(201, orjson.dumps(answered), headers=[NO_CACHE])


def _review_row(parts: Sequence[str]) -> Resource | None:
    """Return the review that a path asks: `/apis/G/V/[namespaces/NS/]PLURAL`."""
    if len(parts) not in (4, 6) or (len(parts) == 6 and parts[3] != "namespaces"):
        return None
    row = _REVIEWS.get((parts[1], parts[2], parts[-1]))
    return row if row is not None and row.kind.namespaced == (len(parts) == 6) else None


@asynccontextmanager
async def _allotted(query: Query) -> AsyncIterator[None]:
    """Give up when the client no longer waits; the server's own timeout is the HTTP server's.

    Raises:
        BadRequestError: the client names a time that is none.
        TimeoutStatusError: it is over.
    """
    try:
        timeout_s = parse_duration(query.text("timeout") or "0")
    except ValueError as error:
        why = f"invalid timeout specified in the request URL - {error}"
        raise BadRequestError(why) from error
    try:
        async with asyncio.timeout(timeout_s if timeout_s > 0 else None):
            yield
    except TimeoutError as error:
        raise TimeoutStatusError(OUT_OF_TIME) from error
