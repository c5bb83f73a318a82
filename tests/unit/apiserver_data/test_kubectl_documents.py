"""Real kubectl builds read our documents: discovery, OpenAPI, tables, and send their bodies.

The server below has no registry: it stores what it decodes, so that only the data modules
are under test. Every kubectl build found beside the one on the PATH is run.
"""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from wherry.api.errors import NotFoundError, StatusError
from wherry.apiserver.decode import decode_body, decode_object
from wherry.apiserver.discovery import aggregated_version, get_discovery
from wherry.apiserver.document import Document
from wherry.apiserver.openapi import get_openapi
from wherry.apiserver.patch import json_patch, merge_patch
from wherry.apiserver.resources import BY_ADDRESS, Resource
from wherry.apiserver.schema import normalize
from wherry.apiserver.strategic import strategic_merge_patch
from wherry.apiserver.tables import table

pytestmark = pytest.mark.integration

NOW = 1_800_000_000.0


def kubectl_builds() -> list[str]:
    found = shutil.which("kubectl")
    if found is None:
        return []
    folder = Path(found).resolve().parent
    builds = sorted(p.name for p in folder.glob("kubectl.1.*"))
    return [str(folder / name) for name in builds] or [found]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, dict[str, Any]]
    requests: list[tuple[str, str, str]]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PATCH = do_DELETE = do_PUT = do_GET  # noqa: N815

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append((self.command, url.path, self.headers.get("Content-Type", "")))
        try:
            document = self.document(url.path) if self.command == "GET" else None
            value: Any = document or self.verb(url.path, body)
            code = 200
        except StatusError as error:
            code, value = error.code, error.to_status()
        if not isinstance(value, Document):
            value = Document(orjson.dumps(value))
        gzipped = "gzip" in self.headers.get("Accept-Encoding", "")
        payload = value.gzipped if gzipped else value.body
        self.send_response(code)
        self.send_header("Content-Type", value.content_type)
        if gzipped:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def document(self, path: str) -> Any:
        discovery, openapi = get_discovery(), get_openapi()
        accept = self.headers.get("Accept", "")
        if (version := aggregated_version(accept)) and path in ("/api", "/apis"):
            return discovery.aggregated(version, core=path == "/api")
        fixed: dict[str, Any] = {
            "/version": lambda: {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
            "/api": discovery.core,
            "/apis": discovery.groups,
            "/api/v1": lambda: discovery.resources("", "v1"),
            "/openapi/v2": openapi.v2_protobuf if "proto" in accept else openapi.v2_json,
            "/openapi/v3": openapi.root,
        }
        if path in fixed:
            return fixed[path]()
        if path.startswith("/openapi/v3/"):
            return openapi.group_version(path.removeprefix("/openapi/v3/"))
        found = re.fullmatch(r"/apis/([^/]+)/([^/]+)", path)
        return discovery.resources(found[1], found[2]) if found else None

    def verb(self, path: str, body: bytes) -> Any:
        found = re.fullmatch(
            r"/(?:api|apis/(?P<g>[^/]+))/(?P<v>[^/]+)(?:/namespaces/(?P<ns>[^/]+))?"
            r"/(?P<r>[a-z]+)(?:/(?P<n>[^/]+))?",
            path,
        )
        if found is None:
            raise NotFoundError(path)
        row = BY_ADDRESS.get((found["g"] or "", found["v"], found["r"]))
        if row is None:
            raise NotFoundError(path)
        if self.command == "POST":
            return self.create(row, path, found["ns"], body)
        if found["n"] is None:
            some = [o for key, o in self.objects.items() if key.startswith(f"{path}/")]
            return table(row, some, now=NOW, revision=1)
        if path not in self.objects:
            name = found["n"]
            raise NotFoundError(f'{row.kind.qualified} "{name}" not found', name=name)
        if self.command == "PATCH":
            return self.patch(row, path, body)
        return self.objects[path]

    def create(self, row: Resource, path: str, namespace: str | None, body: bytes) -> Any:
        validation = self.query.get("fieldValidation", "Warn")
        media = self.headers.get("Content-Type", "")
        obj, _ = decode_object(body, media, row.kind, field_validation=validation)
        obj, _ = normalize(row.kind, obj, validation)
        obj["metadata"] |= {"creationTimestamp": "2027-01-15T07:00:00Z", "resourceVersion": "1"}
        if namespace:
            obj["metadata"]["namespace"] = namespace
        if "dryRun" not in self.query:
            self.objects[f"{path}/{obj['metadata']['name']}"] = obj
        return obj

    def patch(self, row: Resource, path: str, body: bytes) -> Any:
        media = self.headers.get("Content-Type", "")
        patch, _ = decode_body(body, media, strict=True)
        old = self.objects[path]
        if "strategic" in media:
            new = strategic_merge_patch(old, patch, row.kind)
        else:
            new = json_patch(old, patch) if isinstance(patch, list) else merge_patch(old, patch)
        new, _ = normalize(row.kind, new, self.query.get("fieldValidation", "Warn"))
        if "dryRun" not in self.query:
            self.objects[path] = new
        return new


class Cluster:
    def __init__(self, kubectl: str, home: Path, server: str, handler: type[Handler]) -> None:
        self._command = [kubectl, "--server", server, "--cache-dir", str(home / "cache")]
        self._home = home
        self.handler = handler

    def run(self, *args: str, stdin: str = "", ok: bool = True) -> str:
        env = {"HOME": str(self._home), "PATH": "/nowhere"}
        done = subprocess.run(
            [*self._command, *args],
            input=stdin,
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) == ok, (args, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def sent(self, method: str) -> list[str]:
        """Return the media types of the bodies sent with a method."""
        return [media for verb, _, media in self.handler.requests if verb == method]


@pytest.fixture(params=kubectl_builds(), ids=lambda p: Path(p).name)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    handler = type("Bound", (Handler,), {"objects": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Cluster(request.param, tmp_path, f"http://127.0.0.1:{server.server_port}", handler)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - {name: c, image: nginx, ports: [{containerPort: 80}], resources: {requests: {cpu: 0.5}}}
"""
LEASE = """
apiVersion: wherry.io/v1
kind: SubnetLease
metadata: {name: 10.244.1.0-24}
PublicIP: 192.0.2.1
BackendType: vxlan
BackendData: {VNI: 1, VtepMAC: "aa:bb:cc:dd:ee:ff"}
Expiration: "2027-01-16T08:00:00Z"
node: n1
"""


def test_explain_reads_the_openapi_documents(cluster: Cluster) -> None:
    assert "containers" in cluster.run("explain", "pod.spec")
    assert "maxSurge" in cluster.run("explain", "deployment.spec.strategy.rollingUpdate")
    assert "PublicIP" in cluster.run("explain", "subnetlease")
    assert "VtepMAC" in cluster.run("explain", "subnetlease.BackendData")


def test_api_resources_and_get(cluster: Cluster) -> None:
    listed = cluster.run("api-resources")
    assert re.search(r"deployments +deploy +apps/v1 +true +Deployment", listed)
    assert "selfsubjectaccessreviews" in listed
    cluster.run("create", "-f", "-", stdin=POD)
    assert re.search(
        r"NAME +READY +STATUS +RESTARTS +AGE\nweb +0/1 +Pending +0 +60m", cluster.run("get", "pods")
    )
    assert "NOMINATED NODE" in cluster.run("get", "po", "-o", "wide")


def test_create_and_apply_validate_and_patch(cluster: Cluster) -> None:
    cluster.run("apply", "-f", "-", stdin=POD)
    cluster.run("apply", "-f", "-", stdin=POD.replace("app: web", "app: web2"))
    obj = cluster.handler.objects["/api/v1/namespaces/default/pods/web"]
    assert obj["metadata"]["labels"] == {"app": "web2"}
    assert obj["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "500m"}}
    assert cluster.sent("PATCH") == ["application/strategic-merge-patch+json"]
    wrong = POD.replace("image: nginx", "imag: nginx").replace("name: web,", "name: web3,")
    assert 'imag"' in cluster.run("create", "-f", "-", stdin=wrong, ok=False)
    truth = POD.replace("image: nginx", "image: true").replace("name: web,", "name: web3,")
    assert "Container.spec.containers.image of type string" in cluster.run(
        "create", "-f", "-", "--validate=false", stdin=truth, ok=False
    )


def test_server_side_dry_run_is_offered(cluster: Cluster) -> None:
    cluster.run("create", "-f", "-", "--dry-run=server", stdin=POD)
    cluster.run("create", "-f", "-", "--dry-run=server", stdin=LEASE)
    assert not cluster.handler.objects


def test_our_own_kinds_are_created_and_printed(cluster: Cluster) -> None:
    cluster.run("create", "-f", "-", stdin=LEASE)
    printed = cluster.run("get", "subnetleases")
    assert re.search(
        r"NAME +NODE +PUBLIC-IP +BACKEND +AGE\n10.244.1.0-24 +n1 +192.0.2.1 +vxlan", printed
    )


def test_generators_send_bodies_that_are_understood(cluster: Cluster) -> None:
    """JSON up to kubectl 1.31, protobuf from 1.32."""
    cluster.run("create", "deployment", "d", "--image=nginx:1", "--replicas=3", "--port=80")
    cluster.run("create", "configmap", "c", "--from-literal=a=b")
    cluster.run("create", "secret", "generic", "s", "--from-literal=p=hunter2")
    cluster.run("create", "namespace", "n")
    cluster.run("create", "serviceaccount", "sa")
    cluster.run("create", "service", "clusterip", "svc", "--tcp=80:8080")
    objects = {o["kind"]: o for o in cluster.handler.objects.values()}
    assert objects["Deployment"]["spec"]["replicas"] == 3
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:1"
    assert container["ports"] == [{"containerPort": 80}]
    assert objects["ConfigMap"]["data"] == {"a": "b"}
    assert objects["Secret"]["data"] == {"p": "aHVudGVyMg=="}
    assert objects["Service"]["spec"]["ports"][0]["targetPort"] == 8080
    assert json.dumps(objects["Namespace"]).count('"n"') == 1
