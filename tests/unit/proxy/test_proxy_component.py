"""The proxy against a fake API server and a fake iptables, under virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from virtual_loop import VirtualClock, run, until

from wherry.api import kinds
from wherry.api.errors import UnavailableError
from wherry.client.fake import FakeApi
from wherry.host.iptables import FakeIptables
from wherry.host.netlink import NoHostEvents
from wherry.host.ruleset import Chain
from wherry.proxy.conntrack import FakeConntrack
from wherry.proxy.node_host import FakeNodeHost
from wherry.proxy.proxy import Proxy, ProxyConfig
from wherry.proxy.render import chain_name
from wherry.proxy.stale import Flow

SVC = Chain("nat", chain_name("KUBE-SVC", "default/web", "tcp"))


class Node:
    """A node's machine: it outlives the proxy process."""

    def __init__(self) -> None:
        self.iptables = FakeIptables()
        self.conntrack = FakeConntrack()
        self.host = FakeNodeHost(frozenset({"192.0.2.1"}))

    def proxy(self, api: FakeApi, clock: VirtualClock) -> Proxy:
        return Proxy(
            ProxyConfig(node="here"),
            api,
            self.iptables,
            self.conntrack,
            self.host,
            NoHostEvents(),
            clock,
            Random(1),
        )


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(proxy.run())
        try:
            yield
        finally:
            task.cancel()


async def add_service(api: FakeApi, name: str, ip: str, protocol: str = "TCP") -> None:
    body = {"metadata": {"name": name, "namespace": "default"},
            "spec": {"clusterIP": ip, "ports": [{"port": 80, "protocol": protocol}]}}  # fmt: skip
    await api.create(kinds.SERVICE, json.dumps(body).encode(), "default")


def slice_of(name: str, *addresses: str, protocol: str = "TCP") -> bytes:
    body = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"name": "", "port": 8080, "protocol": protocol}],
        "endpoints": [{"addresses": [a], "nodeName": "here"} for a in addresses],
    }
    return json.dumps(body).encode()


async def web() -> tuple[FakeApi, VirtualClock]:
    clock = VirtualClock()
    api = FakeApi(clock)
    await add_service(api, "web", "10.96.0.5")
    await api.create(kinds.ENDPOINT_SLICE, slice_of("web", "10.244.1.2"), "default")
    return api, clock


def test_only_chains_that_changed_are_written() -> None:
    async def main() -> None:
        api, clock = await web()
        node = Node()
        proxy = node.proxy(api, clock)
        async with running(proxy):
            await until(lambda: proxy.not_ready() is None)
            assert SVC in node.iptables.chains
            node.iptables.inputs.clear()
            raw = slice_of("web", "10.244.1.2", "10.244.1.3")
            await api.update(kinds.ENDPOINT_SLICE, "web", raw, "default")
            await until(lambda: bool(node.iptables.inputs))
            (text,) = node.iptables.inputs
            declared = [line.split()[0][1:] for line in text.splitlines() if line[0] == ":"]
            new = chain_name("KUBE-SEP", "default/web", "tcp", "10.244.1.3:8080")
            assert declared == [new, SVC.name], "the new endpoint first, then who jumps to it"

    run(main())


def test_a_restart_changes_nothing_and_without_masters_not_even_reads() -> None:
    class DeadApi(FakeApi):
        async def list(self, *_args: Any, **_kwargs: Any) -> Any:
            raise UnavailableError("no API server answers")

    async def main() -> None:
        api, clock = await web()
        node = Node()
        first = node.proxy(api, clock)
        async with running(first):
            await until(lambda: first.not_ready() is None)
        before = {chain: list(rules) for chain, rules in node.iptables.chains.items()}
        node.iptables.inputs.clear()
        orphan = node.proxy(DeadApi(clock), clock)
        async with running(orphan):
            await asyncio.sleep(3600)
            assert orphan.not_ready()
        assert node.iptables.chains == before
        again = node.proxy(api, clock)
        async with running(again):
            await until(lambda: again.not_ready() is None)
        assert node.iptables.inputs == []
        assert node.iptables.chains == before

    run(main())


