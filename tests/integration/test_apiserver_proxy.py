"""Whom the proxy subresource asks, and for what: a real door and agent's server, a scripted backend."""

import gzip
from pathlib import Path

import pytest
from proxy_world import (
    NAMESPACE,
    POD,
    POD_IP,
    ProxyWorld,
    endpoint,
    endpoint_slice,
    in_proxy_world,
    pod,
    service,
)
from scripted_server import NONSENSE

pytestmark = pytest.mark.integration


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


SECRETS = ("Authorization: Bearer secret", "Impersonate-User: eve", "Impersonate-Group: system:masters",
           "X-Node-Name: n9", "X-Forwarded-Uri: /lie", "Keep-Alive: 5", "X-Hop: 1", "TE: gzip")  # fmt: skip


def test_what_is_for_us_is_not_passed_on(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        hop = "Proxy-Connection: x-hop"
        assert (await w.ask(f"{POD}/", *SECRETS, hop, "Connection: X-Hop"))[0] == 200
        sent = w.backend.heads[0].lower()
        for gone in ("secret", "impersonate", "eve", "n9", "/lie", "x-hop", "keep-alive", "te:"):
            assert gone not in sent, gone
        assert w.backend.header("connection") == "close"
        assert "authorization" not in sent

    in_proxy_world(tmp_path, story)


def test_a_path_without_a_slash_is_redirected(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        status, headers, body = await w.ask(f"{POD}?a=b")
        assert (status, headers["location"], body) == (301, f"{POD}/?a=b", b"")
        assert (await w.ask(POD, method="HEAD"))[1]["location"] == f"{POD}/"
        assert w.backend.heads == []
        assert (await w.ask(POD, method="POST", body=b"x"))[0] == 200
        assert w.backend.target == "/"

    in_proxy_world(tmp_path, story)


LOCATIONS = [
    ("/login?next=%2F", f"{POD}/login?next=%2F"),
    ("http://api:6443/login", f"{POD}/login"),
    (f"http://{POD_IP}:8080/a/", f"{POD}/a/"),
    ("https://example.com/a", "https://example.com/a"),
    ("next", "next"),
    (f"{POD}/there", f"{POD}/there"),
]


@pytest.mark.parametrize(("said", "told"), LOCATIONS)
def test_redirects_of_the_backend_lead_through_the_proxy(
    tmp_path: Path, said: str, told: str
) -> None:
    async def story(w: ProxyWorld) -> None:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {said}\r\nContent-Length: 0\r\n\r\n"
        w.backend.answer = answer.encode()
        status, headers, _ = await w.ask(f"{POD}/")
        assert (status, headers["location"]) == (302, told)

    in_proxy_world(tmp_path, story)


@pytest.mark.parametrize("gzipped", [False, True])
def test_links_of_a_page_lead_through_the_proxy(tmp_path: Path, gzipped: bool) -> None:
    async def story(w: ProxyWorld) -> None:
        page = (
            b'<html><a href="/x?a=1&amp;b=2">x</a><a href="http://[">y</a><img src=z></html>' * 5000
        )
        body = gzip.compress(page) if gzipped else page
        encoding = b"Content-Encoding: gzip\r\n" if gzipped else b""
        w.backend.answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n%b"
            b"Content-Length: %d\r\n\r\n%b" % (encoding, len(body), body)
        )
        status, headers, told = await w.ask(f"{POD}/", "Accept-Encoding: gzip")
        assert (status, "content-encoding" in headers) == (200, False)
        assert headers["transfer-encoding"] == "chunked"
        assert "content-length" not in headers
        assert told == page.replace(b'"/x', f'"{POD}/x'.encode())

    in_proxy_world(tmp_path, story)


PORTS = [{"name": "web", "port": 80}, {"name": "admin", "port": 9000}]
SLICE_PORTS = [{"name": "web", "port": 8080}, {"name": "admin", "port": 9999}]


@pytest.mark.parametrize(
    ("name", "dialled"),
    [
        ("s:web", "/dial/a/p?port=8080"),
        ("s:80", "/dial/a/p?port=8080"),
        ("s%3A80", "/dial/a/p?port=8080"),
        ("http:s:admin", "/dial/a/p?port=9999"),
        ("s", "/dial/a/p?port=8080"),
    ],
)
def test_a_service_is_a_ready_pod(tmp_path: Path, name: str, dialled: str) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", *PORTS)
        unready = endpoint("10.1.1.1", "q", conditions={"ready": False})
        moved = endpoint("10.9.9.8")
        foreign = {
            "addresses": [POD_IP],
            "targetRef": {"kind": "Pod", "namespace": "b", "name": "p"},
        }
        w.verbs.objects["endpointslices", "a", "s1"] = endpoint_slice(
            SLICE_PORTS, unready, endpoint("10.1.1.2", "gone"), moved, foreign, endpoint()
        )
        status, _, body = await w.ask(f"{NAMESPACE}/services/{name}/proxy/x")
        assert (status, body) == (200, b"hello")
        assert w.dialled == [dialled]
        assert (w.gate.asked[-1].resource, w.gate.asked[-1].subresource) == ("services", "proxy")

    in_proxy_world(tmp_path, story)


def test_an_endpoint_that_its_pod_has_left_is_not_asked(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", *PORTS)
        left = endpoint("10.9.9.8")
        w.verbs.objects["endpointslices", "a", "s1"] = endpoint_slice(SLICE_PORTS, left)
        status, message = await w.message(f"{NAMESPACE}/services/s/proxy/")
        assert (status, message) == (503, 'no endpoints available for service "s"')
        w.verbs.objects["pods", "a", "p"]["status"]["podIPs"].append({"ip": "10.9.9.8"})
        assert (await w.ask(f"{NAMESPACE}/services/s/proxy/"))[0] == 200

    in_proxy_world(tmp_path, story)


def test_endpoints_count_where_there_are_no_slices(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", {"port": 80})
        address = {"ip": POD_IP, "targetRef": endpoint()["targetRef"]}
        subsets = [{"addresses": [address], "ports": [{"port": 8081}]}]
        w.verbs.objects["endpoints", "a", "s"] = {"subsets": subsets}
        assert (await w.ask(f"{NAMESPACE}/services/s/proxy/"))[::2] == (200, b"hello")
        assert w.dialled == ["/dial/a/p?port=8081"]
        w.verbs.objects["endpointslices", "a", "s1"] = endpoint_slice([{"port": 82}])
        status, message = await w.message(f"{NAMESPACE}/services/s/proxy/")
        assert (status, message) == (503, 'no endpoints available for service "s"')

    in_proxy_world(tmp_path, story)


def test_an_endpoint_without_a_pod_is_not_asked(tmp_path: Path) -> None:
    """Who writes endpoints would reach by them what the API server can."""

    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", {"port": 80})
        subsets = [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 81}]}]
        w.verbs.objects["endpoints", "a", "s"] = {"subsets": subsets}
        refused = (503, 'no endpoints available for service "s"')
        assert await w.message(f"{NAMESPACE}/services/s/proxy/") == refused
        bare = endpoint_slice([{"name": "", "port": 83}], endpoint("192.0.2.8", ""))
        w.verbs.objects["endpointslices", "a", "s1"] = bare
        assert await w.message(f"{NAMESPACE}/services/s/proxy/") == refused
        assert (w.dialled, w.direct.asked) == ([], [])

    in_proxy_world(tmp_path, story)


