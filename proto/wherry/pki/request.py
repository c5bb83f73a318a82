"""Certificate signing requests (PKCS #10): made by whoever wants a certificate, read by who decides.

Pure but for the signature's randomness; keys come from `certificates.create_key`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wherry.pki.certificates import PublicKey, alternative_names, distinguished_name
from wherry.pki.subject import Subject

_BLOCK = b"-----BEGIN CERTIFICATE REQUEST-----"


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks for, its signature checked; `other` are names of other kinds."""

    user: str
    groups: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    other: tuple[str, ...]
    public_key: PublicKey


def create_request(key: bytes, subject: Subject) -> bytes:
    """Return a request for `subject`, PEM, signed with `key` (PEM, EC).

    Raises:
        ValueError: the key cannot be read.
    """
    private = _private(key)
    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name(subject))
    if subject.hosts:
        names = x509.SubjectAlternativeName(alternative_names(subject.hosts))
        builder = builder.add_extension(names, critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def parse_request(pem: bytes) -> Request:
    """Read a request.

    Raises:
        ValueError: it is none, or not signed by its own key. The texts are Kubernetes'.
    """
    if not pem.lstrip().startswith(_BLOCK):
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    try:
        request = x509.load_pem_x509_csr(pem)
        signed = request.is_signature_valid
        key = request.public_key()
        names = _alternative_names(request)
    except (
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(f"cannot read the certificate request: {error}") from error
    if not signed:
        raise ValueError("the certificate request is not signed by its own key")
    if not isinstance(key, PublicKey):
        raise ValueError("unsupported kind of key in the certificate request")  # noqa: TRY004
    users = _values(request.subject, NameOID.COMMON_NAME)
    return Request(
        user=users[0] if len(users) == 1 else "",
        groups=_values(request.subject, NameOID.ORGANIZATION_NAME),
        dns=tuple(n.value for n in names if isinstance(n, x509.DNSName)),
        ips=tuple(str(n.value) for n in names if isinstance(n, x509.IPAddress)),
        other=tuple(
            str(n.value) for n in names if not isinstance(n, x509.DNSName | x509.IPAddress)
        ),
        public_key=key,
    )


def request_name(key: bytes, subject: Subject, requester: str) -> str:
    """Return the name under which a request is made: the same again for the same question.

    So a run that was killed finds its own request. As the kubelet's `node-csr-` digest.
    """
    digest = hashlib.sha256(_public_bytes(_private(key).public_key()))
    for part in (subject.user, *subject.groups, "", *subject.hosts, "", requester):
        digest.update(b"\0" + part.encode())
    return f"node-csr-{digest.hexdigest()[:40]}"


def belongs(certificate: bytes, key: bytes) -> bool:
    """Tell whether a certificate is for a private key, both PEM; False where one is unreadable."""
    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
        private = _private(key)
    except (UnsupportedAlgorithm, ValueError):
        return False
    return isinstance(public, PublicKey) and _public_bytes(public) == _public_bytes(
        private.public_key()
    )


def validity(certificate: bytes) -> tuple[float, float]:
    """Return from when until when a PEM certificate is valid, epoch seconds.

    Raises:
        ValueError: it is no certificate.
    """
    loaded = x509.load_pem_x509_certificate(certificate)
    return loaded.not_valid_before_utc.timestamp(), loaded.not_valid_after_utc.timestamp()


def signed_by(certificate: bytes, ca: bytes, *, now_s: float) -> bool:
    """Tell whether a certificate was issued by `ca` and is valid now."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate)
        loaded.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    now = datetime.fromtimestamp(now_s, UTC)
    return loaded.not_valid_before_utc <= now < loaded.not_valid_after_utc


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(key, password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError("the private key is not an EC key")  # noqa: TRY004  # of the file
    return loaded


def _public_bytes(key: PublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _alternative_names(request: x509.CertificateSigningRequest) -> Sequence[x509.GeneralName]:
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return list(found.value)


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(a.value) for a in name.get_attributes_for_oid(oid))
