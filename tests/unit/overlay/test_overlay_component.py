"""The overlay against a fake API server and a fake kernel, under virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from random import Random
from typing import Any

import pytest
from virtual_loop import VirtualClock, run, until

from wherry.api import kinds
from wherry.api.errors import ForbiddenError, UnavailableError
from wherry.api.times import parse_time
from wherry.client.fake import FakeApi
from wherry.host.file import MemoryFile
from wherry.host.iptables import FakeIptables
from wherry.host.netlink import NoHostEvents
from wherry.host.ruleset import Chain
from wherry.host.thread import HostError
from wherry.overlay.diff import Tables
from wherry.overlay.kernel_fake import FakeKernel
from wherry.overlay.known import OverlayConfig
from wherry.overlay.overlay import Overlay, OverlayFiles
from wherry.overlay.plan import Underlay

CONFIG = {"metadata": {"name": "config"}, "Network": "10.244.0.0/16", "SubnetLen": 24,
          "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472}}  # fmt: skip


class FlakyApi(FakeApi):
    """A fake that can be dead."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.dead = False

    async def list(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return await super().list(*args, **kwargs)

    async def patch(self, *args: Any, **kwargs: Any) -> bytes:
        self._check()
        return await super().patch(*args, **kwargs)

    def _check(self) -> None:
        if self.dead:
            raise UnavailableError("no API server answers")


class Host:
    """A node's machine: it outlives the overlay process."""

    def __init__(self, number: int) -> None:
        self.number = number
        address = IPv4Interface(f"192.0.2.{number}/24")
        self.kernel = FakeKernel(Underlay("eth0", address, 1500))
        self.iptables = FakeIptables()
        self.files = OverlayFiles(MemoryFile(), MemoryFile(), MemoryFile())

    def overlay(self, api: FakeApi, clock: VirtualClock) -> Overlay:
        return Overlay(
            OverlayConfig(node=f"node-{self.number}"),
            api,
            self.kernel,
            self.iptables,
            self.files,
            NoHostEvents(),
            clock,
            Random(self.number),
        )

    @property
    def routes(self) -> set[str]:
        return {str(dst) for dst in self.kernel.tables.routes}


@asynccontextmanager
async def running(*overlays: Overlay) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(overlay.run()) for overlay in overlays]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


async def configured() -> tuple[FlakyApi, VirtualClock]:
    clock = VirtualClock()
    api = FlakyApi(clock)
    await api.create(kinds.NETWORK_CONFIG, json.dumps(CONFIG).encode())
    return api, clock


async def add_node(api: FakeApi, name: str) -> dict[str, Any]:
    raw = await api.create(kinds.NODE, json.dumps({"metadata": {"name": name}}).encode())
    return json.loads(raw)  # type: ignore[no-any-return]


def lease_of(api: FakeApi, node: str) -> dict[str, Any]:
    (found,) = [o for o in api.objects(kinds.SUBNET_LEASE) if o["node"] == node]
    return found


def test_nodes_that_start_at_once_get_different_subnets_and_routes_to_each_other() -> None:
    async def main() -> None:
        api, clock = await configured()
        hosts = [Host(number) for number in range(1, 6)]
        async with running(*(host.overlay(api, clock) for host in hosts)):
            await until(lambda: all(len(host.routes) == 4 for host in hosts))
            names = [o["metadata"]["name"] for o in api.objects(kinds.SUBNET_LEASE)]
            assert sorted(names) == [f"10.244.{n}.0-24" for n in range(1, 6)]

    run(main())


def test_the_host_is_complete_before_containerd_is_told() -> None:
    async def main() -> None:
        api, clock = await configured()
        host = Host(1)
        overlay = host.overlay(api, clock)
        assert overlay.not_ready()
        async with running(overlay):
            await until(lambda: overlay.not_ready() is None)
            assert host.kernel.forwarding
            assert host.kernel.vxlan is not None
            assert host.kernel.vxlan.mtu == 1450
            assert host.kernel.bridge is not None
            assert str(host.kernel.bridge.address) == "10.244.1.1/24"
            assert host.iptables.chains[Chain("filter", "FLANNEL-FWD")]
            cni = json.loads(host.files.cni.load() or b"")
            bridge = cni["plugins"][0]
            assert (bridge["type"], bridge["mtu"]) == ("bridge", 1450)
            assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
            assert b"FLANNEL_SUBNET=10.244.1.1/24\n" in (host.files.subnet_env.load() or b"")

    run(main())


