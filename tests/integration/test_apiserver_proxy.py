"""The proxy subresource through a real door and a real agent's server, to a scripted backend."""

from pathlib import Path

import pytest
from proxy_world import (
    ProxyWorld,
    in_proxy_world,
)

pytestmark = pytest.mark.integration

NAMESPACE = "/api/v1/namespaces/a"
POD = f"{NAMESPACE}/pods/p/proxy"


def test_a_pod_is_asked_through_its_agent(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        status, headers, body = await w.ask(f"{POD}/x/y?a=1&b=%20", "X-Own: 7", "Cookie: c=1")
        assert (status, body) == (200, b"hello")
        assert headers["content-type"] == "text/plain"
        assert w.dialled == ["/dial/a/p?port=8080"]
        assert w.backend.heads[0].startswith("GET /x/y?a=1&b=%20 HTTP/1.1\r\n")
        told = {n: w.backend.header(n) for n in ("host", "x-own", "cookie", "x-forwarded-uri")}
        assert told == {
            "host": "api:6443",
            "x-own": "7",
            "cookie": "c=1",
            "x-forwarded-uri": f"{POD}/x/y",
        }
        assert w.backend.header("x-forwarded-for") == "127.0.0.1"

    in_proxy_world(tmp_path, story)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_and_its_verb(tmp_path: Path, method: str) -> None:
    async def story(w: ProxyWorld) -> None:
        body = b"" if method in ("GET", "OPTIONS") else b"sent"
        assert (await w.ask(f"{POD}/m", method=method, body=body))[::2] == (200, b"hello")
        assert w.backend.heads[0].startswith(f"{method} /m HTTP/1.1\r\n")
        assert w.backend.bodies == [body]
        asked = w.gate.asked[-1]
        verbs = {"POST": "create", "PUT": "update", "OPTIONS": ""}
        assert asked.verb == verbs.get(method, method.lower())
        assert (asked.resource, asked.subresource, asked.name) == ("pods", "proxy", "p")

    in_proxy_world(tmp_path, story)


def test_who_may_not_proxy_reaches_nobody(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.gate.forbidden.add(("admin", "get"))
        status, message = await w.message(f"{POD}/x")
        assert status == 403
        assert 'cannot get resource "pods/proxy" in API group "" in the namespace "a"' in message
        assert w.dialled == []

    in_proxy_world(tmp_path, story)
