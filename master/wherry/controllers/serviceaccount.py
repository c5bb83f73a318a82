"""What every namespace has from the start: ServiceAccount `default`, ConfigMap `kube-root-ca.crt`.

Both come back when somebody deletes them. The ConfigMap holds the cluster's authority, so
that a pod can tell the real API server.
Source: kubernetes `pkg/controller/serviceaccount`, `pkg/controller/certificates/rootcacertpublisher`.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from wherry.api.kinds import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT
from wherry.controllers.framework import (
    Caches,
    Create,
    Environment,
    Index,
    Patch,
    Result,
    Source,
    own_key,
)
from wherry.controllers.views import ConfigMap, Namespace

DEFAULT: Final = "default"
ROOT_CA: Final = "kube-root-ca.crt"
_CA_KEY: Final = "ca.crt"


def _named(name: str) -> Callable[[Caches, Any, Any], Iterable[str]]:
    """Wake the namespace of an object of that name, when it is changed or gone."""

    def keys(_caches: Caches, old: Any, new: Any) -> Iterable[str]:
        meta = (old if new is None else new).metadata
        return (meta.namespace,) if meta.name == name and old is not None else ()

    return keys


def _alive(env: Environment, name: str) -> bool:
    namespace: Namespace | None = env.caches[NAMESPACE].get(name)
    return namespace is not None and not namespace.metadata.deleting


class ServiceAccountController:
    """Gives every namespace its `default` ServiceAccount."""

    name = "serviceaccount-controller"
    indices: tuple[Index, ...] = ()

    def __init__(self) -> None:
        self.sources = (
            Source(NAMESPACE, own_key),
            Source(SERVICE_ACCOUNT, _named(DEFAULT)),
        )

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Create the account where it is missing; `key` is the namespace."""
        have = env.caches[SERVICE_ACCOUNT].get(f"{key}/{DEFAULT}")
        if have is not None or not _alive(env, key):
            return Result()
        body = {"metadata": {"name": DEFAULT, "namespace": key}}
        return Result([Create(SERVICE_ACCOUNT, key, body, exists_ok=True)])


class RootCAPublisher:
    """Keeps the cluster's authority in every namespace.

    Args:
        ca: The certificate, PEM.
    """

    name = "root-ca-certificate-publisher-controller"
    indices: tuple[Index, ...] = ()

    def __init__(self, ca: str) -> None:
        self._data = {_CA_KEY: ca}
        self.sources = (
            Source(NAMESPACE, own_key),
            Source(CONFIG_MAP, _named(ROOT_CA)),
        )

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Create or mend the ConfigMap; `key` is the namespace."""
        if not _alive(env, key):
            return Result()
        have: ConfigMap | None = env.caches[CONFIG_MAP].get(f"{key}/{ROOT_CA}")
        if have is None:
            body: dict[str, Any] = {
                "metadata": {
                    "name": ROOT_CA,
                    "namespace": key,
                    "annotations": {
                        "kubernetes.io/description": "The authority of the cluster's API servers."
                    },
                },
                "data": self._data,
            }
            return Result([Create(CONFIG_MAP, key, body, exists_ok=True)])
        if have.data == self._data:
            return Result()
        extra = dict.fromkeys(have.data)  # null removes, in a merge patch
        return Result([Patch(CONFIG_MAP, key, ROOT_CA, {"data": {**extra, **self._data}})])
