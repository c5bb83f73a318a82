"""Whom a certificate names, and what one consists of; the rest of `pki` needs cryptography."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate names: user, groups, and the addresses it may serve."""

    user: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    server: bool = False
    client: bool = True
