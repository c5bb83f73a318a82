"""The overlay on real kernels: two hosts, real CNI plugins, no NAT between pods."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

import pytest
from netns_lab import Lab, Place, eventually, lab

from wherry.api import kinds
from wherry.client.fake import FakeApi
from wherry.host.file import DiskFile
from wherry.host.iptables import IptablesCommand
from wherry.host.netlink import NetlinkEvents
from wherry.overlay.kernel import NetlinkKernel
from wherry.overlay.known import OverlayConfig
from wherry.overlay.lease import vtep_mac
from wherry.overlay.overlay import Overlay, OverlayFiles
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.netns


class Node:
    """A host with its overlay running."""

    def __init__(self, place: Place, api: FakeApi, directory: Path, number: int) -> None:
        self.place = place
        self.directory = directory / place.name
        self.cni = DiskFile(self.directory / "net.d" / "10-wherry.conflist")
        self.kernel = NetlinkKernel(place.thread)
        self.events = NetlinkEvents(place.thread)
        files = OverlayFiles(
            DiskFile(self.directory / "state.json"),
            self.cni,
            DiskFile(self.directory / "subnet.env"),
        )
        config = OverlayConfig(
            node=f"node-{number}",
            interface="eth0",
            cni_data_dir=str(self.directory / "networks"),
            resync_s=0.5,
            settle_s=0.05,
        )
        self.overlay = Overlay(
            config,
            api,
            self.kernel,
            IptablesCommand(place.thread),
            files,
            self.events,
            SystemClock(),
            Random(number),
        )

    async def ready(self) -> bool:
        return self.overlay.not_ready() is None

    async def run(self) -> None:
        try:
            await self.overlay.run()
        finally:
            self.events.close()
            await self.kernel.close()


async def configured(backend: str) -> FakeApi:
    api = FakeApi(SystemClock())
    config = {"metadata": {"name": "config"}, "Network": "10.244.0.0/16", "SubnetLen": 24,
              "Backend": {"Type": backend, "VNI": 1, "Port": 8472}}  # fmt: skip
    await api.create(kinds.NETWORK_CONFIG, json.dumps(config).encode())
    return api


@asynccontextmanager
async def overlay_lab(
    directory: Path, backend: str, hosts: int = 2
) -> AsyncIterator[tuple[Lab, list[Node], FakeApi]]:
    api = await configured(backend)
    async with lab(directory, hosts) as made:
        nodes = [Node(place, api, directory, n) for n, place in enumerate(made.hosts, 1)]
        async with asyncio.TaskGroup() as tasks:
            running = []
            try:
                for node in nodes:  # one after the other, so that node N has 10.244.N.0/24
                    running.append(tasks.create_task(node.run()))
                    await eventually(node.ready, what="overlay ready")
                yield made, nodes, api
            finally:
                for task in running:
                    task.cancel()


async def shows(place: Place, needle: str, *command: str) -> bool:
    return needle in await place.sh(*command)


async def pods(made: Lab, nodes: list[Node]) -> tuple[Place, Place]:
    confs = [node.cni.load() for node in nodes]
    assert confs[0] is not None
    assert confs[1] is not None
    return (
        await made.add_pod(nodes[0].place, confs[0], "p1"),
        await made.add_pod(nodes[1].place, confs[1], "p2"),
    )


@pytest.mark.parametrize(("backend", "mtu"), [("vxlan", 1450), ("host-gw", 1500)])
def test_pods_reach_each_other_across_hosts_by_their_own_addresses(
    tmp_path: Path, backend: str, mtu: int
) -> None:
    async def main() -> None:
        async with overlay_lab(tmp_path, backend) as (made, nodes, _), AsyncExitStack() as stack:
            one, two = await pods(made, nodes)
            await two.tcp_server(stack, 8081, "two")
            await eventually(lambda: answers(one, two.address, f"two {one.address}"))
            assert await one.mtu_allows(two.address, mtu - 28)
            assert not await one.mtu_allows(two.address, mtu - 27)
            host_view = await nodes[0].place.ask(two.address, 8081)
            assert host_view.startswith("two ")

    asyncio.run(main())


async def answers(place: Place, address: str, want: str) -> bool:
    return await place.ask(address, 8081) == want


def test_what_leaves_the_pod_network_is_masqueraded(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            overlay_lab(tmp_path, "vxlan", hosts=3) as (made, nodes, _),
            AsyncExitStack() as stack,
        ):
            one, _two = await pods(made, nodes)
            outside = Place(f"{made.name}-net")
            try:
                await outside.sh("ip", "addr", "add", "192.168.77.200/24", "dev", "br0")
                await outside.tcp_server(stack, 9000, "outside")
                assert await one.ask("192.168.77.200", 9000) == "outside 192.168.77.1"
            finally:
                outside.close()

    asyncio.run(main())


def test_drift_in_any_table_is_repaired(tmp_path: Path) -> None:
    async def main() -> None:
        async with overlay_lab(tmp_path, "vxlan") as (_made, nodes, _):
            host, mac = nodes[0].place, vtep_mac(IPv4Address("192.168.77.2"))
            fdb = ("bridge", "fdb", "show", "dev", "flannel.1")
            neigh = ("ip", "neigh", "show", "dev", "flannel.1")
            route = ("ip", "route", "show", "dev", "flannel.1")
            nat = ("iptables-save", "-t", "nat")
            await eventually(lambda: shows(host, "10.244.2.0/24 via 10.244.2.0", *route))
            await eventually(lambda: shows(host, mac, *fdb))

            await host.sh("bridge", "fdb", "del", mac, "dev", "flannel.1", "dst", "192.168.77.2")
            await eventually(lambda: shows(host, f"{mac} dst 192.168.77.2", *fdb))
            await host.sh("ip", "neigh", "del", "10.244.2.0", "dev", "flannel.1")
            await eventually(lambda: shows(host, f"10.244.2.0 lladdr {mac} PERMANENT", *neigh))
            await host.sh("ip", "route", "del", "10.244.2.0/24")
            await eventually(lambda: shows(host, "10.244.2.0/24 via 10.244.2.0", *route))
            await host.sh("iptables", "-t", "nat", "-F", "FLANNEL-POSTRTG")
            await eventually(lambda: shows(host, "-j MASQUERADE", *nat))
            await host.sh("ip", "link", "del", "flannel.1")
            await eventually(lambda: exists(host, "flannel.1"))
            await eventually(lambda: shows(host, "10.244.2.0/24 via 10.244.2.0", *route))
            await eventually(lambda: shows(host, f"{mac} dst 192.168.77.2", *fdb))
            await host.sh("ip", "route", "add", "10.250.0.0/24", "via", "192.168.77.9")
            await host.sh("ip", "route", "add", "10.244.77.0/24", "via", "10.244.77.0", "dev",
                          "flannel.1", "onlink")  # fmt: skip
            await eventually(lambda: lacks(host, "10.244.77.0", *route))
            assert await shows(host, "10.250.0.0/24", "ip", "route")

    asyncio.run(main())


async def exists(place: Place, device: str) -> bool:
    return await shows(place, f" {device}:", "ip", "-o", "link")


async def lacks(place: Place, needle: str, *command: str) -> bool:
    return not await shows(place, needle, *command)


def test_host_gw_routes_return_with_the_underlay(tmp_path: Path) -> None:
    async def main() -> None:
        async with overlay_lab(tmp_path, "host-gw") as (_made, nodes, _):
            host, want = nodes[0].place, "10.244.2.0/24 via 192.168.77.2"
            await eventually(lambda: shows(host, want, "ip", "route"))
            await host.sh("ip", "link", "set", "eth0", "down")
            assert await lacks(host, want, "ip", "route")
            await host.sh("ip", "link", "set", "eth0", "up")
            await eventually(lambda: shows(host, want, "ip", "route"))
            assert not await exists(host, "flannel.1")

    asyncio.run(main())


def test_a_node_that_leaves_is_taken_out_of_the_tables(tmp_path: Path) -> None:
    async def main() -> None:
        async with overlay_lab(tmp_path, "vxlan", hosts=3) as (_made, nodes, api):
            host = nodes[0].place
            everything = ("ip", "route", "show", "dev", "flannel.1")
            await eventually(lambda: shows(host, "10.244.2.0/24", *everything))
            await eventually(lambda: shows(host, "10.244.3.0/24", *everything))
            names = {lease["metadata"]["name"] for lease in api.objects(kinds.SUBNET_LEASE)}
            assert names == {"10.244.1.0-24", "10.244.2.0-24", "10.244.3.0-24"}
            foreign = {"metadata": {"name": "10.244.9.0-24"}, "PublicIP": "192.168.77.9",
                       "BackendType": "vxlan", "node": "far",
                       "BackendData": {"VNI": 1, "VtepMAC": "0a:77:c0:a8:4d:09"}}  # fmt: skip
            await api.create(kinds.SUBNET_LEASE, json.dumps(foreign).encode())
            await eventually(lambda: shows(host, "10.244.9.0/24", *everything))
            await api.delete(kinds.SUBNET_LEASE, "10.244.9.0-24")
            await eventually(lambda: lacks(host, "10.244.9.0/24", *everything))
            await eventually(lambda: lacks(host, "0a:77:c0:a8:4d:09", "bridge", "fdb"))

    asyncio.run(main())
