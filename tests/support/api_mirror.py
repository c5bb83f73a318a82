"""What an `Api` holds, as dicts, for tests to look at without awaiting: list once, then watch."""

import asyncio
from typing import Any

import orjson

from wherry.api.kinds import KINDS, Kind
from wherry.client.api import Api, EventType

Json = dict[str, Any]


class Mirror:
    """Follows all kinds; `objects` returns what was last seen."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._objects: dict[Kind, dict[tuple[str, str], Json]] = {kind: {} for kind in KINDS}

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                group.create_task(self._follow(kind))

    async def _follow(self, kind: Kind) -> None:
        found = self._objects[kind]
        page = await self._api.list(kind)
        for raw in page.items:
            self._set(found, orjson.loads(raw))
        async for batch in self._api.watch(kind, revision=page.revision):
            for event in batch:
                if event.type is EventType.BOOKMARK:
                    continue
                obj = orjson.loads(event.object)
                if event.type is EventType.DELETED:
                    found.pop(_key(obj), None)
                else:
                    self._set(found, obj)

    @staticmethod
    def _set(found: dict[tuple[str, str], Json], obj: Json) -> None:
        found[_key(obj)] = obj

    def objects(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return the objects of a kind, of one namespace or of all, by name."""
        found = sorted(self._objects[kind].items())
        return [obj for (ns, _), obj in found if namespace in ("", ns)]


def _key(obj: Json) -> tuple[str, str]:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]
