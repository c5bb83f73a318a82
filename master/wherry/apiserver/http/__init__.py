"""HTTP/1.1 on asyncio and httptools: as much of a web server as the Kubernetes API needs.

`parser` turns bytes into `Request` values and refuses what is malformed, ambiguous or too
large; `connection` keeps one client: requests in order, answers in order, streams, upgrades
(`handling` asks the handler, `encode` renders its answers, `output` sends them at its pace,
`upgraded` is what it becomes by an upgrade, `deadlines` knows what it is waited for); `server`
listens, looks at the deadlines of all connections and drains. What a request *means* is the handler's
(`wherry.apiserver.rest`): an async function from `Request` to `Response`, `Stream` or `Upgrade`
(`message`).

Why not a framework: docs/adr/0020.
"""

from wherry.apiserver.http.message import (
    Handler,
    Limits,
    Peer,
    Reply,
    Request,
    Response,
    Stream,
    Tunnel,
    Upgrade,
)
from wherry.apiserver.http.server import HttpServer

__all__ = [
    "Handler",
    "HttpServer",
    "Limits",
    "Peer",
    "Reply",
    "Request",
    "Response",
    "Stream",
    "Tunnel",
    "Upgrade",
]
