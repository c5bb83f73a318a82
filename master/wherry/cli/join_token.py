"""The token that makes a machine a node: `ID.SECRET.CAHASH`. Pure.

ID.SECRET is a bootstrap token as kubeadm's; it lets its bearer ask for a node's certificates
and nothing else. CAHASH is the SHA-256 of the authority's certificate (DER, hexadecimal): by
it the machine knows that it talks to the cluster that it was sent to.
"""

import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from wherry.api.errors import ConfigError

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """The three parts."""

    ident: str
    secret: str
    ca_hash: str

    @property
    def bearer(self) -> str:
        """Return what is shown to the API server."""
        return f"{self.ident}.{self.secret}"

    @property
    def user(self) -> str:
        """Return whom the API server takes the bearer for."""
        return f"system:bootstrap:{self.ident}"


def parse_token(text: str) -> JoinToken:
    """Read a token.

    Raises:
        ConfigError: it is none. What was given is not repeated: it may be a secret.
    """
    found = _TOKEN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            "cannot read the token: expected ID.SECRET.CAHASH, 6, 16 and 64 characters, "
            "as 'wherry init' writes it into join.token"
        )
    return JoinToken(*found.groups())


def ca_fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM certificate's DER form, hexadecimal.

    Raises:
        ValueError: it is no certificate.
    """
    der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    return hashlib.sha256(der).hexdigest()


def pinned(bundle: bytes, ca_hash: str) -> bytes:
    """Return the certificate of a PEM bundle that has the token's hash.

    Raises:
        ConfigError: none has.
    """
    try:
        found = x509.load_pem_x509_certificates(bundle)
    except ValueError as error:
        raise ConfigError(f"the cluster's authority cannot be read: {error}") from error
    hashes = []
    for certificate in found:
        pem = certificate.public_bytes(Encoding.PEM)
        hashes.append(ca_fingerprint(pem))
        if hashes[-1] == ca_hash:
            return pem
    raise ConfigError(
        f"this is not the cluster that the token is for: its authority has hash {hashes[0]}, "
        f"the token says {ca_hash}; somebody may be in between"
    )