def test_nothing_is_written_before_there_is_a_lease() -> None:
    async def main() -> None:
        clock = VirtualClock()
        host = Host(1)
        async with running(host.overlay(FakeApi(clock), clock)):
            await asyncio.sleep(120)
            assert host.files.cni.load() is None
            assert host.kernel.bridge is None

    run(main())


def test_the_lease_belongs_to_the_node_and_the_node_shows_the_subnet() -> None:
    async def main() -> None:
        api, clock = await configured()
        host = Host(1)
        async with running(host.overlay(api, clock)):
            await until(lambda: bool(api.objects(kinds.SUBNET_LEASE)))
            assert "ownerReferences" not in lease_of(api, "node-1")["metadata"]
            node = await add_node(api, "node-1")
            await until(lambda: "ownerReferences" in lease_of(api, "node-1")["metadata"])
            (owner,) = lease_of(api, "node-1")["metadata"]["ownerReferences"]
            assert owner["uid"] == node["metadata"]["uid"]
            await until(lambda: "podCIDR" in api.objects(kinds.NODE)[0].get("spec", {}))
            assert api.objects(kinds.NODE)[0]["spec"] == {
                "podCIDR": "10.244.1.0/24",
                "podCIDRs": ["10.244.1.0/24"],
            }

    run(main())


def test_a_removed_node_does_not_take_its_lease_again_until_it_returns() -> None:
    async def main() -> None:
        api, clock = await configured()
        await add_node(api, "node-1")
        host = Host(1)
        async with running(host.overlay(api, clock)):
            await until(lambda: bool(api.objects(kinds.SUBNET_LEASE)))
            await asyncio.sleep(5)
            await api.delete(kinds.NODE, "node-1")
            await api.delete(kinds.SUBNET_LEASE, "10.244.1.0-24")  # the garbage collector
            await asyncio.sleep(3600)
            assert api.objects(kinds.SUBNET_LEASE) == []
            assert host.kernel.bridge is not None, "its pods still live"
            await add_node(api, "node-1")
            await until(lambda: bool(api.objects(kinds.SUBNET_LEASE)))
            assert lease_of(api, "node-1")["metadata"]["name"] == "10.244.1.0-24"

    run(main())


def test_the_lease_is_renewed_each_hour_and_after_a_time_without_masters() -> None:
    async def main() -> None:
        api, clock = await configured()
        async with running(Host(1).overlay(api, clock)):
            await until(lambda: bool(api.objects(kinds.SUBNET_LEASE)))
            first = parse_time(lease_of(api, "node-1")["Expiration"])
            await asyncio.sleep(3650)
            assert parse_time(lease_of(api, "node-1")["Expiration"]) >= first + 3599
            patches = [call for call in api.calls if call[0] == "patch"]
            assert len(patches) == 1
            api.dead = True
            await asyncio.sleep(30 * 3600)
            api.dead = False
            await asyncio.sleep(120)
            assert parse_time(lease_of(api, "node-1")["Expiration"]) > clock.now() + 23 * 3600

    run(main(), limit_s=200_000)


def test_a_host_that_boots_while_every_master_is_dead_programs_what_it_knew() -> None:
    async def main() -> None:
        api, clock = await configured()
        one, two = Host(1), Host(2)
        async with running(one.overlay(api, clock), two.overlay(api, clock)):
            await until(lambda: len(one.routes) == 1 and len(two.routes) == 1)
            before = (one.kernel.tables, one.files.cni.load())
        api.dead = True
        one.kernel = FakeKernel(one.kernel.facts)  # the host was switched off and on
        one.iptables = FakeIptables()
        overlay = one.overlay(api, clock)
        async with running(overlay):
            await until(lambda: overlay.not_ready() is None)
            assert (one.kernel.tables, one.files.cni.load()) == before
            await asyncio.sleep(600)
            api.dead = False
            await asyncio.sleep(60)
            assert one.kernel.tables == before[0]
            assert len(api.objects(kinds.SUBNET_LEASE)) == 2, "no second lease"

    run(main())


