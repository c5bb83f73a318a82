"""Who may enter a member's doors, with which certificate, and that nothing passes in the clear."""

import asyncio
import contextlib
import ssl
from random import Random

import grpc
import pytest
from store_process import CountedSockets, Processes, cluster, write_pair
from store_recorder import leader

from wherry.api.errors import UnavailableError
from wherry.pki.certificates import issue
from wherry.pki.subject import Subject
from wherry.pki.tls import client_context
from wherry.process.clock import SystemClock
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.kv import Put, Range

pytestmark = pytest.mark.integration

KUBELET = Subject("system:node:n1", ("system:nodes",), hosts=("m3", "127.0.0.1"), server=True)
CONTROLLER = Subject("system:kube-controller-manager", hosts=("m3", "127.0.0.1"), server=True)
ADMIN = Subject("admin", ("system:masters",), hosts=("m3", "127.0.0.1"), server=True)
STRANGERS = {"kubelet": KUBELET, "controller": CONTROLLER}


def give(processes: Processes, name: str, subject: Subject) -> None:
    """Replace a pair of files by one that names this subject."""
    write_pair(processes.directory, name, issue(processes.ca, subject, now_s=SystemClock().now()))


def test_clients_of_the_wrong_role_are_refused() -> None:
    async def main() -> None:
        async with cluster(1) as processes:
            for role, subject in STRANGERS.items():
                give(processes, role, subject)
            for name, welcome in (("admin", True), ("m1", True), *((r, False) for r in STRANGERS)):
                network = CountedSockets(client_tls=client_context(processes.tls(name)))
                patience_s = 60 if welcome else 1
                client = StoreClient([processes.rpc("m1")], network, Random(), timeout_s=patience_s)
                etcd = EtcdStore(
                    [processes.etcd("m1")], Random(), tls=processes.tls(name), timeout_s=60
                )
                if welcome:
                    await client.txn([], [Put(b"/a", b"1")])
                    assert (await etcd.range(Range(b"/a"))).count == 1
                else:
                    with pytest.raises(UnavailableError):
                        await client.range(Range(b"/a"))
                    with pytest.raises((grpc.aio.AioRpcError, UnavailableError)) as told:
                        await etcd.range(Range(b"/a"))
                    assert "permission denied" in str(told.value)
                await client.close()
                await network.ended()
                await etcd.close()
            mode = (processes.directory / "m1.sock").stat().st_mode & 0o777
            assert mode == 0o600

    asyncio.run(main())


def test_no_door_opens_without_a_certificate_or_in_the_clear() -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            anonymous = ssl.create_default_context(cafile=str(processes.tls("m1").ca))
            for endpoint in (processes.peer("m1"), processes.rpc("m1"), processes.etcd("m1")):
                host, _, port = endpoint.partition(":")
                for context in (anonymous, None):
                    said = b""
                    # In TLS 1.3 a client learns late that it is refused, so both may fail.
                    with contextlib.suppress(ssl.SSLError, ConnectionError):
                        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
                        writer.write(b"\x00\x00\x00\x01\x90PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                        async with asyncio.timeout(60):
                            with contextlib.suppress(ssl.SSLError, ConnectionError):
                                said = await reader.read()
                        writer.close()
                        with contextlib.suppress(OSError):
                            await writer.wait_closed()
                    alert = said[:1] == b"\x15"  # TLS: why it is refused
                    assert not said or alert, f"{endpoint} answered {said!r}"

    asyncio.run(main())


@pytest.mark.parametrize(
    "subject",
    [
        KUBELET,
        CONTROLLER,
        ADMIN,
        Subject("system:store", ("system:store",), hosts=("m2", "127.0.0.1"), server=True),
    ],
    ids=["kubelet", "controller", "admin", "another member"],
)
def test_only_the_members_own_certificate_opens_a_peer_link(subject: Subject) -> None:
    """A member comes back with a certificate of the cluster that is somebody else's."""

    async def main() -> None:
        async with cluster(3) as processes:
            await leader(processes)
            processes.kill("m3")
            give(processes, "m3", subject)
            processes.start("m3")
            async with asyncio.timeout(60):
                while "does not name" not in processes.log("m1") + processes.log("m2"):
                    await asyncio.sleep(0.05)
            alone = processes.pinned("m3", timeout_s=60)
            assert not (await alone.status()).leader
            await alone.close()
            client = processes.client("m1", timeout_s=60)
            await client.txn([], [Put(b"/a", b"1")])
            await client.close()

    asyncio.run(main())


async def shown(processes: Processes, endpoint: str) -> bytes:
    """Return the certificate that a door shows."""
    host, _, port = endpoint.partition(":")
    context = client_context(processes.tls("admin"), check_hostname=False)
    context.set_alpn_protocols(["h2"])  # gRPC insists
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return bytes(certificate)


def test_renewed_certificates_are_used_without_a_restart() -> None:
    """At all three doors, and towards other members; who is connected stays."""

    async def main() -> None:
        async with cluster(3) as processes:
            doors = {"m1": [processes.peer("m1"), processes.rpc("m1"), processes.etcd("m1")]}
            old = {await shown(processes, door) for door in doors["m1"]}
            assert len(old) == 1
            subject = Subject("system:store", hosts=("m1", "renewed", "127.0.0.1"), server=True)
            give(processes, "m1", subject)
            new = ssl.PEM_cert_to_DER_cert((processes.directory / "m1.crt").read_text())
            async with asyncio.timeout(60):
                for door in doors["m1"]:
                    while await shown(processes, door) != new:
                        await asyncio.sleep(0.2)
            term = (await (client := processes.pinned("m1")).status()).term
            await client.txn([], [Put(b"/a", b"1")])
            assert (await client.status()).term == term, "the links that stood were lost"
            await client.close()
            processes.kill("m2")
            processes.start("m2")  # it and m1 dial each other anew
            again = processes.pinned("m2", timeout_s=60)
            assert (await again.range(Range(b"/a"))).count == 1
            await again.close()

    asyncio.run(main())
