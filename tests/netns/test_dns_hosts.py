"""DNS on a real host: dig against the cluster's address, while the API server comes and goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from dnslib import RR, A, DNSRecord
from netns_lab import Place, eventually, lab

from wherry.api import kinds
from wherry.api.errors import ConfigError
from wherry.client.fake import FakeApi
from wherry.dns.dns import Dns, DnsConfig
from wherry.dns.listener import SocketListener
from wherry.dns.upstream import SocketUpstream
from wherry.host.file import DiskFile, File
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.netns
ADDRESS = "10.96.0.10"
WEB = "web.default.svc.cluster.local"


def dns_of(place: Place, api: FakeApi, state: File) -> tuple[Dns, SocketListener]:
    listener = SocketListener(place.thread, [(ADDRESS, 53)])
    upstream = SocketUpstream(place.thread, [("192.168.77.2", 53)], Random(1), timeout_s=10)
    return Dns(DnsConfig(servers=(ADDRESS,)), api, listener, upstream, state, Random(1)), listener


@asynccontextmanager
async def running(place: Place, api: FakeApi, state: File) -> AsyncIterator[Dns]:
    async with asyncio.TaskGroup() as tasks:
        dns, listener = dns_of(place, api, state)
        task = tasks.create_task(dns.run())
        try:
            await eventually(lambda: is_serving(listener), what="listening")
            yield dns
        finally:
            task.cancel()


async def is_serving(listener: SocketListener) -> bool:
    return listener.serving


async def known(dns: Dns) -> bool:
    return dns.not_ready() is None


async def dig(place: Place, *words: str) -> str:
    return await place.sh("dig", f"@{ADDRESS}", "+tries=1", "+timeout=30", "+nosearch", *words)


async def web_service(api: FakeApi, **spec: Any) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.5", "ports": [
        {"name": "http", "port": 80, "protocol": "TCP"}], **spec}}  # fmt: skip
    await api.create(kinds.SERVICE, json.dumps(body).encode(), "default")


def test_names_resolve_by_udp_and_tcp_and_large_answers_are_truncated(tmp_path: Path) -> None:
    async def main() -> None:
        api = FakeApi(SystemClock())
        await web_service(api)
        many = {"metadata": {"name": "many"}, "spec": {"clusterIP": "None", "ports": []}}
        await api.create(kinds.SERVICE, json.dumps(many).encode(), "default")
        one = {"metadata": {"name": "m", "labels": {"kubernetes.io/service-name": "many"}},
               "endpoints": [{"addresses": [f"10.244.1.{n}"]} for n in range(1, 101)]}  # fmt: skip
        await api.create(kinds.ENDPOINT_SLICE, json.dumps(one).encode(), "default")
        async with lab(tmp_path, 1) as made:
            host = made.hosts[0]
            state = DiskFile(tmp_path / "services.json")
            async with running(host, api, state) as dns:
                await eventually(lambda: known(dns))
                assert (await dig(host, "+short", WEB)).split() == ["10.96.0.5"]
                assert (await dig(host, "+short", "+tcp", WEB)).split() == ["10.96.0.5"]
                missing = await dig(host, f"x{WEB}")
                assert "status: NXDOMAIN" in missing
                assert "hostmaster.cluster.local" in missing
                assert "status: NOERROR" in await dig(host, WEB, "AAAA")
                assert (await dig(host, "+short", "-x", "10.96.0.5")).strip() == f"{WEB}."
                big = await dig(host, "+ignore", "+noedns", "many.default.svc.cluster.local")
                assert " tc " in big
                whole = await dig(host, "+short", "many.default.svc.cluster.local")
                assert len(whole.split()) == 100, "dig asks again over TCP"

    asyncio.run(main())


def test_a_restart_while_no_master_answers_still_resolves(tmp_path: Path) -> None:
    class DeadApi(FakeApi):
        async def list(self, *_args: Any, **_kwargs: Any) -> Any:
            await asyncio.Event().wait()

    async def main() -> None:
        api = FakeApi(SystemClock())
        await web_service(api)
        state = DiskFile(tmp_path / "services.json")
        async with lab(tmp_path, 1) as made:
            host = made.hosts[0]
            async with running(host, DeadApi(SystemClock()), state):
                assert "status: SERVFAIL" in await dig(host, WEB), "nothing known is not NXDOMAIN"
            async with running(host, api, state) as dns:
                await eventually(lambda: known(dns))
            async with running(host, DeadApi(SystemClock()), state):
                assert (await dig(host, "+short", WEB)).split() == ["10.96.0.5"]

    asyncio.run(main())


def test_other_names_are_forwarded_and_aliases_followed(tmp_path: Path) -> None:
    async def main() -> None:
        api = FakeApi(SystemClock())
        await web_service(api, type="ExternalName", externalName="www.example.org")
        async with lab(tmp_path, 2) as made:
            host, other = made.hosts
            async with running(host, api, DiskFile(tmp_path / "s")) as dns:
                await eventually(lambda: known(dns))
                assert "status: SERVFAIL" in await dig(host, "www.example.org")
                upstream = SocketListener(other.thread, [("192.168.77.2", 53)])
                async with asyncio.TaskGroup() as tasks:
                    serving = tasks.create_task(upstream.serve(example_org))
                    try:
                        await eventually(lambda: is_serving(upstream))
                        answer = await dig(host, "+short", "www.example.org")
                        assert answer.split() == ["192.0.2.80"]
                        by_tcp = await dig(host, "+short", "+tcp", "www.example.org")
                        assert by_tcp.split() == ["192.0.2.80"]
                        alias = await dig(host, "+short", WEB)
                        assert alias.split() == ["www.example.org.", "192.0.2.80"]
                    finally:
                        serving.cancel()

    asyncio.run(main())


async def example_org(message: bytes, *, tcp: bool) -> bytes | None:
    """A server that knows one address for everything."""
    asked = DNSRecord.parse(message)
    reply = asked.reply()
    reply.add_answer(RR(asked.q.qname, rdata=A("192.0.2.80"), ttl=60))
    return bytes(reply.pack())


def test_a_busy_address_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with lab(tmp_path, 1) as made:
            host = made.hosts[0]
            with await host.udp_socket(("", 53)):
                listener = SocketListener(host.thread, [(ADDRESS, 53)])
                with pytest.raises(ConfigError, match=r"cannot listen on 10\.96\.0\.10:53"):
                    await listener.serve(example_org)

    asyncio.run(main())
