"""A member takes renewed certificates into use: as server, as client, and over gRPC."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from renewed_files import renew
from virtual_loop import run

from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import KeyPair, Subject
from wherry.pki.tls import TlsFiles, client_context, server_context
from wherry.process.clock import SystemClock
from wherry.process.reload import EVERY_S
from wherry.store.net import Sockets
from wherry.store.renewal import RenewedPair, keep_renewed

NOW_S = SystemClock().now()
CA = create_ca("ca", now_s=NOW_S)


def pair(name: str, authority: KeyPair = CA) -> KeyPair:
    subject = Subject("system:store", hosts=(name, "localhost"), server=True)
    return issue(authority, subject, now_s=NOW_S)


def write(files: TlsFiles, one: KeyPair) -> None:
    renew(files.key, one.key)
    renew(files.cert, one.certificate)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    made = TlsFiles(tmp_path / "c.crt", tmp_path / "c.key", tmp_path / "ca.crt")
    made.ca.write_bytes(CA.certificate)
    old = pair("old")
    made.key.write_bytes(old.key)
    made.cert.write_bytes(old.certificate)
    return made


def shown(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """Return what names server and client show each other, in a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    waiting = [here, there]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    return name_in(here.getpeercert()), name_in(there.getpeercert())


def name_in(certificate: object) -> str:
    assert isinstance(certificate, dict)
    return str(certificate["subjectAltName"][0][1])


def test_both_sides_show_the_renewed_certificate(files: TlsFiles) -> None:
    server = server_context(files)
    clients = Sockets(server, client_context(files))
    members = Sockets(server, client_context(files, check_hostname=False))

    async def main() -> None:
        renewing = asyncio.ensure_future(keep_renewed(files, clients, members))
        await asyncio.sleep(EVERY_S)
        assert shown(server, server_client(clients)) == ("old", "old")
        write(files, pair("new"))
        await asyncio.sleep(EVERY_S + 0.1)
        for network in (clients, members):
            assert shown(server, server_client(network)) == ("new", "new")
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing

    run(main())


def test_another_authority_is_trusted_beside_the_old_one(files: TlsFiles) -> None:
    """As it is changed in a cluster: both, then new certificates, one member after the other."""
    other = create_ca("another", now_s=NOW_S)
    context, client = server_context(files), client_context(files)
    network = Sockets(context, client)
    grpc = RenewedPair(files)

    async def main() -> None:
        renewing = asyncio.ensure_future(keep_renewed(files, network))
        await asyncio.sleep(EVERY_S)
        renew(files.ca, CA.certificate + other.certificate)
        await asyncio.sleep(EVERY_S + 0.1)
        assert grpc.renewed() is not None
        write(files, pair("new", other))
        renewed = server_context(files), client_context(files)
        assert shown(context, renewed[1]) == ("old", "new")
        assert shown(renewed[0], client) == ("new", "old")
        assert grpc.renewed() is not None
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing

    run(main())


def server_client(network: Sockets) -> ssl.SSLContext:
    assert network.client_tls is not None
    return network.client_tls


def test_grpc_is_told_once_and_only_of_what_fits(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = RenewedPair(files)
    assert renewed.renewed() is None
    new = pair("new")
    renew(files.key, new.key)  # between two renames
    assert renewed.renewed() is None
    assert "keeping the old certificate" in caplog.text
    renew(files.cert, new.certificate)
    assert renewed.renewed() is not None
    assert renewed.renewed() is None
    files.cert.unlink()
    assert renewed.renewed() is None