def test_every_endpoint_is_asked_in_the_end(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", {"port": 80})
        for n in range(3):
            w.verbs.objects["pods", "a", f"p{n}"] = pod(f"p{n}", f"10.9.9.{n}")
        endpoints = [endpoint(f"10.9.9.{n}", f"p{n}") for n in range(3)]
        w.verbs.objects["endpointslices", "a", "s1"] = endpoint_slice([{"port": 1}], *endpoints)
        for _ in range(30):  # in the order of a seed
            assert (await w.ask(f"{NAMESPACE}/services/s/proxy/"))[0] == 200
        assert set(w.dialled) == {f"/dial/a/p{n}?port=1" for n in range(3)}

    in_proxy_world(tmp_path, story)


def test_a_node_is_its_agent(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        status, _, body = await w.ask("/api/v1/nodes/n1/proxy/stats/summary?only=cpu", *SECRETS)
        assert status == 200
        assert body.startswith(b"GET /stats/summary?only=cpu HTTP/1.1\r\n")
        assert b"x-node-name: n1\r\n" in body
        assert b"secret" not in body
        port = w.verbs.objects["nodes", "", "n1"]["status"]["daemonEndpoints"]["kubeletEndpoint"]
        # What Python's client sends: slashes of the path are escaped.
        named = f"/api/v1/nodes/n1:{port['Port']}/proxy/stats%2Fsummary"
        assert (await w.ask(named))[2].startswith(b"GET /stats/summary HTTP")
        assert w.gate.asked[-1].resource == "nodes"
        addresses = w.verbs.objects["nodes", "", "n1"]["status"]["addresses"]
        addresses[0]["address"] = "192.0.2.9"
        assert (await w.ask("/api/v1/nodes/n1:9100/proxy/metrics"))[::2] == (200, b"hello")
        assert [(a.node, a.host, a.port) for a in w.direct.asked] == [("", "192.0.2.9", 9100)]

    in_proxy_world(tmp_path, story)


REFUSED: list[tuple[str, int, str]] = [
    ("services/none/proxy/", 404, 'services "none" not found'),
    ("services/s:nope/proxy/", 503, 'no service port "nope" found for service "s"'),
    ("services/s:99/proxy/", 503, "no service port 99 found for service \"s\""),
    ("services/s/proxy/", 503, 'no endpoints available for service "s"'),
    ("services/s:web/proxy", 503, 'no endpoints available for service "s"'),
    ("services/a:b:c:d/proxy/", 400, 'invalid service request "a:b:c:d"'),
    ("services/ftp:s:80/proxy/", 400, 'invalid service request "ftp:s:80"'),
    ("services/lo/proxy/", 400, "address not allowed"),
    ("pods/none/proxy/", 404, 'pods "none" not found'),
    ("pods/none/proxy", 404, 'pods "none" not found'),
    ("pods/:80/proxy/", 400, 'invalid pod request ":80"'),
    ("pods/pending/proxy/", 400, "address not allowed"),
    ("pods/local/proxy/", 400, "address not allowed"),
    ("pods/p:nope/proxy/", 503, "error trying to reach service: dial tcp: lookup tcp/nope: unknown port"),
    ("pods/p:99999/proxy/", 503, "error trying to reach service: dial tcp: address 99999: invalid port"),
    ("pods/lost/proxy/", 503, "error trying to reach service: no such node n9"),
    ("/api/v1/nodes/none/proxy/healthz", 404, 'nodes "none" not found'),
    ("/api/v1/nodes/n1:22/proxy/", 400, "address not allowed"),
    ("configmaps/m/proxy/", 404, "the server could not find the requested resource"),
    ("/api/v1/watch/namespaces/a/pods/p/proxy/", 404, "the server could not find the requested resource"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "code", "message"), REFUSED)
def test_what_cannot_be_reached(tmp_path: Path, target: str, code: int, message: str) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", {"name": "web", "port": 80})
        w.verbs.objects["services", "a", "lo"] = service("lo", {"port": 80})
        w.verbs.objects["endpointslices", "a", "lo"] = endpoint_slice(
            [{"port": 81}], endpoint("127.0.0.1", "lo")
        )
        w.verbs.objects["pods", "a", "lo"] = pod("lo", "127.0.0.1")
        w.verbs.objects["pods", "a", "pending"] = {"metadata": {"name": "pending"}}
        w.verbs.objects["pods", "a", "local"] = pod("local", "169.254.169.254")
        w.verbs.objects["pods", "a", "lost"] = pod("lost", nodeName="n9")
        whole = target if target.startswith("/") else f"{NAMESPACE}/{target}"
        assert await w.message(whole) == (code, message)
        assert (w.dialled, w.direct.asked) == ([], [])

    in_proxy_world(tmp_path, story)


def test_nobody_listens(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.closed_port = True
        status, message = await w.message(f"{POD}/")
        assert status == 503
        assert message == (
            "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused"
        )
        w.closed_port = False
        for nonsense in NONSENSE:
            w.backend.answer = nonsense
            status, message = await w.message(f"{POD}/")
            assert status == 503
            assert message.startswith("error trying to reach service: ")
        w.register(1)
        status, message = await w.message(f"{POD}/")
        assert status == 503
        assert "dial tcp 127.0.0.1:1: connect: connection refused" in message

    in_proxy_world(tmp_path, story)
