"""Addresses and node ports of Services, as part of the writes that need them."""

from collections.abc import Sequence
from typing import Any

from wherry.api import kinds
from wherry.apiserver.allocator import Allocation, ServiceAllocator
from wherry.apiserver.registry.read import Reader
from wherry.apiserver.resources import Resource
from wherry.store.kv import Op

Object = dict[str, Any]


class ServiceAddresses:
    """Asks the allocator where a write is of a Service; every other kind has no addresses."""

    def __init__(self, allocator: ServiceAllocator, reader: Reader) -> None:
        self._allocator = allocator
        self._reader = reader

    async def allocate(
        self, resource: Resource, new: Object, old: Object | None, *, again: bool
    ) -> Allocation:
        """Claim what `new` needs, in place; `again`: the caches were behind, let them catch up."""
        if resource.kind != kinds.SERVICE:
            return Allocation()
        if again:
            await self._reader.catch_up_to_now()
        return self._allocator.allocate(new, old)

    def freed(self, resource: Resource, old: Object) -> Sequence[Op]:
        """Return what gives the addresses of a removed object back."""
        return self._allocator.release(old) if resource.kind == kinds.SERVICE else ()
