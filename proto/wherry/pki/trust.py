"""Which certificates an authority file vouches for, and until when. Pure.

TLS looks at a client's certificate once, when the connection is made, and OpenSSL cannot forget
an authority that it was given. kube-apiserver looks at each request (`x509.Certificate.Verify`):
so do we, but only at what may have changed since TLS looked, the time and the authorities. Purpose
and constraints of the certificates were TLS's to check.
"""

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

_MOST: Final = 8
"""Certificates of a chain that are looked at: each costs a signature, and clients send them."""

Certificate = x509.Certificate


def read(certificates: bytes) -> list[Certificate]:
    """Read certificates, PEM, or a single one, DER.

    Raises:
        ValueError: there are none, or one cannot be read.
    """
    if b"-----BEGIN" in certificates:
        return x509.load_pem_x509_certificates(certificates)
    return [x509.load_der_x509_certificate(certificates)]


def end_s(certificate: Certificate) -> float:
    """Return until when a certificate is valid, epoch seconds; that second is included, as in Go."""
    return certificate.not_valid_after_utc.timestamp()


def lasts(certificate: Certificate, now_s: float) -> bool:
    """Tell whether a certificate is valid now."""
    return certificate.not_valid_before_utc.timestamp() <= now_s <= end_s(certificate)


class Authorities:
    """The certificates of `--client-ca-file`.

    Args:
        file: Its content, PEM.

    Raises:
        ValueError: there is no certificate in it, or one that cannot be read.
    """

    def __init__(self, file: bytes) -> None:
        self._anchors = read(file)

    def until(self, chain: Sequence[Certificate], now_s: float) -> float | None:
        """Return until when the first of `chain` is valid, epoch seconds.

        Args:
            chain: A peer's certificate, and those that it sent along, in any order.
            now_s: The time.

        Returns:
            The earliest end among it, the authority and those between; None where it does not
            come from an authority, or one on the way is not valid now.
        """
        return self._until(chain[0], list(chain[1:_MOST]), now_s)

    def _until(self, one: Certificate, between: list[Certificate], now_s: float) -> float | None:
        if not lasts(one, now_s):
            return None
        for anchor in self._anchors:
            if lasts(anchor, now_s) and _issued(one, anchor):
                return min(end_s(one), end_s(anchor))
        for issuer in [each for each in between if _is_authority(each) and _issued(one, each)]:
            if issuer in between:  # else it was tried already, further up
                between.remove(issuer)
                if (above_s := self._until(issuer, between, now_s)) is not None:
                    return min(end_s(one), above_s)
        return None


def _issued(one: Certificate, issuer: Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def _is_authority(certificate: Certificate) -> bool:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return basic.value.ca
