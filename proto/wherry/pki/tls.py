"""TLS contexts: 1.3 only, certificates of the cluster's own authority on both sides."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherry.api.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of a certificate, its key, and the authority that peers must come from."""

    cert: Path
    key: Path
    ca: Path

    def check(self) -> None:
        """Raise `ConfigError` naming the first file that cannot be read."""
        for path in (self.cert, self.key, self.ca):
            try:
                path.read_bytes()
            except OSError as error:
                raise ConfigError(
                    f"cannot read {path}: {error.strerror}; run 'wherry init' to make certificates"
                ) from error


_TOLD: Final = ("NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL")
"""Why handshakes fail of clients that are too old: also worth an alert."""


class _ServerSide(ssl.SSLObject):
    """Lets the alert out that tells a client why its certificate, or its TLS, is refused.

    asyncio and uvloop cut the connection where a handshake fails, and the alert, which waits
    to be sent, with it: the client sees a reset. So the failure is reported as "more is needed"
    once, upon which they send what waits; the client ends the connection, or the next attempt
    fails for good.
    """

    _told = False

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            certificate = isinstance(error, ssl.SSLCertVerificationError)
            if self._told or not (certificate or error.reason in _TOLD):
                raise
            self._told = True
            if isinstance(error, ssl.SSLCertVerificationError):
                log.info("refused a client's certificate: %s", error.verify_message)
            raise ssl.SSLWantReadError from error


def server_context(files: TlsFiles, *, require_client: bool = True) -> ssl.SSLContext:
    """Return a server's context; without `require_client` a client certificate is optional."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _ServerSide
    _load(context, files)
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return context


def client_context(files: TlsFiles, *, check_hostname: bool = True) -> ssl.SSLContext:
    """Return a client's context.

    Without `check_hostname` any certificate of the authority is accepted at this level:
    then the caller checks whom the peer's certificate names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    _load(context, files)
    return context


def presented(tls: ssl.SSLObject) -> bytes | None:
    """Return the peer's certificate, PEM, and after it those that it sent along; None: it sent none."""
    if tls.getpeercert(binary_form=True) is None:
        return None
    # Public from Python 3.13 on, which calls this one.
    chain = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001
    return "".join(each.public_bytes() for each in chain).encode()


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    files.check()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(files.cert, files.key)
        context.load_verify_locations(files.ca)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{files.cert}, {files.key} and {files.ca} do not belong together: {error.reason}"
        ) from error
