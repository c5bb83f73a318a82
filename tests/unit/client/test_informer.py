"""The informer: a copy that is right again after every kind of trouble."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import orjson
import virtual_loop
from virtual_loop import VirtualClock, until

from wherry.api.errors import ExpiredError, UnavailableError
from wherry.api.kinds import POD, Kind
from wherry.api.objects import Pod
from wherry.client.api import WatchEvent
from wherry.client.fake import FakeApi
from wherry.client.informer import Informer


class Flaky(FakeApi):
    """Fails the next calls with the errors it was given, and cuts watches on demand."""

    def __init__(self) -> None:
        super().__init__(VirtualClock())
        self.list_errors: list[Exception] = []
        self.watch_errors: list[Exception] = []
        self.lists = 0
        self.cut = asyncio.Event()

    async def list(self, kind: Kind, namespace: str = "", **options: Any) -> Any:
        self.lists += 1
        if self.list_errors:
            raise self.list_errors.pop(0)
        return await super().list(kind, namespace, **options)

    async def watch(
        self, kind: Kind, namespace: str = "", **options: Any
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        if self.watch_errors:
            raise self.watch_errors.pop(0)
        stream = super().watch(kind, namespace, **options)
        while True:
            nxt, cut = asyncio.ensure_future(anext(stream)), asyncio.ensure_future(self.cut.wait())
            await asyncio.wait([nxt, cut], return_when=asyncio.FIRST_COMPLETED)
            cut.cancel()
            if not nxt.done():
                nxt.cancel()
                self.cut.clear()
                return
            yield nxt.result()


def pod(name: str, node: str = "") -> bytes:
    return orjson.dumps({"metadata": {"name": name}, "spec": {"nodeName": node}})


async def started(api: Flaky) -> tuple[Informer[Pod], "asyncio.Future[None]"]:
    informer = Informer(api, POD, Pod, rng=Random(1))
    informer.add_index("node", lambda p: [p.spec.node_name])
    task = asyncio.ensure_future(informer.run())
    await informer.synced.wait()
    return informer, task


def test_it_follows_and_tells_listeners_and_indices() -> None:
    async def main() -> None:
        api = Flaky()
        await api.create(POD, pod("a", "n1"), "d")
        informer, task = await started(api)
        seen: list[tuple[str | None, str | None]] = []
        informer.add_listener(
            lambda o, n: seen.append(
                (o.metadata.name if o else None, n.metadata.name if n else None)
            )
        )
        await api.create(POD, pod("b", "n1"), "d")
        await api.patch(POD, "b", b'{"spec":{"nodeName":"n2"}}', "d")
        await api.delete(POD, "a", "d", grace_s=0)
        await until(lambda: len(seen) == 3)
        assert seen == [(None, "b"), ("b", "b"), ("a", None)]
        assert set(informer.items) == {"d/b"}
        assert informer.by_index("node", "n1") == []
        assert [p.metadata.name for p in informer.by_index("node", "n2")] == ["b"]
        task.cancel()

    virtual_loop.run(main())


def test_a_cut_watch_goes_on_from_the_last_revision_without_listing() -> None:
    async def main() -> None:
        api = Flaky()
        informer, task = await started(api)
        api.cut.set()
        api.watch_errors = [UnavailableError("gone"), UnavailableError("gone")]
        await api.create(POD, pod("a"), "d")
        await until(lambda: "d/a" in informer.items)
        assert api.lists == 1
        task.cancel()

    virtual_loop.run(main())


def test_an_expired_revision_lists_again_and_finds_what_was_missed() -> None:
    async def main() -> None:
        api = Flaky()
        for name in ("stays", "goes"):
            await api.create(POD, pod(name), "d")
        informer, task = await started(api)
        gone: list[str] = []
        informer.add_listener(lambda o, n: gone.append(o.metadata.name) if o and not n else None)
        api.watch_errors = [UnavailableError("gone"), ExpiredError("too old")]
        api.list_errors = [UnavailableError("gone")]
        api.cut.set()
        await until(lambda: len(api.watch_errors) < 2)
        await api.delete(POD, "goes", "d", grace_s=0)
        await api.create(POD, pod("new"), "d")
        await until(lambda: set(informer.items) == {"d/stays", "d/new"})
        assert gone == ["goes"]
        assert api.lists == 3
        task.cancel()

    virtual_loop.run(main())


def test_while_nobody_answers_it_keeps_what_it_knew() -> None:
    async def main() -> None:
        api = Flaky()
        await api.create(POD, pod("a"), "d")
        informer, task = await started(api)
        api.watch_errors = [UnavailableError("gone") for _ in range(50)]
        api.cut.set()
        await asyncio.sleep(60)
        assert set(informer.items) == {"d/a"}
        assert len(api.watch_errors) > 30, "it must not ask in a tight loop"
        task.cancel()

    virtual_loop.run(main())
