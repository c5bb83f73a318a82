"""The DNS component against a fake API server, under virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from dnslib import RR, A, DNSRecord
from virtual_loop import VirtualClock, run, until

from wherry.api import kinds
from wherry.api.errors import UnavailableError
from wherry.client.fake import FakeApi
from wherry.dns.dns import Dns, DnsConfig
from wherry.dns.listener import Handler
from wherry.dns.message import build_query
from wherry.dns.upstream import NoUpstream, Upstream
from wherry.host.file import MemoryFile

WEB = "web.ns.svc.cluster.local"


class NoListener:
    """Nobody asks but the test."""

    async def serve(self, handler: Handler) -> None:
        await asyncio.Event().wait()


class OneAddress:
    """An upstream that knows one address for everything, while it is alive."""

    available = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.dead = False

    async def exchange(self, message: bytes, *, tcp: bool) -> bytes:
        parsed = DNSRecord.parse(message)
        self.asked.append(str(parsed.q.qname))
        if self.dead:
            raise UnavailableError("no upstream server answered")
        reply = parsed.reply()
        reply.add_answer(RR(parsed.q.qname, rdata=A("192.0.2.80"), ttl=60))
        return bytes(reply.pack())


class DeadApi(FakeApi):
    async def list(self, *_args: Any, **_kwargs: Any) -> Any:
        raise UnavailableError("no API server answers")


def component(api: FakeApi, state: MemoryFile, upstream: Upstream | None = None) -> Dns:
    config = DnsConfig(servers=("10.96.0.10",))
    return Dns(config, api, NoListener(), upstream or NoUpstream(), state, Random(1))


@asynccontextmanager
async def running(dns: Dns) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dns.run())
        try:
            yield
        finally:
            task.cancel()


async def ask(dns: Dns, name: str = WEB, wanted: int = 1) -> DNSRecord:
    message = build_query(7, tuple(name.split(".")), wanted)
    assert message is not None
    reply = await dns.handle(message, tcp=False)
    assert reply is not None
    return DNSRecord.parse(reply)


async def addresses(dns: Dns, name: str = WEB) -> set[str]:
    return {str(rr.rdata) for rr in (await ask(dns, name)).rr}


async def add_service(api: FakeApi, name: str = "web", **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"clusterIP": "10.96.0.5", "ports": [], **spec}}
    await api.create(kinds.SERVICE, json.dumps(body).encode(), "ns")


def slice_of(*found: str) -> bytes:
    meta = {"name": "s", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}}
    body = {"metadata": meta, "endpoints": [{"addresses": [a]} for a in found]}
    return json.dumps(body).encode()


def test_answers_follow_services_and_endpoints() -> None:
    async def main() -> None:
        api = FakeApi(VirtualClock())
        dns = component(api, MemoryFile())
        async with running(dns):
            await until(lambda: dns.not_ready() is None)
            assert (await ask(dns)).header.rcode == 3
            await add_service(api, clusterIP="None")
            await asyncio.sleep(0.1)
            assert await addresses(dns) == set()
            await api.create(kinds.ENDPOINT_SLICE, slice_of("10.244.1.2"), "ns")
            await asyncio.sleep(0.1)
            assert await addresses(dns) == {"10.244.1.2"}
            raw = slice_of("10.244.1.3", "10.244.1.4")
            await api.update(kinds.ENDPOINT_SLICE, "s", raw, "ns")
            await asyncio.sleep(0.1)
            assert await addresses(dns) == {"10.244.1.3", "10.244.1.4"}
            await api.delete(kinds.SERVICE, "web", "ns")
            await asyncio.sleep(0.1)
            assert (await ask(dns)).header.rcode == 3

    run(main())


def test_clients_get_the_addresses_in_another_order_each_time() -> None:
    async def main() -> None:
        api = FakeApi(VirtualClock())
        await add_service(api, clusterIP="None")
        await api.create(kinds.ENDPOINT_SLICE, slice_of("10.0.0.1", "10.0.0.2", "10.0.0.3"), "ns")
        dns = component(api, MemoryFile())
        async with running(dns):
            await until(lambda: dns.not_ready() is None)
            firsts = {str((await ask(dns)).rr[0].rdata) for _ in range(50)}
            assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}

    run(main())


def test_what_was_known_last_is_answered_while_every_master_is_dead() -> None:
    async def main() -> None:
        clock = VirtualClock()
        api, state = FakeApi(clock), MemoryFile()
        await add_service(api)
        first = component(api, state)
        async with running(first):
            await until(lambda: state.data is not None)
        orphan = component(DeadApi(clock), state)
        async with running(orphan):
            await asyncio.sleep(3600)
            assert await addresses(orphan) == {"10.96.0.5"}
        assert b"10.96.0.5" in (state.data or b""), "kept for the next life"
        stranger = component(DeadApi(clock), MemoryFile(b"{damaged"))
        async with running(stranger):
            await asyncio.sleep(10)
            assert stranger.not_ready()
            assert (await ask(stranger)).header.rcode == 2, "unknown is not absent"

    run(main())


def test_the_file_is_written_once_for_many_changes() -> None:
    class Counted(MemoryFile):
        saves = 0

        def save(self, data: bytes) -> None:
            self.saves += 1
            super().save(data)

    async def main() -> None:
        api, state = FakeApi(VirtualClock()), Counted()
        dns = component(api, state)
        async with running(dns):
            for number in range(100):
                await add_service(api, f"s{number}")
                await asyncio.sleep(0.05)
            await asyncio.sleep(5)
            assert state.saves <= 4
            assert (state.data or b"").count(b'"namespace"') == 100

    run(main())


def test_other_names_go_upstream_and_failures_are_told() -> None:
    async def main() -> None:
        api, upstream = FakeApi(VirtualClock()), OneAddress()
        dns = component(api, MemoryFile(), upstream)
        async with running(dns):
            await until(lambda: dns.not_ready() is None)
            assert await addresses(dns, "example.org") == {"192.0.2.80"}
            assert (await ask(dns, "nope.ns.svc.cluster.local")).header.rcode == 3
            assert upstream.asked == ["example.org."], "names of the cluster stay here"
            upstream.dead = True
            assert (await ask(dns, "example.org")).header.rcode == 2
        lonely = component(api, MemoryFile())
        async with running(lonely):
            assert (await ask(lonely, "example.org")).header.rcode == 5

    run(main())


def test_aliases_are_followed_here_and_upstream_and_not_for_ever() -> None:
    async def main() -> None:
        api, upstream = FakeApi(VirtualClock()), OneAddress()
        await add_service(api)
        for name, target in (
            ("inside", WEB),
            ("outside", "example.org"),
            ("twice", "outside.ns.svc.cluster.local"),
            ("loop", "loop.ns.svc.cluster.local"),
            ("long", "x" * 64 + ".example.org"),
            ("nowhere", "nope.ns.svc.cluster.local"),
        ):
            await add_service(api, name, type="ExternalName", externalName=target)
        dns = component(api, MemoryFile(), upstream)
        async with running(dns):
            await until(lambda: dns.not_ready() is None)

            async def follow(name: str) -> tuple[int, list[str]]:
                reply = await ask(dns, f"{name}.ns.svc.cluster.local")
                return reply.header.rcode, [str(rr.rdata) for rr in reply.rr]

            assert await follow("inside") == (0, [f"{WEB}.", "10.96.0.5"])
            assert await follow("outside") == (0, ["example.org.", "192.0.2.80"])
            assert await follow("twice") == (
                0,
                ["outside.ns.svc.cluster.local.", "example.org.", "192.0.2.80"],
            )
            rcode, _ = await follow("loop")
            assert rcode == 2
            assert await follow("long") == (2, [])
            assert await follow("nowhere") == (3, ["nope.ns.svc.cluster.local."])

    run(main())
