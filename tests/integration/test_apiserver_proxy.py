"""The proxy subresource through a real door and a real agent's server, to a scripted backend."""

import asyncio
import gzip
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from apiserver_pki import TestPki
from proxy_world import (
    HELLO,
    POD_IP,
    ProxyWorld,
    endpoint,
    endpoint_slice,
    in_proxy_world,
    pod,
    service,
)

from wherry.pki.tls import server_context

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
        for nonsense in (b"", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 100_000):
            w.backend.answer = nonsense
            status, message = await w.message(f"{POD}/")
            assert status == 503
            assert message.startswith("error trying to reach service: ")
        agent = w.verbs.objects["nodes", "", "n1"]["status"]["daemonEndpoints"]["kubeletEndpoint"]
        agent["Port"] = 1
        status, message = await w.message(f"{POD}/")
        assert status == 503
        assert "dial tcp 127.0.0.1:1: connect: connection refused" in message

    in_proxy_world(tmp_path, story)


FRAMINGS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", id="chunked"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\nbody", id="until the end"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", id="announced"),
]  # fmt: skip


@pytest.mark.parametrize("answer", FRAMINGS)
def test_bodies_however_they_end(tmp_path: Path, answer: bytes) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = answer
        status, headers, body = await w.ask(f"{POD}/")
        assert (status, body) == (200, b"body")
        assert headers["transfer-encoding"] == "chunked"
        assert "content-length" not in headers

    in_proxy_world(tmp_path, story)


