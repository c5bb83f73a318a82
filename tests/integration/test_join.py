"""`wherry join` as a user runs it, against a real cluster; and what a node's certificates are for."""

import asyncio
import base64
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hollow_cluster import HollowCluster, first_port, hollow_cluster, until
from kubectl_session import both_ends, program
from kubectl_transcript import Version

from wherry.api.errors import ForbiddenError
from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST, NODE, SECRET
from wherry.api.times import format_time
from wherry.cli.machine_file import parse_machine
from wherry.cli.pairs import Pairs
from wherry.cli.renewal import Renewal
from wherry.client.grpc_api import GrpcApi
from wherry.pki.certificates import create_key, identity
from wherry.pki.node import API_CLIENT, node_pairs
from wherry.pki.request import belongs, create_request, signed_by, validity
from wherry.pki.subject import Subject
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
FILES = ("agent-n1", "overlay", "proxy", "dns")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HollowCluster]:
    """A cluster of our own: nodes come to it."""
    with hollow_cluster(tmp_path_factory.mktemp("join")) as running:
        yield running


def token(cluster: HollowCluster) -> str:
    return (cluster.directory / "join.token").read_text().strip()


def arguments(
    cluster: HollowCluster, directory: Path, given: str = "", server: str = ""
) -> list[str]:
    return [
        *(sys.executable, "-m", "wherry.cli", "join", given or token(cluster)),
        *("--server", server or cluster.server),
        *("--dir", str(directory), "--name", "n1"),
    ]


