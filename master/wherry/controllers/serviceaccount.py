"""What every namespace has from the start (`wherry.api.namespace_content`) comes back when it is deleted.

Source: kubernetes `pkg/controller/serviceaccount`, `pkg/controller/certificates/rootcacertpublisher`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from wherry.api.kinds import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT
from wherry.api.namespace_content import CA_KEY, DEFAULT_ACCOUNT, ROOT_CA, default_account, root_ca
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
            Source(SERVICE_ACCOUNT, _named(DEFAULT_ACCOUNT)),
        )

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Create the account where it is missing; `key` is the namespace."""
        have = env.caches[SERVICE_ACCOUNT].get(f"{key}/{DEFAULT_ACCOUNT}")
        if have is not None or not _alive(env, key):
            return Result()
        return Result([Create(SERVICE_ACCOUNT, key, default_account(key), exists_ok=True)])


class RootCAPublisher:
    """Keeps the cluster's authority in every namespace.

    Args:
        ca: The certificate, PEM.
    """

    name = "root-ca-certificate-publisher-controller"
    indices: tuple[Index, ...] = ()

    def __init__(self, ca: str) -> None:
        self._ca = ca
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
            return Result([Create(CONFIG_MAP, key, root_ca(key, self._ca), exists_ok=True)])
        data = {CA_KEY: self._ca}
        if have.data == data:
            return Result()
        extra = dict.fromkeys(have.data)  # null removes, in a merge patch
        return Result([Patch(CONFIG_MAP, key, ROOT_CA, {"data": {**extra, **data}})])