@pytest.mark.parametrize("code", [204, 304])
def test_answers_without_bodies_leave_the_connection_usable(tmp_path: Path, code: int) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = b"HTTP/1.1 %d X\r\nETag: 1\r\n\r\n" % code
        reader, writer = await w.send(f"GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % code)
            assert b"ETag: 1\r\n" in head
            assert b"ransfer-" not in head
        writer.close()
        w.backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
        assert (await w.ask(f"{POD}/", method="HEAD"))[::2] == (200, b"")
        assert w.backend.heads[-1].startswith("HEAD / ")

    in_proxy_world(tmp_path, story)


def test_headers_of_an_answer(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = (
            b"HTTP/1.1 418 X\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: then\r\n"
            b"Access-Control-Allow-Origin: *\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"
            b"X-Name: \xc3\xa4\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1"
        )
        status, headers, body = await w.ask(f"{POD}/", "Accept-Encoding: gzip")
        assert (status, body) == (418, b"1")
        assert headers["set-cookie"] == "a=1, b=2"
        assert (headers["x-name"], headers["content-encoding"]) == ("ä", "gzip")
        assert headers["date"] != "then"
        assert not headers.keys() & {"access-control-allow-origin", "x-mine"}

    in_proxy_world(tmp_path, story)


def test_an_answer_that_breaks_off_is_not_a_complete_one(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello"
        reader, writer = await w.send(f"GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        with suppress(OSError, ssl.SSLError):
            got = await reader.read()
        assert not got.endswith(b"0\r\n\r\n")
        writer.close()

    in_proxy_world(tmp_path, story)


def test_tls_to_the_pod(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    tls = server_context(TestPki(tmp_path / "pod").files("pod", server=True), require_client=False)

    async def story(w: ProxyWorld) -> None:
        big = b"x" * 3_000_000
        w.backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big)
        status, _, body = await w.ask(
            f"{NAMESPACE}/pods/https:p:web/proxy/", method="POST", body=big
        )
        assert (status, body == big) == (200, True)
        assert w.backend.bodies == [big]
        status, message = await w.message(f"{POD}/")  # plain HTTP, to who speaks TLS
        assert (status, message) == (503, "error trying to reach service: EOF")

    in_proxy_world(tmp_path, story, backend_tls=tls)


def test_tls_to_who_does_not_speak_it(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", {"port": 443})
        w.verbs.objects["endpointslices", "a", "s1"] = endpoint_slice([{"port": 1}], endpoint())
        w.backend.rude = True
        status, message = await w.message(f"{NAMESPACE}/services/https:s:/proxy/")
        assert status == 503
        assert message.startswith("error trying to reach service: tls: ")

    in_proxy_world(tmp_path, story)


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n"


def test_an_upgrade_is_a_pipe(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = SWITCH + b"hi ", True
        secret = "Authorization: Bearer secret\r\n"
        reader, writer = await w.send(
            f"GET {POD}/ws?x=1 HTTP/1.1\r\nHost: a\r\n{secret}{WEBSOCKET}\r\nearly "
        )
        assert await reader.readexactly(len(SWITCH)) == SWITCH
        assert await reader.readexactly(9) == b"hi EARLY "
        big = b"x" * 3_000_000
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(writer, big))
            assert await reader.readexactly(len(big)) == big.upper()
        assert w.backend.target == "/ws?x=1"
        told = [w.backend.header(n) for n in ("connection", "upgrade", "sec-websocket-key")]
        assert told == ["Upgrade", "websocket", "AAAA"]
        assert w.backend.header("authorization") is None
        writer.close()
        while w.backend.open:  # it learns that the client is gone
            await asyncio.sleep(0.01)

    in_proxy_world(tmp_path, story)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_an_upgrade_that_is_refused(tmp_path: Path) -> None:
    """After any answer but 101 the connection must not lead to the pod."""

    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = HELLO.replace(b"200 OK", b"403 No"), True
        smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        head = f"GET {POD}/ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"
        reader, writer = await w.send(head + smuggled)
        answer = await reader.read()
        writer.close()
        assert (answer[:13], answer.count(b"HTTP/1.1")) == (b"HTTP/1.1 403 ", 1)
        assert [one.partition(" HTTP")[0] for one in w.backend.heads] == ["GET /ws"]

    in_proxy_world(tmp_path, story)


def test_who_switches_protocols_unasked(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = SWITCH, True
        status, message = await w.message(f"{POD}/")
        assert (status, "was not asked to" in message) == (502, True)

    in_proxy_world(tmp_path, story)


def test_a_client_that_does_not_read_stops_the_backend(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        w.backend.flood = True
        _, writer = await w.send(f"GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n")
        before = -1
        while before != w.backend.sent or not before:  # until it stands still
            before = w.backend.sent
            await asyncio.sleep(0.5)
        assert before < 64 << 20  # sockets' buffers, four times
        writer.transport.abort()
        while w.backend.open:
            await asyncio.sleep(0.01)

    in_proxy_world(tmp_path, story)


def test_who_asks_a_silent_pod_shuts_nobody_else_out(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = b"", True  # it reads, and answers nothing
        writers = []
        for method in ("GET", "POST") * 4:
            head = f"{method} {POD}/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            writers.append((await w.send(head))[1])
        while len(w.backend.heads) < 8:
            await asyncio.sleep(0.01)
        assert (await w.ask(f"{NAMESPACE}/pods/p"))[0] == 200
        for writer in writers:
            writer.transport.abort()

    in_proxy_world(tmp_path, story)


def test_bodies_on_their_way_are_bounded_together(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.silent = asyncio.Event()
        body = b"x" * (3 << 20)
        head = f"POST {POD}/x HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        writers = []
        for count in range(1, 22):  # 64 MB have room for 21 of them
            writers.append((await w.send(head.encode() + body))[1])
            while len(w.backend.bodies) < count:
                await asyncio.sleep(0.01)
        status, message = await w.message(f"{POD}/x", method="POST", body=body)
        assert (status, message) == (429, "too many requests, please try again later")
        w.backend.silent.set()
        for writer in writers:
            writer.close()
        while (await w.ask(f"{POD}/x", method="POST", body=body))[0] != 200:
            await asyncio.sleep(0.01)

    in_proxy_world(tmp_path, story)
