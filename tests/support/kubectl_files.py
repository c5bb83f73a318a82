"""The files that stories of the kubectl table read: manifests, and keys that are new each time."""

import base64
from pathlib import Path
from typing import Final

from apiserver_pki import TestPki

from wherry.pki.certificates import create_key
from wherry.pki.request import create_request
from wherry.pki.subject import Subject

_REQUEST: Final = """\
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: {name}}}
spec:
  request: {request}
  signerName: {signer}
  usages: [digital signature, client auth]
"""
_CLIENT: Final = "kubernetes.io/kube-apiserver-client"


def lay_out(manifests: Path, directory: Path, namespace: str) -> None:
    """Copy the manifests, with the namespace for its name in braces, and add what has a key.

    `web.crt`, `web.key` and `other.key` are for Secrets; `csr.yaml` asks the API server's signer
    for certificates of ann and bob, and one that nobody knows for carl's.
    """
    for manifest in (path for path in manifests.rglob("*") if path.is_file()):
        copy = directory / manifest.relative_to(manifests)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(manifest.read_text().replace("{namespace}", namespace))
    TestPki(directory).files("web")
    (directory / "other.key").write_bytes(create_key())
    signers = {"ann": _CLIENT, "bob": _CLIENT, "carl": "example.com/nobody"}
    requests = [
        _REQUEST.format(name=f"{namespace}-{user}", request=_pem(user), signer=signer)
        for user, signer in signers.items()
    ]
    (directory / "csr.yaml").write_text("---\n".join(requests))


def _pem(user: str) -> str:
    return base64.b64encode(create_request(create_key(), Subject(user, ("staff",)))).decode()
