"""The local copies that all controllers share: one informer a kind."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

from wherry.api.kinds import Kind
from wherry.client.api import Api
from wherry.client.informer import Informer
from wherry.controllers.framework import Index
from wherry.controllers.views import view_of


class InformerSet:
    """Informers by kind; made on first demand, all before `run`."""

    def __init__(self, api: Api, rng: Random) -> None:
        self._api = api
        self._rng = rng
        self._informers: dict[Kind, Informer[Any]] = {}
        self._indices: set[tuple[Kind, str]] = set()

    def want(self, kind: Kind) -> Informer[Any]:
        """Return the informer of `kind`, making it if nobody asked before."""
        if kind not in self._informers:
            self._informers[kind] = Informer(self._api, kind, view_of(kind), rng=self._rng)
        return self._informers[kind]

    def want_index(self, index: Index) -> None:
        """Keep an index; asking twice is harmless."""
        if (index.kind, index.name) not in self._indices:
            self._indices.add((index.kind, index.name))
            self.want(index.kind).add_index(index.name, index.keys_of)

    def __getitem__(self, kind: Kind) -> Informer[Any]:
        return self._informers[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._informers

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._informers)

    @property
    def synced(self) -> bool:
        """Tell whether every kind has been listed once."""
        return all(informer.synced.is_set() for informer in self._informers.values())

    async def wait_synced(self) -> None:
        """Wait until every kind has been listed once."""
        for informer in self._informers.values():
            await informer.synced.wait()

    async def run(self) -> None:
        """Keep all copies current until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind, informer in self._informers.items():
                group.create_task(informer.run(), name=f"informer {kind.qualified}")
