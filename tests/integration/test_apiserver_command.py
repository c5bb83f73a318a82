"""`wherry apiserver` as a process: what its flags change for clients, and what it says at its start."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from apiserver_pki import TestPki
from hollow_cluster import until
from ports import claim
from renewed_files import renew

from wherry.pki.certificates import create_ca, create_signing_key
from wherry.pki.tls import client_context
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Answer:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes


class Process:
    """An API server that runs, asked as admin."""

    def __init__(self, port: int, ca: Path, tls: ssl.SSLContext, log: Path) -> None:
        self.port = port
        self.ca = ca
        self.tls = tls
        self._log = log

    def connection(self) -> HTTPSConnection:
        """Return a new connection."""
        return HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=60)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Send one request on a connection of its own."""
        with closing(self.connection()) as connection:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def listens(self) -> bool:
        """Tell whether somebody answers."""
        try:
            return self.ask("/livez").status == 200
        except ConnectionRefusedError:
            return False

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def running(tmp_path: Path, *flags: str, store: str = "memory://") -> Iterator[Process]:
    """Run an API server until the block ends; it listens when the block begins."""
    pki = TestPki(tmp_path)
    serving = pki.files("kube-apiserver", server=True)
    port, grpc = claim(2)
    log = tmp_path / "apiserver.log"
    argv = [
        *(sys.executable, "-m", "wherry.cli", "apiserver", "--health-port", "0"),
        *("--advertise-address", "127.0.0.1", "--bind-address", "127.0.0.1"),
        *("--secure-port", str(port), "--grpc-port", str(grpc), "--store", store),
        *("--tls-cert-file", str(serving.cert), "--tls-private-key-file", str(serving.key)),
        *("--client-ca-file", str(pki.ca), *flags),
    ]
    with log.open("wb") as stderr, subprocess.Popen(argv, stderr=stderr) as process:
        try:
            server = Process(port, pki.ca, client_context(pki.admin()), log)
            until(server.listens, "the API server to listen")
            yield server
        finally:
            process.terminate()


def test_a_request_has_its_time_and_no_more_than_its_client_wants(tmp_path: Path) -> None:
    nobody = f"unix://{tmp_path}/no.sock"
    with running(tmp_path, "--request-timeout", "2s", store=nobody) as server:
        for timeout in ("", "?timeout=10ms", "?timeout=1h"):
            late = json.loads(server.ask(f"/api/v1/nodes{timeout}").body)
            assert (late["code"], late["reason"]) == (504, "Timeout")
            assert late["message"] == (
                "Timeout: request did not complete within the allotted timeout"
            )


def at_most_tls_1_2(server: Process) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(server.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_old_tls_is_refused_with_an_alert_unless_it_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.tls = at_most_tls_1_2(server)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            server.ask("/version")
    with running(tmp_path, "--tls-min-version", "VersionTLS12") as server:
        server.tls = at_most_tls_1_2(server)
        assert server.ask("/version").status == 200


def test_an_authority_that_leaves_its_file_is_believed_no_more(tmp_path: Path) -> None:
    with running(tmp_path) as server, closing(server.connection()) as kept:

        def status() -> int:
            kept.request("GET", "/api")
            with kept.getresponse() as answer:
                answer.read()
                return answer.status

        ours, now_s = server.ca.read_bytes(), SystemClock().now()
        assert status() == 200
        renew(server.ca, create_ca("other", now_s=now_s).certificate)
        until(lambda: server.ask("/api").status == 401, "the file to be read")
        assert status() == 401
        renew(server.ca, ours)
        until(lambda: server.ask("/api").status == 200, "the file to be read again")


def test_pages_of_allowed_origins_may_ask(tmp_path: Path) -> None:
    with running(tmp_path, "--cors-allowed-origins", "//dash.example(:|$)") as server:
        for origin, code in (("https://dash.example", 204), ("https://evil.example", 405)):
            told = server.ask("/api", "OPTIONS", origin=origin)
            assert told.status == code
            assert told.headers.get("Access-Control-Allow-Origin") == (
                origin if code == 204 else None
            )


@pytest.mark.parametrize("with_key", [False, True])
def test_who_gives_no_key_is_told_what_that_means(tmp_path: Path, with_key: bool) -> None:
    key = tmp_path / "sa.key"
    key.write_bytes(create_signing_key())
    flags = ["--service-account-signing-key-file", str(key)] if with_key else []
    with running(tmp_path, "--log-format", "json", *flags) as server:
        told = [
            line for line in server.log().splitlines() if "automountServiceAccountToken" in line
        ]
        assert len(told) == int(not with_key)
        assert all(
            json.loads(line)["level"] == "warning" and "FailedMount" in line for line in told
        )
