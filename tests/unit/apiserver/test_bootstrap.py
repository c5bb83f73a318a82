"""What every cluster has, and how masters come and go in the kubernetes Service."""

import asyncio
import random

from registry_world import World, in_world

from wherry.api import kinds
from wherry.apiserver.bootstrap import Bootstrap, BootstrapConfig


def bootstrap(w: World, address: str, port: int = 6443) -> Bootstrap:
    config = BootstrapConfig(address, port)
    return Bootstrap(w.registry, w.store, config, rng=random.Random(1))


async def published(w: World) -> list[str]:
    obj = await w.get(kinds.ENDPOINTS, "kubernetes", "default")
    found = [
        f"{address['ip']}:{subset['ports'][0]['port']}"
        for subset in obj.get("subsets", ())
        for address in subset["addresses"]
    ]
    slices = []
    for name in ("kubernetes", "kubernetes-7443"):
        if await exists(w, name):
            one = await w.get(kinds.ENDPOINT_SLICE, name, "default")
            port = one["ports"][0]["port"]
            slices += [f"{e['addresses'][0]}:{port}" for e in one["endpoints"]]
    assert sorted(slices) == sorted(found)
    return sorted(found)


async def exists(w: World, name: str) -> bool:
    page = await w.api.list(kinds.ENDPOINT_SLICE, fields=f"metadata.name={name}")
    return bool(page.items)


def test_a_new_cluster_has_its_first_objects() -> None:
    async def run(w: World) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(bootstrap(w, "192.168.0.1").run())
            await asyncio.sleep(1)
            for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
                await w.get(kinds.NAMESPACE, name)
            service = await w.get(kinds.SERVICE, "kubernetes", "default")
            assert service["spec"]["clusterIP"] == "10.96.0.1"
            dns = await w.get(kinds.SERVICE, "kube-dns", "kube-system")
            assert dns["spec"]["clusterIP"] == "10.96.0.10"
            network = await w.get(kinds.NETWORK_CONFIG, "config")
            assert network["Backend"] == {"Type": "vxlan", "VNI": 1, "Port": 8472}
            assert await published(w) == ["192.168.0.1:6443"]
            before = w.store.state.revision
            await asyncio.sleep(60)
            assert w.store.state.revision == before  # nothing is written when nothing changes
            running.cancel()

    in_world(run)


def test_what_was_deleted_by_mistake_comes_back() -> None:
    async def run(w: World) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(bootstrap(w, "192.168.0.1").run())
            await asyncio.sleep(1)
            await w.api.delete(kinds.SERVICE, "kubernetes", "default")
            assert not (await w.api.list(kinds.SERVICE, "default")).items
            await asyncio.sleep(6)
            service = await w.get(kinds.SERVICE, "kubernetes", "default")
            assert service["spec"]["clusterIP"] == "10.96.0.1"
            running.cancel()

    in_world(run)


def test_masters_come_and_go() -> None:
    async def run(w: World) -> None:
        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(bootstrap(w, "192.168.0.1").run())
            two = tasks.create_task(bootstrap(w, "192.168.0.2").run())
            three = tasks.create_task(bootstrap(w, "192.168.0.2", 7443).run())
            await asyncio.sleep(6)
            everybody = ["192.168.0.1:6443", "192.168.0.2:6443", "192.168.0.2:7443"]
            assert await published(w) == everybody
            three.cancel()  # says good-bye
            await asyncio.sleep(6)
            assert await published(w) == everybody[:2]
            two.cancel()
            await asyncio.sleep(6)
            assert await published(w) == everybody[:1]
            one.cancel()

    in_world(run)


def test_a_master_that_dies_without_a_word_is_taken_out_when_its_lease_ends() -> None:
    async def run(w: World) -> None:
        dying = bootstrap(w, "192.168.0.2")
        await dying.reconcile()
        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(bootstrap(w, "192.168.0.1").run())
            await asyncio.sleep(6)
            assert await published(w) == ["192.168.0.1:6443", "192.168.0.2:6443"]
            await asyncio.sleep(20)
            assert await published(w) == ["192.168.0.1:6443"]
            one.cancel()

    in_world(run)


def test_a_loopback_address_is_not_published() -> None:
    async def run(w: World) -> None:
        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(bootstrap(w, "127.0.0.1").run())
            await asyncio.sleep(6)
            assert await published(w) == []
            one.cancel()

    in_world(run)
