"""Take a renewed certificate into use at every door of a member, without a restart.

Connections that stand keep the old certificate; every new one, in either direction, has the
new. So it is with the authority: to change it, put both into its file, then renew the
certificates, then take the old one out, and start the members again one after the other.
"""

import asyncio
import logging
import ssl
import threading
from typing import Final

import grpc

from wherry.pki.tls import TlsFiles
from wherry.process.reload import CertificateReload
from wherry.store.net import Sockets

log = logging.getLogger(__name__)


async def keep_renewed(files: TlsFiles, *networks: Sockets) -> None:
    """Look for new files from time to time, for clients and members; until cancelled."""
    every = [context for one in networks for context in (one.server_tls, one.client_tls)]
    contexts = dict.fromkeys(context for context in every if context is not None)
    async with asyncio.TaskGroup() as tasks:
        for context in contexts:
            tasks.create_task(CertificateReload(context, files).run())


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials for a gRPC server that asks for a certificate and renews its own.

    Raises:
        OSError: a file cannot be read.
    """
    pair = RenewedPair(files)
    return grpc.dynamic_ssl_server_credentials(
        pair.load(),
        pair.renewed,  # type: ignore[arg-type]  # None says "no change", as gRPC documents
        require_client_authentication=True,
    )


class RenewedPair:
    """What a gRPC server shows; it asks before every handshake, from threads of its own."""

    def __init__(self, files: TlsFiles) -> None:
        self._files: Final = files
        self._lock: Final = threading.Lock()
        self._seen = self._times()

    def load(self) -> grpc.ServerCertificateConfiguration:
        """Read all files."""
        files = self._files
        pair = (files.key.read_bytes(), files.cert.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], files.ca.read_bytes())

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold if they were written since; None: nothing new."""
        with self._lock:
            try:
                times = self._times()
                if times == self._seen:
                    return None
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    self._files.cert, self._files.key
                )  # fails between two renames, when they do not belong together
                loaded = self.load()
            except (OSError, ssl.SSLError) as error:
                log.warning("keeping the old certificate %s: %s", self._files.cert, error)
                return None
            self._seen = times
            return loaded

    def _times(self) -> tuple[int, ...]:
        files = (self._files.cert, self._files.key, self._files.ca)
        return tuple(path.stat().st_mtime_ns for path in files)