def test_drift_is_repaired_and_failures_are_retried() -> None:
    async def main() -> None:
        api, clock = await configured()
        one, two = Host(1), Host(2)
        async with running(one.overlay(api, clock), two.overlay(api, clock)):
            await until(lambda: len(one.routes) == 1)
            wanted = one.kernel.tables
            one.kernel.tables = Tables({}, {}, {})
            one.iptables.chains[Chain("nat", "FLANNEL-POSTRTG")].clear()
            one.kernel.broken = True
            await asyncio.sleep(300)
            one.kernel.broken = False
            await asyncio.sleep(61)
            assert one.kernel.tables == wanted
            assert len(one.iptables.chains[Chain("nat", "FLANNEL-POSTRTG")]) == 5

    run(main())


def test_a_change_of_backend_moves_every_route() -> None:
    async def main() -> None:
        api, clock = await configured()
        one, two = Host(1), Host(2)
        async with running(one.overlay(api, clock), two.overlay(api, clock)):
            await until(lambda: len(one.routes) == 1 and len(two.routes) == 1)
            patch = {"Backend": {"Type": "host-gw"}}
            await api.patch(kinds.NETWORK_CONFIG, "config", json.dumps(patch).encode())
            await until(lambda: one.kernel.vxlan is None and two.kernel.vxlan is None)
            await until(lambda: len(one.routes) == 1 and len(two.routes) == 1)
            (route,) = one.kernel.tables.routes.values()
            assert (str(route.gateway), route.direct) == ("192.0.2.2", True)
            assert one.kernel.bridge is not None
            assert one.kernel.bridge.mtu == 1500

    run(main())


@pytest.mark.parametrize("state", [b"", b"{", b'{"own": 5}'])
def test_a_damaged_memory_counts_as_none(state: bytes) -> None:
    async def main() -> None:
        api, clock = await configured()
        host = Host(1)
        host.files.state.save(state)
        async with running(host.overlay(api, clock)):
            await until(lambda: bool(api.objects(kinds.SUBNET_LEASE)))

    run(main())


def test_a_full_disk_keeps_no_memory_but_the_host_is_programmed() -> None:
    class Full(MemoryFile):
        room = False

        def save(self, data: bytes) -> None:
            if not self.room:
                raise HostError("no space left on device")
            super().save(data)

    async def main() -> None:
        api, clock = await configured()
        one, two = Host(1), Host(2)
        disk = Full()
        one.files = replace(one.files, state=disk)
        async with running(one.overlay(api, clock), two.overlay(api, clock)):
            await until(lambda: len(one.routes) == 1 and len(two.routes) == 1)
            assert disk.load() is None
            disk.room = True
            await until(lambda: b"10.244.2.0-24" in (disk.load() or b""))

    run(main())


def test_a_refusal_to_show_the_subnet_does_not_stop_the_host() -> None:
    class Strict(FlakyApi):
        async def patch(self, kind: Any, *args: Any, **kwargs: Any) -> bytes:
            if kind == kinds.NODE:
                raise ForbiddenError("podCIDR may not be changed")
            return await super().patch(kind, *args, **kwargs)

    async def main() -> None:
        clock = VirtualClock()
        api = Strict(clock)
        await api.create(kinds.NETWORK_CONFIG, json.dumps(CONFIG).encode())
        await add_node(api, "node-1")
        host = Host(1)
        overlay = host.overlay(api, clock)
        async with running(overlay):
            await until(lambda: overlay.not_ready() is None)
            assert len(api.objects(kinds.SUBNET_LEASE)) == 1

    run(main())


def test_own_subnet_is_never_routed() -> None:
    async def main() -> None:
        api, clock = await configured()
        host = Host(1)
        overlay = host.overlay(api, clock)
        async with running(overlay):
            await until(lambda: overlay.not_ready() is None)
            assert IPv4Network("10.244.1.0/24") not in host.kernel.tables.routes

    run(main())
