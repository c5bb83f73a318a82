"""The ConfigMaps and Secrets that pods of this node refer to, watched one by one.

One watch per object that some pod holds (as the kubelet does): the Node authorizer allows no
more, and a change reaches the pod within a moment. While no master answers, what was last
seen counts, from memory or from the checkpoint.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Generic, TypeVar

from wherry.agent.checkpoint import Checkpoint
from wherry.agent.environment import References
from wherry.agent.projection import Wanted
from wherry.agent.views import ConfigMap, Secret
from wherry.api.errors import UnavailableError
from wherry.api.kinds import CONFIG_MAP, SECRET, Kind
from wherry.api.objects import Service
from wherry.client.api import Api
from wherry.client.informer import Informer

FIRST_ANSWER_S: Final = 3.0
"""How long to wait, once, for an object's first list before the checkpoint is asked."""

T = TypeVar("T", ConfigMap, Secret)


@dataclass(slots=True)
class _Held(Generic[T]):
    informer: Informer[T]
    task: "asyncio.Task[None]"
    holders: set[str] = field(default_factory=set)
    waited: bool = False


class ReferenceCache:
    """Holds objects for pods.

    Args:
        api: The API server.
        checkpoint: Where to remember what was seen.
        rng: Jitter.
        changed: Called with a pod's uid when an object that it holds has changed.
        services: All Services, for the environment.
    """

    def __init__(
        self,
        api: Api,
        checkpoint: Checkpoint,
        rng: Random,
        changed: Callable[[str], None],
        services: Callable[[], list[Service]],
    ) -> None:
        self._api = api
        self._checkpoint = checkpoint
        self._rng = rng
        self._changed = changed
        self._services = services
        self._config_maps: dict[str, _Held[ConfigMap]] = {}
        self._secrets: dict[str, _Held[Secret]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._unsaved: asyncio.Queue[ConfigMap | Secret] = asyncio.Queue()

    async def run(self) -> None:
        """Own the watches until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await self._checkpoint.save_object(await self._unsaved.get())

    async def references(self, uid: str, namespace: str, wanted: Wanted) -> References:
        """Return the objects that a pod wants, and go on watching them for it.

        Raises:
            UnavailableError: no master answers, and an object was never seen.
        """
        maps = {}
        for name in sorted(wanted.config_maps):
            held = self._hold(self._config_maps, CONFIG_MAP, ConfigMap, namespace, name, uid)
            found = await self._value(held, f"{namespace}/{name}")
            if found is None and not held.informer.synced.is_set():
                found = await self._checkpoint.load_config_map(namespace, name)
                _known(found, CONFIG_MAP, name)
            if found is not None:
                maps[name] = found
        secrets = {}
        for name in sorted(wanted.secrets):
            kept = self._hold(self._secrets, SECRET, Secret, namespace, name, uid)
            secret = await self._value(kept, f"{namespace}/{name}")
            if secret is None and not kept.informer.synced.is_set():
                secret = await self._checkpoint.load_secret(namespace, name)
                _known(secret, SECRET, name)
            if secret is not None:
                secrets[name] = secret
        return References(maps, secrets, self._services())

    def _hold(
        self,
        table: dict[str, _Held[T]],
        kind: Kind,
        view: type[T],
        namespace: str,
        name: str,
        uid: str,
    ) -> _Held[T]:
        key = f"{namespace}/{name}"
        held = table.get(key)
        if held is None:
            if self._tasks is None:
                raise RuntimeError("ReferenceCache.run() is not running")
            informer = Informer(
                self._api,
                kind,
                view,
                namespace=namespace,
                fields=f"metadata.name={name}",
                rng=self._rng,
            )
            informer.add_listener(lambda _, new: self._seen(table, key, new))
            held = _Held(informer, self._tasks.create_task(informer.run()))
            table[key] = held
        held.holders.add(uid)
        return held

    def _seen(self, table: dict[str, _Held[T]], key: str, new: T | None) -> None:
        if new is not None:
            self._unsaved.put_nowait(new)
        held = table.get(key)
        for uid in held.holders if held is not None else ():
            self._changed(uid)

    @staticmethod
    async def _value(held: _Held[T], key: str) -> T | None:
        try:
            async with asyncio.timeout(0 if held.waited else FIRST_ANSWER_S):
                await held.informer.synced.wait()
        except TimeoutError:
            held.waited = True
            return None
        return held.informer.get(key)

    async def release(self, uid: str) -> None:
        """Stop watching what only this pod held."""
        await self._release(self._config_maps, ConfigMap, uid)
        await self._release(self._secrets, Secret, uid)

    async def _release(
        self, table: dict[str, _Held[T]], view: type[ConfigMap] | type[Secret], uid: str
    ) -> None:
        for key, held in list(table.items()):
            held.holders.discard(uid)
            if not held.holders:
                held.task.cancel()
                del table[key]
                await self._checkpoint.forget_object(view, key)


def _known(found: ConfigMap | Secret | None, kind: Kind, name: str) -> None:
    if found is None:
        raise UnavailableError(
            f'failed to sync {kind.kind.lower()} cache for "{name}": timed out waiting for the condition'
        )
