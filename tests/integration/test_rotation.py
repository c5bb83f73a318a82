"""Certificates that last seconds: nodes renew them, and everybody goes on with the new ones."""

import asyncio
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import uvloop
from apiserver_pki import TestPki
from apiserver_world import running_apiserver
from hollow_cluster import HollowCluster, first_port, hollow_cluster, until
from ports import claim

from wherry.api.errors import UnavailableError
from wherry.api.kinds import NAMESPACE
from wherry.client.grpc_api import GrpcApi
from wherry.pki.certificates import issue
from wherry.pki.request import validity
from wherry.pki.subject import Subject
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration
CLOCK = SystemClock()
DEADLINE_S = 90.0
LIVES_S = (30, 150)
"""Within this a node starts, and within a tenth of it renews; the second on a machine that is busy."""


class LateError(Exception):
    """The certificate ended before it was renewed."""


def test_a_client_goes_on_with_the_new_certificate(tmp_path: Path) -> None:
    pki = TestPki(tmp_path)
    cert, key = tmp_path / "c.crt", tmp_path / "c.key"

    def give(days: float) -> None:
        pair = issue(pki._ca, Subject("joe"), now_s=CLOCK.now(), days=days)
        cert.write_bytes(pair.certificate)
        key.write_bytes(pair.key)

    async def listed(api: GrpcApi) -> bool:
        with suppress(UnavailableError):
            await api.list(NAMESPACE)
            return True
        return False

    async def main() -> None:
        (port,) = claim(1)  # for the server that comes back
        async with running_apiserver(pki, grpc_port=port):
            for life_s in (2, 6, 18, 54):  # the longer, the busier the machine is
                give(life_s / 86_400)
                api = GrpcApi(
                    [f"127.0.0.1:{port}"], ca=pki.ca, cert=cert, key=key, rng=Random(1), timeout_s=2
                )
                if await listed(api):
                    break
                await api.close()
            else:
                raise AssertionError("no certificate lasted for one request")
            end_s = validity(cert.read_bytes())[1]
            give(1)
        while CLOCK.now() <= end_s:
            await asyncio.sleep(0.05)
        async with running_apiserver(pki, grpc_port=port):
            async with asyncio.timeout(DEADLINE_S):
                while not await listed(api):
                    pass  # each try takes its time
        await api.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_node_outlives_its_certificates(tmp_path: Path) -> None:
    for life_s in LIVES_S:
        with suppress(LateError):
            outlives(tmp_path / f"{life_s}", life_s)
            return
    raise AssertionError("no certificate lasted until it was renewed")


def outlives(directory: Path, life_s: int) -> None:
    masters, node = directory / "m", directory / "n"
    masters.mkdir(parents=True)
    with hollow_cluster(masters, "--cluster-signing-duration", f"{life_s}s") as cluster:
        token = (masters / "join.token").read_text().strip()
        wherry = [sys.executable, "-m", "wherry.cli"]
        where = ["--server", cluster.server, "--dir", str(node), "--name", "n1"]
        subprocess.run([*wherry, "join", token, *where], check=True, timeout=120)
        first = first_port()
        flags = ["--data-dir", str(node), "--runtime", "hollow", "--ports-from", str(first)]
        with (
            (directory / "up.log").open("wb") as log,
            subprocess.Popen([*wherry, "up", *flags], stdout=log, stderr=log) as process,
        ):
            try:
                check_renewal(cluster, node, first, life_s)
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0


def check_renewal(cluster: HollowCluster, node: Path, first_port: int, life_s: int) -> None:
    certificate = node / "pki/agent-n1.crt"

    def end_s() -> float:
        found_s = validity(certificate.read_bytes())[1]
        if found_s < CLOCK.now():
            raise LateError
        return found_s

    began_s = end_s()
    until(lambda: end_s() and renewed(cluster), "the node's Lease")
    renewals = 2 * life_s + DEADLINE_S
    until(lambda: end_s() > began_s + life_s, "two renewals", timeout_s=renewals)
    before = renewed(cluster)
    until(lambda: renewed(cluster) != before, "a heartbeat after the first certificate's end")
    port = first_port + (cluster.ports["agent"] - cluster.first_port)
    until(lambda: served_until(port) > began_s, "the agent serving with a new one")


def renewed(cluster: HollowCluster) -> str | None:
    url = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"
    status, lease = cluster.ask(url)
    return lease["spec"]["renewTime"] if status == 200 else None


def served_until(port: int) -> float:
    """Return until when the certificate is valid that the agent shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return validity(pem.encode())[1]
