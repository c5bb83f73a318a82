"""The API server on a real etcd: for those who outgrow our store."""

import asyncio
import shutil
from pathlib import Path

import orjson
import pytest
import store_process
from apiserver_pki import TestPki
from apiserver_world import running_apiserver

from wherry.api.errors import AlreadyExistsError, NotFoundError
from wherry.api.kinds import CONFIG_MAP, NAMESPACE
from wherry.apiserver.local_api import LocalApi
from wherry.apiserver.verbs import User
from wherry.client.api import EventType
from wherry.store.kv import Range

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed"),
]
ADMIN = User("admin", ("system:masters",))


def test_objects_live_in_etcd_under_kubernetes_keys(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            store_process.etcd() as store,
            running_apiserver(TestPki(tmp_path), store=store) as running,
        ):
            api = LocalApi(running.registry, ADMIN)
            await api.create(NAMESPACE, orjson.dumps({"metadata": {"name": "n"}}))
            listed = await api.list(CONFIG_MAP, "n")
            events = api.watch(CONFIG_MAP, "n", revision=listed.revision)
            body = orjson.dumps({"metadata": {"name": "a"}, "data": {"k": "v"}})
            created = orjson.loads(await api.create(CONFIG_MAP, body, "n"))
            with pytest.raises(AlreadyExistsError):
                await api.create(CONFIG_MAP, body, "n")
            patched = await api.patch(CONFIG_MAP, "a", b'{"data":{"k":"w"}}', "n")
            await api.delete(CONFIG_MAP, "a", "n")
            with pytest.raises(NotFoundError):
                await api.get(CONFIG_MAP, "a", "n")
            seen: list[EventType] = []
            async with asyncio.timeout(60):
                while len(seen) < 3:
                    seen += [e.type for e in await anext(events)]
            assert seen == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]
            assert orjson.loads(patched)["data"] == {"k": "w"}
            old = int(created["metadata"]["resourceVersion"])
            there = await store.range(Range(b"/registry/configmaps/n/a", revision=old))
            assert there.kvs[0].mod_revision == old, "etcd's revision is the resourceVersion"

    asyncio.run(main())
