"""The proxy subresource at the REST door: find what is meant, open the way, pass bytes on.

    pods      -> the agent of the pod's node: `/dial`, which becomes a TCP connection to the pod
    services  -> the same for a pod that is a ready endpoint; nobody else is asked
    nodes     -> the agent itself, with our own certificate; another port from here

Over that goes the client's request, without what was meant for us. One connection is made for
each request. Bodies of requests are whole before they come here; all that are on their way may be
`_MOST_HELD` bytes. Answers are passed on at the client's pace.
"""

import ssl
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from random import Random
from urllib.parse import quote

from wherry.api import kinds
from wherry.api.dialing import NODE_HEADER, dial_failure
from wherry.api.errors import (
    BadGatewayError,
    NotFoundError,
    TooManyRequestsError,
    UnavailableError,
)
from wherry.api.objects import Service
from wherry.api.objects.view import Decoder
from wherry.apiserver.gate import Action, Attributes
from wherry.apiserver.http.message import Reply, Request, Response, Stream, Tunnel, Upgrade
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.proxy.html import Page, is_page
from wherry.apiserver.proxy.rewrite import (
    backend_path,
    body_length,
    request_headers,
    response_headers,
    rewrite_link,
    rewrite_url,
    split_path,
)
from wherry.apiserver.proxy.target import (
    Asked,
    Candidate,
    ProxyPod,
    check_address,
    decode_endpoints,
    decode_pod,
    decode_slice,
    no_endpoints,
    of_endpoints,
    of_slices,
    parse_name,
    pod_port,
    port_number,
    service_port,
    unreachable,
)
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.tunnel.agent import (
    AgentAddress,
    AgentConnection,
    AgentResponse,
    Dialer,
    exchange,
)
from wherry.apiserver.tunnel.agent import request as ask_agent
from wherry.apiserver.tunnel.door import relay
from wherry.apiserver.tunnel.pod import decode_node
from wherry.apiserver.verbs import Context, ListOptions, User, Verbs

