"""Certificates as text (PEM): what of it may be stored. Source: certificates `validateCertificate`."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509

_BEGIN: Final = b"-----BEGIN "
_DASHES: Final = b"-----"


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two lines of dashes."""

    label: str
    has_headers: bool
    content: bytes


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks of a text; what is no block, or not base64, is passed over as in Go."""
    label: bytes | None = None
    lines: list[bytes] = []
    for line in map(bytes.strip, data.splitlines()):
        if line.startswith(_BEGIN) and line.endswith(_DASHES):
            label, lines = line.removeprefix(_BEGIN).removesuffix(_DASHES), []
        elif label is not None and line == b"-----END %b-----" % label:
            text = b"".join(each for each in lines if b":" not in each)
            try:
                content = base64.b64decode(text, validate=True)
            except binascii.Error:
                label = None
                continue
            yield Block(
                label.decode(errors="replace"), any(b":" in each for each in lines), content
            )
            label = None
        elif label is not None:
            lines.append(line)


def certificates_fault(data: bytes) -> str:
    """Return what is wrong with certificates, in upstream's words but for those inside of one."""
    found = 0
    for block in blocks(data):
        if block.label != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{block.label}"'
        if block.has_headers:
            return "no PEM block headers are permitted"
        found += 1
        try:
            x509.load_der_x509_certificate(block.content)
        except ValueError as error:
            return str(error)
    return "" if found else "must contain at least one CERTIFICATE PEM block"