def join(argv: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def check_joined(cluster: HollowCluster, directory: Path) -> None:
    ca = cluster.pki("ca.crt").read_bytes()
    assert (directory / "pki/ca.crt").read_bytes() == ca
    for name in FILES:
        certificate, key = (directory / "pki" / f"{name}.{end}" for end in ("crt", "key"))
        assert belongs(certificate.read_bytes(), key.read_bytes())
        assert signed_by(certificate.read_bytes(), ca, now_s=CLOCK.now())
        assert key.stat().st_mode & 0o777 == 0o600
    machine = parse_machine((directory / "machine.yaml").read_bytes())
    assert machine is not None
    assert machine.apiservers == (cluster.grpc,)
    assert not list(directory.rglob("*.next"))


def api_of(cluster: HollowCluster, directory: Path, name: str) -> GrpcApi:
    pki = directory / "pki"
    cert, key = (pki / f"{name}.{end}" for end in ("crt", "key"))
    return GrpcApi([cluster.grpc], ca=pki / "ca.crt", cert=cert, key=key, rng=Random(1))


def test_a_machine_becomes_a_node(cluster: HollowCluster, tmp_path: Path) -> None:
    argv = arguments(cluster, tmp_path)
    done = join(argv)
    assert done.returncode == 0, done.stderr
    assert f"n1 is a node now; start it: wherry up --data-dir {tmp_path}" in done.stdout
    check_joined(cluster, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = join(argv)
    assert again.stdout == f"{tmp_path} is complete; nothing to do\n"
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before

    async def main() -> None:
        agent = api_of(cluster, tmp_path, "agent-n1")
        assert len((await agent.list(NODE)).items) >= 3
        with pytest.raises(ForbiddenError):
            await agent.list(CERTIFICATE_SIGNING_REQUEST)
        await agent.close()
        proxy = api_of(cluster, tmp_path, "proxy")
        await proxy.list(NODE)
        with pytest.raises(ForbiddenError, match=r'User "system:kube-proxy" cannot list'):
            await proxy.list(SECRET)
        await proxy.close()

    asyncio.run(main())


def test_the_node_runs_with_what_it_got(cluster: HollowCluster, tmp_path: Path) -> None:
    assert join(arguments(cluster, tmp_path)).returncode == 0
    flags = ["--data-dir", str(tmp_path), "--runtime", "hollow"]
    ports = ["--ports-from", str(first_port())]
    argv = [sys.executable, "-m", "wherry.cli", "up", *flags, *ports]
    with (
        (tmp_path / "up.log").open("wb") as log,
        subprocess.Popen(argv, stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: ready(cluster, "n1"), f"node n1: {(tmp_path / 'up.log')}")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    _, node = cluster.ask("/api/v1/nodes/n1")
    assert node["status"]["addresses"][0]["address"] == "127.0.0.1"


def ready(cluster: HollowCluster, name: str) -> bool:
    status, node = cluster.ask(f"/api/v1/nodes/{name}")
    conditions = node["status"].get("conditions", ()) if status == 200 else ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.mark.parametrize("count", [1, 2, 4, 6, 8])
def test_killed_in_the_middle_the_next_run_completes_it(
    cluster: HollowCluster, tmp_path: Path, count: int
) -> None:
    argv, pki = arguments(cluster, tmp_path), tmp_path / "pki"
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        until(lambda: len(list(pki.glob("*"))) >= count or process.poll() is not None, "files")
        process.kill()
    done = join(argv)
    assert done.returncode == 0, done.stderr
    check_joined(cluster, tmp_path)


# -- refusals ---------------------------------------------------------------------------------


def refused(argv: list[str], directory: Path) -> str:
    done = join(argv)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (directory / "machine.yaml").exists()
    assert not list(directory.rglob("*.crt")) or [p.name for p in directory.rglob("*.crt")] == [
        "ca.crt"
    ]
    return done.stderr


def test_a_token_that_nobody_knows(cluster: HollowCluster, tmp_path: Path) -> None:
    _, _, ca_hash = token(cluster).split(".")
    argv = arguments(cluster, tmp_path, f"abcdef.0123456789abcdef.{ca_hash}")
    assert "the cluster does not accept the token abcdef: Unauthorized" in refused(argv, tmp_path)


def test_a_token_that_has_expired(cluster: HollowCluster, tmp_path: Path) -> None:
    fields = {
        "token-id": "aaaaaa",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "expiration": format_time(CLOCK.now() - 60),
    }
    secret = {
        "metadata": {"name": "bootstrap-token-aaaaaa"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": fields,
    }
    url = "/api/v1/namespaces/kube-system/secrets"
    assert cluster.ask(url, method="POST", body=secret)[0] == 201
    ca_hash = token(cluster).rpartition(".")[2]
    argv = arguments(cluster, tmp_path, f"aaaaaa.0123456789abcdef.{ca_hash}")
    assert "the cluster does not accept the token aaaaaa: Unauthorized" in refused(argv, tmp_path)
    secret["stringData"] = {**fields, "expiration": format_time(CLOCK.now() + 600)}
    assert cluster.ask(f"{url}/bootstrap-token-aaaaaa", method="PUT", body=secret)[0] == 200
    done = join(argv)
    assert done.returncode == 0, done.stderr
    check_joined(cluster, tmp_path)


def test_another_cluster_than_the_tokens(cluster: HollowCluster, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    argv = arguments(cluster, directory, token(cluster).rpartition(".")[0] + "." + "0" * 64)
    assert "this is not the cluster that the token is for" in refused(argv, directory)
    assert not directory.exists()


def test_servers_that_do_not_answer(cluster: HollowCluster, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"https://127.0.0.1:{free.getsockname()[1]}"
        said = refused(arguments(cluster, directory, server=closed), directory)
    assert f"cannot reach {closed}: Connection refused" in said
    plain = f"https://127.0.0.1:{cluster.ports['apiserver-health']}"
    said = refused(arguments(cluster, directory, server=plain), directory)
    assert f"cannot reach {plain}" in said
    assert not directory.exists()


def test_a_name_that_the_certificate_does_not_have(cluster: HollowCluster, tmp_path: Path) -> None:
    server = f"https://127.1:{cluster.ports['secure']}"  # 127.0.0.1, by another name
    said = refused(arguments(cluster, tmp_path, server=server), tmp_path)
    assert f"{server} shows a certificate that is not for this name" in said


# -- certificates ------------------------------------------------------------------------------


class LateClock(SystemClock):
    """A clock that is fast by `by_s`."""

    def __init__(self, by_s: float) -> None:
        self._by_s = by_s

    def now(self) -> float:
        return super().now() + self._by_s


def test_a_node_renews_its_certificates_as_itself(cluster: HollowCluster, tmp_path: Path) -> None:
    assert join(arguments(cluster, tmp_path)).returncode == 0
    subjects = node_pairs("n1", "127.0.0.1")
    pairs = Pairs(tmp_path / "pki")
    old = {name: pairs.read(name) for name in subjects}

    async def main() -> None:
        api = api_of(cluster, tmp_path, "agent-n1")
        clock = LateClock(0.95 * 365 * 86_400)
        renewal = Renewal(
            pairs, subjects, api, requester="system:node:n1", clock=clock, rng=Random(1)
        )
        async with asyncio.timeout(90):
            task = asyncio.ensure_future(renewal.run())
            while any(pairs.read(name) == old[name] for name in subjects):
                await asyncio.sleep(0.05)
            task.cancel()
        await api.close()
        for name, subject in subjects.items():
            assert belongs(pairs.read(name), pairs.read(name, "key"))
            assert identity(pairs.read(name)) == (subject.user, subject.groups)
            assert validity(pairs.read(name))[1] >= validity(old[name])[1]
        agent = api_of(cluster, tmp_path, "agent-n1")
        assert (await agent.list(NODE)).items
        await agent.close()

    asyncio.run(main())


def test_what_everybody_may_read(cluster: HollowCluster) -> None:
    url = "/api/v1/namespaces/kube-public/configmaps"
    status, info = cluster.ask(f"{url}/cluster-info", user=None)
    assert status == 200
    assert info["metadata"]["annotations"]["wherry.io/grpc-port"] == str(cluster.ports["grpc"])
    assert cluster.ask(url, user=None)[0] == 401
    assert cluster.ask(f"{url}/cluster-info", method="DELETE", user=None)[0] == 403


@both_ends
def test_a_user_gets_a_certificate_by_kubectl(
    build: Version, cluster: HollowCluster, tmp_path: Path
) -> None:
    key = create_key()

    def kubectl(*words: str, stdin: str = "") -> str:
        argv = [str(program(build)), f"--kubeconfig={cluster.kubeconfig}", *words]
        argv.append(f"--cache-dir={tmp_path / 'cache'}")
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(name: str) -> None:
        pem = create_request(key, Subject("jane", ("devs",)))
        manifest: dict[str, Any] = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": base64.b64encode(pem).decode(),
                "signerName": API_CLIENT,
                "usages": ["client auth"],
            },
        }
        kubectl("apply", "-f", "-", stdin=orjson.dumps(manifest).decode())

    def condition(name: str) -> str:
        header, row = kubectl("get", "csr", name).splitlines()
        assert header.split() == [
            *("NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION"),
        ]
        assert row.split()[2:4] == [API_CLIENT, "kubernetes-admin"]
        return row.split()[-1]

    jane, eve = f"jane-{build[1]}", f"eve-{build[1]}"
    ask(jane)
    ask(eve)
    assert condition(jane) == "Pending"
    kubectl("certificate", "approve", jane)
    kubectl("certificate", "deny", eve)
    until(lambda: condition(jane) == "Approved,Issued", "the certificate")
    assert condition(eve) == "Denied"
    path = "jsonpath={.status.certificate}"
    certificate = base64.b64decode(kubectl("get", "csr", jane, "-o", path))
    assert identity(certificate) == ("jane", ("devs",))
    assert belongs(certificate, key)
    described = kubectl("describe", "csr", jane)
    assert "Requesting User:" in described
    assert "Approved,Issued" in described
    kubectl("delete", "csr", jane, eve)