_POD, _NODE, _SERVICE = BY_KIND[kinds.POD], BY_KIND[kinds.NODE], BY_KIND[kinds.SERVICE]
_SLICE, _ENDPOINTS = BY_KIND[kinds.ENDPOINT_SLICE], BY_KIND[kinds.ENDPOINTS]
_MOST_HELD = 64 << 20
_HANDSHAKE_S = 10.0
_NO_BODY = (204, 304)
_ENCODING = "content-encoding"
_DIAL = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
_decode_service = Decoder(Service)


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach what is meant; `pod` (`NAMESPACE/NAME`) is dialled by the agent.

    Without an agent it is dialled from here, with an agent and no pod the agent itself is meant.
    """

    host: str
    port: int
    secure: bool = False
    agent: AgentAddress | None = None
    pod: str = ""


class Proxies:
    """Answers requests for `proxy`.

    Args:
        verbs: Where the objects are.
        dialer: Connects to agents.
        direct: Connects to what is no agent.
        metrics: Counts what is open.
        rng: Chooses among endpoints; without one, they are asked in order.
    """

    def __init__(
        self, verbs: Verbs, dialer: Dialer, direct: Dialer, metrics: Metrics, rng: Random | None
    ) -> None:
        self._verbs = verbs
        self._dialer = dialer
        self._direct = direct
        self._metrics = metrics
        self._shuffle = rng.shuffle if rng is not None else _as_they_are
        self._held = 0

    async def connect(self, action: Action, req: Request, user: User) -> Reply:
        """Pass a request on, and the answer back.

        Raises:
            StatusError: nobody can be asked.
        """
        path, _, query = req.target.partition("?")
        prefix, rest = split_path(path, namespaced=action.resource.kind.namespaced)
        asked = parse_name(action.name, action.resource.singular)
        way = await self._way(action, asked, user)
        if not rest and req.method in ("GET", "HEAD") and not req.upgrade:
            where = f"{prefix}/?{query}" if query else f"{prefix}/"
            return Response(301, content_type="", headers=[("Location", where)])
        path = backend_path(rest or "/")
        headers = request_headers(
            req.header_lines,
            method=req.method,
            body_bytes=len(req.body),
            client=req.peer.address,
            uri=prefix + path,
            upgrade=req.headers.get("upgrade", "") if req.upgrade else "",
        )
        if way.agent is not None and not way.pod:
            headers.append((NODE_HEADER, way.agent.node))
        target = f"{path}?{query}" if query else path
        with self._hold(len(req.body)):
            answer = await self._ask(way, req.method, target, headers, req.body)
        if answer.status == 101:
            return self._upgraded(answer, action.attributes, asked_for=req.upgrade)
        hosts = (f"{way.host}:{way.port}", way.host, req.headers.get("host", ""))
        return await self._answered(answer, action.attributes, req, prefix, hosts)

    @contextmanager
    def _hold(self, size: int) -> Iterator[None]:
        """Account for the body of a request while it is kept."""
        if size and self._held + size > _MOST_HELD:
            raise TooManyRequestsError("too many requests, please try again later", retry_after_s=1)
        self._held += size
        try:
            yield
        finally:
            self._held -= size

    # -- where ------------------------------------------------------------------------------

    async def _way(self, action: Action, asked: Asked, user: User) -> Way:
        ctx = Context(user)
        if action.resource is _NODE:
            return await self._to_node(ctx, asked)
        if action.resource is _SERVICE:
            return await self._to_service(ctx, action.namespace, asked)
        pod = decode_pod(await self._verbs.get(ctx, _POD, action.namespace, asked.name))
        address = next(iter(pod.addresses), "")
        return await self._to_pod(ctx, pod, address, pod_port(pod, asked), asked)

    async def _to_node(self, ctx: Context, asked: Asked) -> Way:
        host, port = await self._agent(ctx, asked.name)
        if asked.port in ("", str(port)):
            return Way(host, port, agent=AgentAddress(asked.name, host, port))
        check_address(host)
        return Way(host, port_number(asked.port), asked.secure)

    async def _agent(self, ctx: Context, node: str) -> tuple[str, int]:
        host, port = decode_node(await self._verbs.get(ctx, _NODE, "", node)).address
        if not host:
            raise unreachable(f"node {node} has no address")
        return host, port

    async def _to_pod(
        self, ctx: Context, pod: ProxyPod, address: str, port: int, asked: Asked
    ) -> Way:
        check_address(address)
        node = pod.spec.node_name
        try:
            agent = AgentAddress(node, *await self._agent(ctx, node))
        except NotFoundError as error:
            raise unreachable(f"no such node {node}") from error
        where = f"{quote(pod.metadata.namespace)}/{quote(pod.metadata.name)}"
        return Way(address, port, asked.secure, agent, where)

    async def _to_service(self, ctx: Context, namespace: str, asked: Asked) -> Way:
        service = _decode_service(await self._verbs.get(ctx, _SERVICE, namespace, asked.name))
        port = service_port(service.spec.ports, asked)
        found = await self._candidates(ctx, namespace, asked.name, port)
        self._shuffle(found)
        for one in found:
            way = await self._to_endpoint(ctx, namespace, one, asked)
            if way is not None:
                return way
        raise no_endpoints(asked.name)

    async def _candidates(
        self, ctx: Context, namespace: str, service: str, port: str
    ) -> list[Candidate]:
        options = ListOptions(labels=f"kubernetes.io/service-name={service}")
        page = await self._verbs.list(ctx, _SLICE, namespace, options)
        found = of_slices((decode_slice(raw) for raw in page.items), port, namespace)
        if found or page.items:
            return found
        try:  # a cluster without the controller that makes slices
            raw = await self._verbs.get(ctx, _ENDPOINTS, namespace, service)
        except NotFoundError:
            return []
        return of_endpoints(decode_endpoints(raw), port, namespace)

    async def _to_endpoint(
        self, ctx: Context, namespace: str, one: Candidate, asked: Asked
    ) -> Way | None:
        """Return the way to an endpoint, None where its pod is gone or has another address."""
        try:
            pod = decode_pod(await self._verbs.get(ctx, _POD, namespace, one.pod))
        except NotFoundError:
            return None
        if one.address not in pod.addresses:
            return None
        return await self._to_pod(ctx, pod, one.address, one.port, asked)

    # -- there and back ---------------------------------------------------------------------

    async def _ask(
        self, way: Way, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> AgentResponse:
        try:
            connection = await self._open(way)
            return await exchange(connection, method, target, headers, body)
        except UnavailableError as error:
            raise unreachable(str(error)) from error
        except BadGatewayError as error:
            raise unreachable(error.message.removeprefix("error dialing backend: ")) from error

    async def _open(self, way: Way) -> AgentConnection:
        """Connect, with TLS where it is asked for.

        Raises:
            BadGatewayError, UnavailableError: it cannot be.
        """
        if way.agent is None:
            connection = await self._direct.dial(AgentAddress("", way.host, way.port))
        elif way.pod:
            target = f"/dial/{way.pod}?port={way.port}"
            answer = await ask_agent(self._dialer, way.agent, "GET", target, _DIAL)
            if answer.status != 101:
                raise UnavailableError(str((await answer.refusal()).get("message", "")))
            connection = answer.connection
        else:
            return await self._dialer.dial(way.agent)
        if way.secure:
            try:
                await connection.writer.start_tls(
                    _trusting(), server_hostname=way.host, ssl_handshake_timeout=_HANDSHAKE_S
                )
            except (OSError, EOFError) as error:
                connection.writer.transport.abort()
                raise UnavailableError(dial_failure(error)) from error
            except BaseException:
                connection.writer.transport.abort()
                raise
        return connection

    def _upgraded(self, answer: AgentResponse, asked: Attributes, *, asked_for: bool) -> Reply:
        if not asked_for:
            answer.connection.writer.transport.abort()
            raise BadGatewayError("the backend switched protocols, and was not asked to")

        async def run(tunnel: Tunnel) -> None:
            self._metrics.opened("rest", asked)
            try:
                await tunnel.write(answer.head)
                await relay(tunnel, answer.connection)
            finally:
                answer.connection.writer.close()
                self._metrics.closed("rest", asked)

        return Upgrade(run)

    async def _answered(
        self,
        answer: AgentResponse,
        asked: Attributes,
        req: Request,
        prefix: str,
        hosts: tuple[str, ...],
    ) -> Reply:
        try:
            headers = [
                (name, rewrite_url(value, prefix, hosts) if name.lower() == "location" else value)
                for name, value in response_headers(answer.headers)
            ]
        except BaseException:
            answer.connection.writer.transport.abort()
            raise
        if req.method == "HEAD" or answer.status in _NO_BODY:
            answer.connection.writer.close()
            if answer.status in _NO_BODY:
                return Response(answer.status, content_type="", headers=headers)
            length = None if is_page(answer.status, headers) else body_length(answer.headers)
            return Stream(
                _nothing(), answer.status, content_type="", headers=headers, length=length
            )
        page, length = None, body_length(answer.headers)
        if is_page(answer.status, headers):
            gzipped = any(name.lower() == _ENCODING for name, _ in headers)
            page = Page(partial(rewrite_link, prefix=prefix, hosts=hosts), gzipped=gzipped)
            headers = [(name, value) for name, value in headers if name.lower() != _ENCODING]
            length = None
        pieces = self._pieces(answer, asked, len(req.body), page)
        await anext(pieces)  # it has begun, so that its end comes, whatever becomes of the client
        return Stream(pieces, answer.status, content_type="", headers=headers, length=length)

    async def _pieces(
        self, answer: AgentResponse, asked: Attributes, held: int, page: Page | None
    ) -> AsyncGenerator[bytes, None]:
        self._metrics.opened("rest", asked)
        body = answer.body()
        try:
            with self._hold(held):  # the end of it may not have been sent yet
                yield b""
                async for piece in body:
                    for passed in (piece,) if page is None else page.feed(piece):
                        yield passed
                if page is not None:
                    yield page.end()
        finally:
            await body.aclose()
            answer.connection.writer.close()
            self._metrics.closed("rest", asked)


async def _nothing() -> AsyncGenerator[bytes, None]:
    yield b""


def _as_they_are(_order: list[Candidate]) -> None:
    """Leave an order alone."""


@cache
def _trusting() -> ssl.SSLContext:
    """Return a context that believes every certificate, as upstream's proxy does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
