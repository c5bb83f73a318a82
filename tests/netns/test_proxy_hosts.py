"""The proxy on real kernels, with the overlay under it: what a client of a Service sees."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from random import Random
from typing import Any

import pytest
from netns_lab import Lab, Place, eventually, lab

from wherry.api import kinds
from wherry.api.objects import ObjectMeta
from wherry.client.fake import FakeApi
from wherry.host.iptables import IptablesCommand
from wherry.host.netlink import NetlinkEvents
from wherry.host.ruleset import diff as rule_diff
from wherry.overlay.diff import diff
from wherry.overlay.kernel import NetlinkKernel
from wherry.overlay.lease import (
    BackendData,
    NetworkConfig,
    SubnetLease,
    parse_network,
    vtep_mac,
)
from wherry.overlay.plan import OWNED_CHAINS, plan
from wherry.process.clock import SystemClock
from wherry.proxy.conntrack import NetlinkConntrack
from wherry.proxy.node_host import NetlinkNodeHost
from wherry.proxy.proxy import Proxy, ProxyConfig

pytestmark = pytest.mark.netns


def leases(count: int) -> list[SubnetLease]:
    return [
        SubnetLease(
            metadata=ObjectMeta(name=f"10.244.{n}.0-24"),
            public_ip=f"192.168.77.{n}",
            backend_type="vxlan",
            backend_data=BackendData(vni=1, vtep_mac=vtep_mac(IPv4Interface(f"192.168.77.{n}").ip)),
            node=f"node-{n}",
        )
        for n in range(1, count + 1)
    ]


async def pod_network(made: Lab, number: int) -> bytes:
    """Program host `number` once, without an overlay process; return its CNI configuration."""
    host = made.hosts[number - 1]
    kernel, iptables = NetlinkKernel(host.thread), IptablesCommand(host.thread)
    network = parse_network(NetworkConfig())
    underlay = await kernel.underlay("eth0", "")
    wanted = plan(
        network,
        IPv4Network(f"10.244.{number}.0/24"),
        leases(len(made.hosts)),
        underlay,
        cni_data_dir=str(made.directory / host.name),
    )
    await kernel.prepare()
    assert wanted.vxlan is not None
    await kernel.ensure_vxlan(wanted.vxlan)
    actual = await kernel.read(underlay, wanted.vxlan)
    await kernel.apply(diff(wanted.tables, actual), underlay, wanted.vxlan)
    await kernel.ensure_bridge(wanted.bridge)
    for text in rule_diff(wanted.rules, await iptables.save(), owned=OWNED_CHAINS):
        await iptables.restore(text)
    await kernel.close()
    return wanted.cni


@dataclass
class World:
    """Three hosts with proxies; pods `a` and `b` on hosts 1 and 2 serve, `client` on 1 asks."""

    api: FakeApi
    hosts: list[Place]
    proxies: list[Proxy]
    a: Place
    b: Place
    client: Place
    stack: AsyncExitStack

    async def service(self, name: str, cluster_ip: str, **spec: Any) -> None:
        port = {"name": "", "port": 80, "protocol": "TCP", **spec.pop("port", {})}
        body = {"metadata": {"name": name}, "spec": {"type": "ClusterIP", "clusterIP": cluster_ip,
                "ports": [port], **spec}}  # fmt: skip
        await self.api.create(kinds.SERVICE, json.dumps(body).encode(), "default")

    async def endpoints(
        self, name: str, *pods: Place, port: int = 8080, protocol: str = "TCP", **extra: Any
    ) -> None:
        """Make or replace the one slice of service `name`."""
        body = {
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": port, "protocol": protocol}],
            "endpoints": [
                {"addresses": [pod.address], "nodeName": "node-2" if pod is self.b else "node-1",
                 "conditions": {"ready": True}, **extra}
                for pod in pods
            ],
        }  # fmt: skip
        raw = json.dumps(body).encode()
        if name in {o["metadata"]["name"] for o in self.api.objects(kinds.ENDPOINT_SLICE)}:
            await self.api.update(kinds.ENDPOINT_SLICE, name, raw, "default")
        else:
            await self.api.create(kinds.ENDPOINT_SLICE, raw, "default")

    async def programmed(self, needle: str) -> None:
        """Wait until every host has a rule that contains `needle`, and packets come to it."""
        for proxy in self.proxies:  # the first time chains are written before what leads to them
            await eventually(lambda proxy=proxy: _synced(proxy), what="rules synced")  # type: ignore[misc]
        for host in self.hosts:
            await eventually(lambda host=host: self._has(host, needle), what=needle)  # type: ignore[misc]

    async def _has(self, host: Place, needle: str) -> bool:
        return needle in await host.sh("iptables-save")


async def _synced(proxy: Proxy) -> bool:
    return proxy.not_ready() is None


@asynccontextmanager
async def world(directory: Path, *, localnet: bool = False) -> AsyncIterator[World]:
    api = FakeApi(SystemClock())
    async with lab(directory, 3) as made, AsyncExitStack() as stack:
        confs = [await pod_network(made, n) for n in (1, 2, 3)]
        a = await made.add_pod(made.hosts[0], confs[0], "a")
        b = await made.add_pod(made.hosts[1], confs[1], "b")
        client = await made.add_pod(made.hosts[0], confs[0], "c")
        for pod, name in ((a, "a"), (b, "b")):
            await pod.tcp_server(stack, 8080, name)
            await pod.udp_server(stack, 5353, name)
        async with asyncio.TaskGroup() as tasks:
            proxies, running = [], []
            for number, host in enumerate(made.hosts, 1):
                events = NetlinkEvents(host.thread)
                stack.callback(events.close)
                config = ProxyConfig(
                    node=f"node-{number}", localnet=localnet, resync_s=1.0, settle_s=0.02
                )
                proxy = Proxy(
                    config,
                    api,
                    IptablesCommand(host.thread),
                    NetlinkConntrack(host.thread),
                    NetlinkNodeHost(host.thread),
                    events,
                    SystemClock(),
                    Random(number),
                )
                proxies.append(proxy)
                running.append(tasks.create_task(proxy.run()))
            try:
                yield World(api, made.hosts, proxies, a, b, client, stack)
            finally:
                for task in running:
                    task.cancel()


def test_cluster_ip_node_port_and_hairpin(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            h1, h2, h3 = w.hosts
            await w.service("web", "10.96.0.20", type="NodePort", port={"nodePort": 30080})
            await w.endpoints("web", w.a, w.b)
            await w.programmed(f"--to-destination {w.b.address}:8080")

            from_pod = await w.client.ask_many("10.96.0.20", 80, 24)
            assert set(from_pod) == {f"a {w.client.address}", f"b {w.client.address}"}
            from_host = await h3.ask_many("10.96.0.20", 80, 24)
            assert {answer.split()[0] for answer in from_host} == {"a", "b"}
            # The host's packets are masqueraded: to the address it has in the pod network.
            assert {answer.split()[1] for answer in from_host} == {"10.244.3.0"}

            through_other = await h3.ask_many(h1.address, 30080, 24)
            assert set(through_other) == {"a 10.244.1.1", "b 10.244.1.0"}
            own_address = await h2.ask_many(h2.address, 30080, 24)
            assert {answer.split()[0] for answer in own_address} == {"a", "b"}

            to_itself = await w.a.ask_many("10.96.0.20", 80, 24)
            assert set(to_itself) == {"a 10.244.1.1", f"b {w.a.address}"}

    asyncio.run(main())


def test_affinity_refusal_and_local_policy(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            h1, h2, h3 = w.hosts
            await w.service("sticky", "10.96.0.21", sessionAffinity="ClientIP")
            await w.endpoints("sticky", w.a, w.b)
            await w.service("empty", "10.96.0.22", type="NodePort", port={"nodePort": 30099})
            await w.service("near", "10.96.0.23", type="NodePort", port={"nodePort": 30081},
                            externalTrafficPolicy="Local")  # fmt: skip
            await w.endpoints("near", w.b)
            await w.service("inside", "10.96.0.24", internalTrafficPolicy="Local")
            await w.endpoints("inside", w.b)
            await w.service("wide", "10.96.0.25", externalIPs=["192.168.77.100"])
            await w.endpoints("wide", w.a)
            await w.programmed("default/wide external IP")
            await w.programmed("default/near")

            assert len(await w.client.ask_many("10.96.0.21", 80, 12)) == 1
            for place in (w.client, h1, h3):
                assert await place.ask("10.96.0.22", 80) == "ConnectionRefusedError"
            assert await h3.ask(h1.address, 30099) == "ConnectionRefusedError"
            assert await h1.ask(h1.address, 30099) == "ConnectionRefusedError"

            assert await h3.ask(h2.address, 30081) == f"b {h3.address}"
            assert await h3.ask(h1.address, 30081, 1.0) == "TimeoutError"
            assert await w.client.ask("10.96.0.23", 80) == f"b {w.client.address}"
            assert await w.client.ask(h1.address, 30081) == f"b {w.client.address}"

            assert await w.client.ask("10.96.0.24", 80, 1.0) == "TimeoutError"
            assert (await h2.ask("10.96.0.24", 80)).startswith("b ")

            await h3.sh("ip", "route", "add", "192.168.77.100", "via", h1.address)
            assert (await h3.ask("192.168.77.100", 80)).startswith("a ")

    asyncio.run(main())


def test_node_ports_answer_on_loopback_when_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path, localnet=True) as w:
            await w.service("web", "10.96.0.20", type="NodePort", port={"nodePort": 30080})
            await w.endpoints("web", w.b)
            await w.programmed(f"--to-destination {w.b.address}:8080")
            assert (await w.hosts[0].ask("127.0.0.1", 30080)).startswith("b ")

    asyncio.run(main())


def test_a_udp_client_with_one_socket_follows_the_endpoints(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            await w.service("dns", "10.96.0.53", port={"protocol": "UDP", "port": 53})
            await w.endpoints("dns", w.a, port=5353, protocol="UDP")
            await w.programmed(f"--to-destination {w.a.address}:5353")
            client = await w.client.udp_socket(("", 0))
            with client:
                assert await udp_ask(client, "10.96.0.53", 53) == f"a {w.client.address}"
                await w.endpoints("dns", w.b, port=5353, protocol="UDP")
                await w.programmed(f"--to-destination {w.b.address}:5353")
                await eventually(
                    lambda: udp_answers(client, f"b {w.client.address}"), what="new endpoint"
                )

    asyncio.run(main())


async def udp_answers(client: socket.socket, want: str) -> bool:
    return await udp_ask(client, "10.96.0.53", 53) == want


async def udp_ask(client: socket.socket, address: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(client, b"?", (address, port))
    try:
        async with asyncio.timeout(10):
            return (await loop.sock_recv(client, 200)).decode()
    except (TimeoutError, OSError) as error:
        return type(error).__name__


def test_a_tcp_client_leaves_an_endpoint_that_never_answered(tmp_path: Path) -> None:
    """One connection is asked for, and the endpoint is lost: what is sent again goes elsewhere."""

    async def main() -> None:
        async with world(tmp_path) as w:
            await w.service("web", "10.96.0.20")
            await w.endpoints("web", w.b)
            await w.programmed(f"--to-destination {w.b.address}:8080")
            await w.b.sh("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "DROP")
            table = NetlinkConntrack(w.hosts[0].thread)

            async def leads_to(place: Place) -> bool:
                asked = [f for f in await table.read("tcp") if f.destination == "10.96.0.20"]
                return [(f.protocol, f.answered_by) for f in asked] == [("tcp", place.address)]

            asking = asyncio.create_task(w.client.ask("10.96.0.20", 80, timeout_s=90))
            await eventually(lambda: leads_to(w.b), what="a connection nobody answers")
            await w.endpoints("web", w.a)
            assert await asking == f"a {w.client.address}"

    asyncio.run(main())


def test_a_tcp_connection_that_stands_keeps_its_endpoint(tmp_path: Path) -> None:
    """A pod that is no endpoint any more finishes what it began."""

    async def main() -> None:
        async with world(tmp_path) as w:
            server = await w.b.call(socket.create_server, (w.b.address, 9090))
            with server:
                await w.service("web", "10.96.0.20")
                await w.endpoints("web", w.b, port=9090)
                await w.programmed(f"--to-destination {w.b.address}:9090")
                client = await w.client.call(socket.create_connection, ("10.96.0.20", 80), 30)
                with client:
                    server.settimeout(30)
                    accepted, _ = await asyncio.to_thread(server.accept)
                    with accepted:
                        await w.endpoints("web", w.a)
                        await w.programmed(f"--to-destination {w.a.address}:8080")
                        table = NetlinkConntrack(w.hosts[0].thread)
                        assert [
                            f for f in await table.read("tcp") if f.destination == "10.96.0.20"
                        ] == []
                        accepted.sendall(b"finished")
                        assert await asyncio.to_thread(client.recv, 200) == b"finished"

    asyncio.run(main())


def test_drift_is_repaired_and_foreign_rules_are_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            host = w.hosts[0]
            await w.service("web", "10.96.0.20")
            await w.endpoints("web", w.a)
            await w.programmed("--to-destination")
            await host.sh("iptables", "-A", "FORWARD", "-s", "203.0.113.9", "-j", "DROP")
            before = rules(await host.sh("iptables-save"))
            await host.sh("iptables", "-t", "nat", "-F", "KUBE-SERVICES")
            await host.sh("iptables", "-t", "nat", "-D", "PREROUTING", "1")
            await host.sh("iptables", "-t", "nat", "-N", "KUBE-SVC-STRAY")
            await eventually(lambda: same_rules(host, before), what="rules repaired")
            route = ("ip", "route", "show", "10.96.0.0/12")
            assert "dev eth0" in await host.sh(*route)
            await host.sh("ip", "link", "set", "eth0", "down")
            await host.sh("ip", "link", "set", "eth0", "up")
            await eventually(lambda: has(host, "dev eth0", *route), what="service route")

    asyncio.run(main())


async def same_rules(host: Place, before: list[str]) -> bool:
    return rules(await host.sh("iptables-save")) == before


async def has(host: Place, needle: str, *command: str) -> bool:
    return needle in await host.sh(*command)


def rules(saved: str) -> list[str]:
    return sorted(line for line in saved.splitlines() if line.startswith("-A"))
