"""A server takes renewed certificates into use, and keeps the old ones while files do not fit."""

import socket
import ssl
from pathlib import Path
from threading import Thread

import pytest
from renewed_files import renew

from wherry.pki.certificates import create_ca, identity, issue
from wherry.pki.subject import KeyPair, Subject
from wherry.pki.tls import TlsFiles, server_context
from wherry.process.clock import SystemClock
from wherry.process.reload import CertificateReload

NOW_S = SystemClock().now()
CA = create_ca("ca", now_s=NOW_S)


def pair(user: str) -> KeyPair:
    return issue(CA, Subject(user, hosts=("localhost",), server=True), now_s=NOW_S)


def shown_by(context: ssl.SSLContext) -> str:
    """Return whom the server's certificate names, in a handshake over a socket pair."""
    ours, theirs = socket.socketpair()
    server = Thread(target=lambda: context.wrap_socket(theirs, server_side=True).close())
    server.start()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=CA.certificate.decode())
    try:
        with client.wrap_socket(ours, server_hostname="localhost") as connection:
            certificate = connection.getpeercert(binary_form=True)
    finally:
        server.join()
    assert certificate is not None
    return identity(certificate)[0]


def test_renewed_files_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = TlsFiles(tmp_path / "c.crt", tmp_path / "c.key", tmp_path / "ca.crt")
    first, second = pair("first"), pair("second")
    files.ca.write_bytes(CA.certificate)
    files.cert.write_bytes(first.certificate)
    files.key.write_bytes(first.key)
    context = server_context(files, require_client=False)
    reload = CertificateReload(context, files)
    reload.check()
    assert shown_by(context) == "first"
    renew(files.key, second.key)
    reload.check()
    assert "keeping the old certificate" in caplog.text
    assert shown_by(context) == "first"
    renew(files.cert, second.certificate)
    reload.check()
    assert shown_by(context) == "second"
    files.cert.unlink()
    reload.check()
    assert shown_by(context) == "second"
