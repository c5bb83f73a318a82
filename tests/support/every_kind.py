"""One sample object of every kind (`every_kind.yaml`), but a CertificateSigningRequest, made here."""

import base64
import copy
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wherry.apiserver.resources import SERVED, Resource

_FILE = Path(__file__).with_suffix(".yaml")


def _signing_request() -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "sample"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": "example.test/signer",
            "usages": ["client auth"],
        },
    }


def samples() -> list[dict[str, Any]]:
    """Return fresh copies of all samples."""
    return copy.deepcopy([*yaml.safe_load(_FILE.read_text()), _signing_request()])


def row_of(sample: dict[str, Any]) -> Resource:
    """Return a sample's row in the table of kinds."""
    address = (sample["apiVersion"], sample["kind"])
    return next(row for row in SERVED if (row.kind.api_version, row.kind.kind) == address)


def identify(sample: dict[str, Any]) -> str:
    """Return a test's name for a sample."""
    return row_of(sample).kind.qualified + ("" if "v1" not in sample["metadata"]["name"] else ".v1")
