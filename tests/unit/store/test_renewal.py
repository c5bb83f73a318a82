"""A member takes renewed certificates into use: as server, as client, and over gRPC."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
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


def pair(name: str) -> KeyPair:
    subject = Subject("system:store", hosts=(name, "localhost"), server=True)
    return issue(CA, subject, now_s=NOW_S)


def write(files: TlsFiles, one: KeyPair) -> None:
    files.key.write_bytes(one.key)
    files.cert.write_bytes(one.certificate)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    made = TlsFiles(tmp_path / "c.crt", tmp_path / "c.key", tmp_path / "ca.crt")
    made.ca.write_bytes(CA.certificate)
    write(made, pair("old"))
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


def server_client(network: Sockets) -> ssl.SSLContext:
    assert network.client_tls is not None
    return network.client_tls


def test_grpc_is_told_once_and_only_of_what_fits(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = RenewedPair(files)
    assert renewed.renewed() is None
    new = pair("new")
    files.key.write_bytes(new.key)  # between two renames
    assert renewed.renewed() is None
    assert "keeping the old certificate" in caplog.text
    files.cert.write_bytes(new.certificate)
    assert renewed.renewed() is not None
    assert renewed.renewed() is None
    files.cert.unlink()
    assert renewed.renewed() is None
