"""`wherry apiserver --workers`: several processes behind one port, one truth."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import store_process
from apiserver_pki import TestPki
from ports import claim

from lablib.chaos.rest import Connection, NoAnswerError
from wherry.pki.tls import client_context

pytestmark = pytest.mark.integration
NAMESPACE = "/api/v1/namespaces/default"
MAPS = f"{NAMESPACE}/configmaps"
WITHIN_S = 90.0


def children(pid: int) -> set[int]:
    """Return the pids of a process's children."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(each) for each in path.read_text().split()}


def test_workers_share_a_port_see_each_others_writes_and_are_replaced(tmp_path: Path) -> None:
    pki = TestPki(tmp_path)
    serving, admin = pki.files("kube-apiserver", server=True), pki.admin()
    secure, plain = claim(2)
    tls = client_context(admin)

    async def ask(method: str, path: str, body: object = None) -> int:
        """Ask on a new connection, which the kernel gives to any worker; 0 for no answer."""
        connection = Connection("127.0.0.1", secure, tls, timeout_s=30)
        try:
            return (await connection.request(method, path, body)).status
        except NoAnswerError:
            return 0
        finally:
            connection.close()

    async def main(pid: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            # The namespace is made beside the doors: whoever is ready may not have it yet.
            while not children(pid) or await ask("GET", NAMESPACE) != 200:
                await asyncio.sleep(0.05)
            for number in range(20):  # each write is read at once, wherever that lands
                assert await ask("POST", MAPS, {"metadata": {"name": f"n{number}"}}) == 201
                codes = [await ask("GET", f"{MAPS}/n{number}") for _ in range(4)]
                assert codes == [200] * 4
        (sibling,) = children(pid)
        os.kill(sibling, signal.SIGKILL)
        async with asyncio.timeout(WITHIN_S):
            while not children(pid) - {sibling}:
                await asyncio.sleep(0.05)
            answered = 0
            while answered < 20:  # those that the dead one had accepted are lost, no others
                answered += await ask("GET", f"{MAPS}/n1") == 200

    async def with_store() -> None:
        async with store_process.cluster(1) as members:
            with ExitStack() as stack:
                log = stack.enter_context((tmp_path / "apiserver.log").open("wb"))
                process = stack.enter_context(
                    subprocess.Popen(
                        [
                            *(sys.executable, "-m", "wherry.cli", "apiserver", "--workers", "2"),
                            *("--advertise-address", "127.0.0.1", "--bind-address", "127.0.0.1"),
                            *("--secure-port", str(secure), "--grpc-port", str(plain)),
                            *("--health-port", "0", "--store", members.socket("m1")),
                            *("--tls-cert-file", str(serving.cert)),
                            *("--tls-private-key-file", str(serving.key)),
                            *("--client-ca-file", str(pki.ca)),
                        ],
                        stderr=log,
                    )
                )
                stack.callback(process.terminate)
                await main(process.pid)
                siblings = children(process.pid)
                process.terminate()
                assert await asyncio.to_thread(process.wait, 60) == 0
                assert not [pid for pid in siblings if Path(f"/proc/{pid}").exists()]

    asyncio.run(with_store())


def test_workers_need_ports_that_are_known() -> None:
    told = subprocess.run(
        [
            *(sys.executable, "-m", "wherry.cli", "apiserver", "--workers", "2"),
            *("--advertise-address", "127.0.0.1", "--secure-port", "0", "--store", "memory://"),
            *("--tls-cert-file", "c", "--tls-private-key-file", "k", "--client-ca-file", "ca"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode == 2
    assert "--workers needs ports that are known" in told.stderr
