"""What every namespace has from the start: ServiceAccount `default`, ConfigMap `kube-root-ca.crt`.

An API server writes them together with the namespace, and controllers bring them back when
somebody deletes them: both say the same, which is this. The ConfigMap holds the cluster's
authority, so that a pod can tell the real API server.
"""

from typing import Any, Final

DEFAULT_ACCOUNT: Final = "default"
ROOT_CA: Final = "kube-root-ca.crt"
CA_KEY: Final = "ca.crt"
_DESCRIPTION: Final = {"kubernetes.io/description": "The authority of the cluster's API servers."}


def default_account(namespace: str) -> dict[str, Any]:
    """Return the account of pods that name none."""
    return {"metadata": {"name": DEFAULT_ACCOUNT, "namespace": namespace}}


def root_ca(namespace: str, ca: str) -> dict[str, Any]:
    """Return the ConfigMap with the authority; `ca` is its certificate, PEM."""
    metadata = {"name": ROOT_CA, "namespace": namespace, "annotations": dict(_DESCRIPTION)}
    return {"metadata": metadata, "data": {CA_KEY: ca}}
