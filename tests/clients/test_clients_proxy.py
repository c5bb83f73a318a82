"""The API server's proxy as its clients use it: Python's methods, `kubectl proxy`, a browser's page.

Hollow pods have no processes, so what answers is a node's agent, or a server of the test's own at
a port of a Node made by hand; pods that answer are `tests/integration`'s and `tests/cluster`'s.
"""

import ast
import asyncio
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hollow_cluster import HollowCluster, until
from kubectl_session import Session, both_ends
from python_clients import CLIENT_MARKS, asyncio_client, kubernetes, kubernetes_asyncio, pod

pytestmark = CLIENT_MARKS

ApiException = kubernetes.client.exceptions.ApiException


class Echo(BaseHTTPRequestHandler):
    """Says what it was asked; `/moved` is elsewhere."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        said = {"method": self.command, "path": self.path, "body": body}
        said["authorization"] = self.headers.get("Authorization", "")
        text = json.dumps(said).encode()
        moved = self.path == "/moved"
        self.send_response(302 if moved else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if moved:
            self.send_header("Location", "/new/place")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def own_address() -> str:
    """Return an address of this machine that is not loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        address: str = probe.getsockname()[0]
    return address


@pytest.fixture
def echo(official: Any) -> Iterator[str]:
    """`NODE:PORT` of a Node that nothing runs on, where `Echo` answers."""
    address = own_address()
    with ThreadingHTTPServer((address, 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        core = kubernetes.client.CoreV1Api(official)
        core.create_node({"metadata": {"name": "echo"}, "spec": {"unschedulable": True}})
        addresses = [{"type": "InternalIP", "address": address}]
        try:
            core.patch_node_status("echo", {"status": {"addresses": addresses}})
            yield f"echo:{server.server_address[1]}"
        finally:
            core.delete_node("echo")
            server.shutdown()
            thread.join()


def node_of(official: Any) -> str:
    """Return the name of a node with an agent."""
    nodes = kubernetes.client.CoreV1Api(official).list_node().items
    names: list[str] = [node.metadata.name for node in nodes if node.metadata.name != "echo"]
    return names[-1]


def test_the_methods_of_python(official: Any, echo: str) -> None:
    core = kubernetes.client.CoreV1Api(official)

    def said(verb: str, path: str) -> Any:
        method = getattr(core, f"connect_{verb}_node_proxy_with_path")
        return ast.literal_eval(method(echo, path))

    for verb in ("get", "post", "put", "patch", "delete", "options"):
        found = said(verb, "some/path")
        assert (found["method"], found["path"]) == (verb.upper(), "/some/path")
        assert found["authorization"] == ""
    assert said("get", "moved")["path"] == "/new/place"
    for name in (echo, f"http:{echo}"):
        # Without the slash at the end the client is sent on to where it is.
        assert ast.literal_eval(core.connect_get_node_proxy(name))["path"] == "/"


def test_a_service_without_pods(official: Any, namespace: str) -> None:
    core = kubernetes.client.CoreV1Api(official)
    spec = {"ports": [{"name": "http", "port": 80}]}
    core.create_namespaced_service(namespace, {"metadata": {"name": "echo"}, "spec": spec})
    for name, why in (
        ("echo:nope", 'no service port \\"nope\\" found for service \\"echo\\"'),
        ("echo:http", 'no endpoints available for service \\"echo\\"'),
    ):
        with pytest.raises(ApiException) as refused:
            core.connect_get_namespaced_service_proxy(name, namespace)
        assert refused.value.status == 503
        assert why in refused.value.body


def test_a_node_and_a_pod(official: Any, namespace: str) -> None:
    core = kubernetes.client.CoreV1Api(official)
    node = node_of(official)
    assert core.connect_get_node_proxy_with_path(node, "healthz") == "ok"
    summary = ast.literal_eval(core.connect_get_node_proxy_with_path(node, "stats/summary"))
    assert summary["node"]["nodeName"] == node
    core.create_namespaced_pod(namespace, pod("p"))
    until(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running", "it runs")
    on = core.read_namespaced_pod("p", namespace).spec.node_name
    pods = ast.literal_eval(core.connect_get_node_proxy_with_path(on, "pods"))["items"]
    assert (namespace, "p") in {
        (one["metadata"].get("namespace"), one["metadata"]["name"]) for one in pods
    }
    with pytest.raises(ApiException) as refused:
        core.connect_get_namespaced_pod_proxy_with_path("p:80", namespace, "x")
    assert refused.value.status == 503
    assert "error trying to reach service: hollow pods have no processes" in refused.value.body


def test_asyncio_asks_a_node(hollow: HollowCluster, official: Any) -> None:
    async def main() -> None:
        async with asyncio_client(hollow) as client:
            core = kubernetes_asyncio.client.CoreV1Api(client)
            assert await core.connect_get_node_proxy_with_path(node_of(official), "healthz") == "ok"

    asyncio.run(main())


@both_ends
def test_kubectl_leads_to_a_port(kubectl: Session, official: Any, echo: str) -> None:
    """`kubectl proxy` is HTTP on the loopback for a browser; redirects come back to it."""
    path = f"/api/v1/nodes/{echo}/proxy"
    said = kubectl.attempt("get", "--raw", f"{path}/a?b=c")
    assert (said.code, json.loads(said.out)["path"]) == (0, "/a?b=c"), said
    with kubectl.running("proxy", "--port=0") as proxying:
        assert proxying.stdout is not None
        match = re.search(r"127\.0\.0\.1:(\d+)", proxying.stdout.readline())
        assert match
        base = f"http://127.0.0.1:{match[1]}"
        url, text = fetched(f"{base}{path}/moved")
        assert (url, json.loads(text)["path"]) == (f"{base}{path}/new/place", "/new/place")
        assert fetched(f"{base}{path}")[0] == f"{base}{path}/"
        node = f"{base}/api/v1/nodes/{node_of(official)}/proxy/healthz"
        assert fetched(node) == (node, "ok")


def fetched(url: str) -> tuple[str, str]:
    """Return where a URL led in the end, and what is there."""
    with urllib.request.urlopen(url, timeout=60) as found:  # noqa: S310
        return found.url, found.read().decode()
