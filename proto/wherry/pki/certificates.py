"""Issue certificates as Kubernetes reads them: common name = user, organisations = groups.

Keys are EC P-256. This module makes PEM bytes and touches no disk; `now` and validity are
arguments, serial numbers and keys come from the system's generator.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wherry.pki.subject import KeyPair, Subject

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 365
RENEW_DAYS: Final = 30
BACKDATE_S: Final = 300
"""Hosts whose clocks are a little behind accept a fresh certificate."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
"""Keys that a certificate may be for; our own are EC P-256."""


def create_ca(common_name: str, *, now_s: float) -> KeyPair:
    """Create a self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        _builder(name, name, key.public_key(), now_s, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def issue(ca: KeyPair, subject: Subject, *, now_s: float, days: float = LEAF_DAYS) -> KeyPair:
    """Issue a leaf certificate with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(sign(ca, subject, key.public_key(), now_s=now_s, days=days), _key_pem(key))


def sign(
    ca: KeyPair,
    subject: Subject,
    public_key: PublicKey,
    *,
    now_s: float,
    days: float = LEAF_DAYS,
) -> bytes:
    """Sign a public key for `subject`; returns the certificate, PEM."""
    ca_certificate = x509.load_pem_x509_certificate(ca.certificate)
    ca_key = serialization.load_pem_private_key(ca.key, password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA key is not an EC key")
    uses = [ExtendedKeyUsageOID.SERVER_AUTH] * subject.server
    uses += [ExtendedKeyUsageOID.CLIENT_AUTH] * subject.client
    builder = (
        _builder(ca_certificate.subject, distinguished_name(subject), public_key, now_s, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )
    if subject.hosts:
        names = x509.SubjectAlternativeName(alternative_names(subject.hosts))
        builder = builder.add_extension(names, critical=False)
    return _pem(builder.sign(ca_key, hashes.SHA256()))


def create_key() -> bytes:
    """Create a private key, PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def create_signing_key() -> bytes:
    """Create the key that signs ServiceAccount tokens (ES256), PEM."""
    return create_key()


def identity(certificate: bytes) -> tuple[str, tuple[str, ...]]:
    """Return (common name, organisations) of a PEM or DER certificate."""
    subject = _load(certificate).subject
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return (names[0] if names else ""), groups


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM or DER certificate, of its DER form and in hexadecimal."""
    return _load(certificate).fingerprint(hashes.SHA256()).hex()


def _load(certificate: bytes) -> x509.Certificate:
    pem = certificate.startswith(b"-----")
    load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
    return load(certificate)


def names(
    certificate: bytes, subject: Subject, *, now_s: float, left_days: float = RENEW_DAYS
) -> bool:
    """Tell whether a PEM certificate says what `subject` does and lasts another `left_days`."""
    loaded = x509.load_pem_x509_certificate(certificate)
    until = datetime.fromtimestamp(now_s, UTC) + timedelta(days=left_days)
    try:
        extension = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        hosts = {str(name.value) for name in extension.value}
    except x509.ExtensionNotFound:
        hosts = set()
    return (
        identity(certificate) == (subject.user, subject.groups)
        and hosts == set(subject.hosts)
        and loaded.not_valid_after_utc > until
    )


def _builder(
    issuer: x509.Name,
    name: x509.Name,
    public_key: PublicKey,
    now_s: float,
    days: float,
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_s, UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=BACKDATE_S))
        .not_valid_after(now + timedelta(days=days))
    )


def distinguished_name(subject: Subject) -> x509.Name:
    """Return user and groups as X.509 writes them."""
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in subject.groups]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, subject.user)])


def alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Return addresses and DNS names as X.509 writes them."""
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not sign,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