def test_nothing_is_touched_before_services_and_endpoints_are_both_known() -> None:
    """Rules of half the truth would cut every connection that the last life has made."""

    class SlowSlices(FakeApi):
        async def list(self, kind: Any, *args: Any, **kwargs: Any) -> Any:
            if kind == kinds.ENDPOINT_SLICE:
                await asyncio.sleep(300)
            return await super().list(kind, *args, **kwargs)

    async def main() -> None:
        clock = VirtualClock()
        api, node = SlowSlices(clock), Node()
        await add_service(api, "web", "10.96.0.5")
        proxy = node.proxy(api, clock)
        async with running(proxy):
            await asyncio.sleep(290)
            assert node.iptables.inputs == []
            assert proxy.not_ready()
            await until(lambda: proxy.not_ready() is None)

    run(main())


def test_drift_is_repaired_and_a_failing_iptables_is_retried() -> None:
    async def main() -> None:
        api, clock = await web()
        node = Node()
        proxy = node.proxy(api, clock)
        async with running(proxy):
            await until(lambda: proxy.not_ready() is None)
            wanted = {chain: list(rules) for chain, rules in node.iptables.chains.items()}
            node.iptables.chains[SVC].clear()
            node.iptables.chains[Chain("nat", "PREROUTING")].clear()
            node.iptables.chains[Chain("nat", "KUBE-SVC-STRAY")] = []
            await asyncio.sleep(40)
            assert node.iptables.chains == wanted
            node.iptables.broken = True
            await asyncio.sleep(40)
            assert proxy.not_ready() == "iptables-save: broken"
            await add_service(api, "more", "10.96.0.6")
            await asyncio.sleep(40)
            node.iptables.broken = False
            await until(lambda: proxy.not_ready() is None)
            services = node.iptables.chains[Chain("filter", "KUBE-SERVICES")]
            assert any("10.96.0.6" in rule for rule in services)

    run(main())


def test_chains_of_others_are_left_alone() -> None:
    async def main() -> None:
        api, clock = await web()
        node = Node()
        foreign = {
            Chain("nat", "POSTROUTING"): ["-j FLANNEL-POSTRTG"],
            Chain("nat", "FLANNEL-POSTRTG"): ["-j RETURN"],
            Chain("nat", "CNI-HOSTPORT-DNAT"): [],
            Chain("nat", "KUBE-MARK-DROP"): ["-j MARK --set-xmark 0x8000/0x8000"],
        }
        node.iptables.chains.update({chain: list(rules) for chain, rules in foreign.items()})
        proxy = node.proxy(api, clock)
        async with running(proxy):
            await until(lambda: proxy.not_ready() is None)
            for chain, rules in foreign.items():
                assert set(rules) <= set(node.iptables.chains[chain])

    run(main())


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_entries_follow_the_endpoints(protocol: str) -> None:
    async def main() -> None:
        clock = VirtualClock()
        api, node = FakeApi(clock), Node()
        await add_service(api, "dns", "10.96.0.53", protocol.upper())
        raw = slice_of("dns", "10.244.1.2", protocol=protocol.upper())
        await api.create(kinds.ENDPOINT_SLICE, raw, "default")
        old = Flow(protocol, "10.244.1.9", 4000, "10.96.0.53", 80, "10.244.1.2", 8080)
        node.conntrack.flows = [old]
        proxy = node.proxy(api, clock)
        async with running(proxy):
            await until(lambda: proxy.not_ready() is None)
            assert node.conntrack.flows == [old]
            raw = slice_of("dns", "10.244.1.3", protocol=protocol.upper())
            await api.update(kinds.ENDPOINT_SLICE, "dns", raw, "default")
            await until(lambda: node.conntrack.flows == [])

    run(main())


def test_a_storm_of_changes_is_few_passes() -> None:
    async def main() -> None:
        api, clock = await web()
        node = Node()
        proxy = node.proxy(api, clock)
        async with running(proxy):
            await until(lambda: proxy.not_ready() is None)
            node.iptables.inputs.clear()
            for number in range(200):
                raw = slice_of("web", f"10.244.1.{number + 2}")
                await api.update(kinds.ENDPOINT_SLICE, "web", raw, "default")
                await asyncio.sleep(0.005)
            last = chain_name("KUBE-SEP", "default/web", "tcp", "10.244.1.201:8080")
            await until(lambda: Chain("nat", last) in node.iptables.chains)
            passes = [text for text in node.iptables.inputs if f":{SVC.name} " in text]
            assert len(passes) <= 12

    run(main())
