"""Connections that outlive a client's certificate, or the trust in its authority, at both doors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import grpc
import grpc.aio
import orjson
import pytest
import uvloop
from apiserver_pki import TestPki
from apiserver_world import Running, running_apiserver
from authority import Authority
from renewed_files import renew

from wherry.agent.fleet import FleetConfig, HollowFleet
from wherry.agent.node_object import LEASE_NAMESPACE, NodeIdentity
from wherry.api.errors import NotFoundError
from wherry.api.kinds import CONFIG_MAP, LEASE, NAMESPACE, POD, Kind
from wherry.apiserver.access import Access, node_of_pod, requester_of
from wherry.apiserver.authn import Authenticator, read_token_file
from wherry.apiserver.authz import FixedPolicy
from wherry.apiserver.registry import Registry
from wherry.client.api import ObjectList
from wherry.client.grpc_api import GrpcApi
from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import Subject
from wherry.pki.tls import TlsFiles, client_context
from wherry.pki.trust import Authorities
from wherry.process.clock import SystemClock
from wherry.wire.v1 import cluster_pb2 as pb
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

pytestmark = pytest.mark.integration
HOUR_S = 3600.0
MASTERS = ("system:masters",)


class MovedClock(SystemClock):
    """This machine's, some time ahead."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


@dataclass
class World:
    """A server that asks who is who; joe's certificate lasts an hour, the admin's a year."""

    running: Running
    pki: TestPki
    directory: Path
    clock: MovedClock
    who: Authenticator
    joe: TlsFiles
    admin: GrpcApi

    def give(self, user: str, groups: tuple[str, ...] = MASTERS, *, lasts_s: float) -> TlsFiles:
        """Write a certificate; its file may be there already.

        To TLS, which knows this machine's time only, it is valid from now on.
        """
        files = TlsFiles(self.directory / "j.crt", self.directory / "j.key", self.pki.ca)
        files.cert.touch()
        files.key.touch()
        now_s, days = SystemClock().now(), (self.clock.ahead_s + lasts_s) / 86_400
        pair = issue(self.pki._ca, Subject(user, groups), now_s=now_s, days=days)
        renew(files.key, pair.key)
        renew(files.cert, pair.certificate)
        return files


def in_world(
    tmp_path: Path, story: Callable[[World], Awaitable[None]], *, also: bytes = b""
) -> None:
    """Tell a story; `also` are authorities of clients besides that of the world."""

    async def main() -> None:
        async with asyncio.timeout(300):
            async with world(tmp_path, also) as w:
                await story(w)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@asynccontextmanager
async def world(tmp_path: Path, also: bytes) -> AsyncIterator[World]:
    pki, clock = TestPki(tmp_path), MovedClock()
    pki.ca.write_bytes(pki.ca.read_bytes() + also)
    made: list[Authenticator] = []

    def access(registry: Registry) -> Access:
        static = read_token_file('secret,ann,u1,"system:masters"\n')
        authorities = Authorities(pki.ca.read_bytes())
        made.append(Authenticator(registry, clock=clock, static=static, authorities=authorities))
        return Access(made[0], FixedPolicy(node_of_pod(registry), requester_of(registry)))

    async with running_apiserver(pki, clock=clock, access=access) as running:
        admin = api_of(running, running.admin)
        w = World(running, pki, tmp_path, clock, made[0], running.admin, admin)
        w.joe = w.give("joe", lasts_s=HOUR_S)
        await admin.create(NAMESPACE, body("default"))
        try:
            yield w
        finally:
            await admin.close()


def api_of(running: Running, files: TlsFiles, of: type[GrpcApi] = GrpcApi) -> GrpcApi:
    return of(
        [running.grpc_address],
        ca=files.ca,
        cert=files.cert,
        key=files.key,
        rng=Random(1),
        timeout_s=30.0,
    )


def body(name: str, **fields: Any) -> bytes:
    return orjson.dumps({"metadata": {"name": name}, **fields})


class Rest:
    """One connection to the REST door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def connect(running: Running, files: TlsFiles) -> "Rest":
        port = running.server.http.port
        return Rest(*await asyncio.open_connection("127.0.0.1", port, ssl=client_context(files)))

    async def ask(self, path: str, token: str = "") -> tuple[int, dict[str, str], Any]:
        """Return status, headers and the body of an answer that is whole; of a stream, None."""
        shown = f"Authorization: Bearer {token}\r\n" if token else ""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n{shown}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        if "content-length" not in headers:
            return int(first.split()[1]), headers, None
        said = await self._reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, said

    async def event(self) -> str:
        """Return the name of what the next event of a watch is about."""
        size = int(await self._reader.readline(), 16)
        piece = await self._reader.readexactly(size + 2)
        name: str = orjson.loads(piece)["object"]["metadata"]["name"]
        return name

    async def ended(self) -> bool:
        """Tell whether the server closes the connection and says nothing more."""
        return await self._reader.read() == b""

    def close(self) -> None:
        self._writer.close()


MAPS = "/api/v1/namespaces/default/configmaps"


def test_rest_refuses_once_a_certificate_has_expired_and_what_runs_goes_on(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        asking = [await Rest.connect(w.running, w.joe) for _ in range(3)]
        watching = await Rest.connect(w.running, w.joe)
        for rest in asking:
            assert (await rest.ask(MAPS))[0] == 200
        assert (await watching.ask(f"{MAPS}?watch=1"))[0] == 200
        w.clock.ahead_s = HOUR_S - 60
        for rest in asking:
            assert (await rest.ask(MAPS))[0] == 200
        w.clock.ahead_s = HOUR_S + 60
        asking.append(await Rest.connect(w.running, w.joe))  # TLS knows this machine's time only
        assert (await asking[0].ask(MAPS, token="secret"))[0] == 200
        for rest, path in zip(asking, (MAPS, "/healthz", f"{MAPS}?watch=1", MAPS), strict=True):
            status, headers, said = await rest.ask(path)
            assert status == 401
            assert headers["connection"] == "close"
            assert orjson.loads(said)["reason"] == "Unauthorized"
            assert await rest.ended()
            rest.close()
        await w.admin.create(CONFIG_MAP, body("later"), "default")
        while await watching.event() != "later":
            pass
        watching.close()

    in_world(tmp_path, story)


@asynccontextmanager
async def stub(w: World, certificate: bytes, key: bytes) -> AsyncIterator[Any]:
    credentials = grpc.ssl_channel_credentials(w.pki.ca.read_bytes(), key, certificate)
    async with grpc.aio.secure_channel(w.running.grpc_address, credentials) as channel:
        yield ClusterStub(channel)


RESOURCE = pb.Resource(version="v1", plural="configmaps")
LIST = pb.ListRequest(resource=RESOURCE, namespace="default")


def create(name: str) -> pb.CreateRequest:
    return pb.CreateRequest(resource=RESOURCE, namespace="default", object=body(name))


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_grpc_refuses_once_a_certificate_has_expired_and_what_runs_goes_on(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        async with stub(w, w.joe.cert.read_bytes(), w.joe.key.read_bytes()) as cluster:
            page = await cluster.List(LIST)
            watch = cluster.Watch(
                pb.WatchRequest(resource=RESOURCE, namespace="default", revision=page.revision)
            )
            await watch.initial_metadata()
            batch = cluster.Batch()
            await batch.write(pb.BatchRequest(id=1, create=create("one")))
            assert not (await batch.read()).status
            w.clock.ahead_s = HOUR_S + 60
            assert await code_of(cluster.List(LIST)) is grpc.StatusCode.UNAUTHENTICATED
            assert await code_of(cluster.Create(create("x"))) is grpc.StatusCode.UNAUTHENTICATED
            later = cluster.Watch(pb.WatchRequest(resource=RESOURCE, revision=page.revision))
            assert await code_of(later.read()) is grpc.StatusCode.UNAUTHENTICATED
            await batch.write(pb.BatchRequest(id=2, create=create("two")))
            assert orjson.loads((await batch.read()).status)["code"] == 401
            secret = (("authorization", "Bearer secret"),)
            assert await code_of(cluster.List(LIST, metadata=secret)) is grpc.StatusCode.OK
            await w.admin.create(CONFIG_MAP, body("later"), "default")
            seen: list[str] = []
            while "later" not in seen:
                objects = [orjson.loads(each.object) for each in (await watch.read()).events]
                seen += [one["metadata"].get("name", "") for one in objects]
            assert [name for name in seen if name in ("one", "two", "x", "later")] == [
                "one",
                "later",
            ]

    in_world(tmp_path, story)


def test_an_authority_that_is_taken_out_of_its_file(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        ours = w.pki.ca.read_bytes()
        other = create_ca("other", now_s=w.clock.now()).certificate
        rests = [await Rest.connect(w.running, w.joe) for _ in range(2)]
        async with stub(w, w.joe.cert.read_bytes(), w.joe.key.read_bytes()) as cluster:
            for rest in rests:
                assert (await rest.ask(MAPS))[0] == 200
            assert await code_of(cluster.List(LIST)) is grpc.StatusCode.OK
            w.who.trust(Authorities(other + ours))
            assert (await rests[0].ask(MAPS))[0] == 200
            assert await code_of(cluster.List(LIST)) is grpc.StatusCode.OK
            w.who.trust(Authorities(other))
            assert (await rests[0].ask(MAPS))[0] == 401
            assert await rests[0].ended()
            assert await code_of(cluster.List(LIST)) is grpc.StatusCode.UNAUTHENTICATED
            w.who.trust(Authorities(ours))
            assert (await rests[1].ask(MAPS))[0] == 200
            assert await code_of(cluster.List(LIST)) is grpc.StatusCode.OK
        for rest in rests:
            rest.close()

    in_world(tmp_path, story)


def test_a_certificate_may_come_with_that_of_its_issuer(tmp_path: Path) -> None:
    now_s = SystemClock().now()
    root = Authority("root", now_s=now_s)
    middle = Authority("middle", now_s=now_s, above=root)
    ann = middle.issue("ann")
    chain = ann.certificate + middle.pem

    async def story(w: World) -> None:
        files = TlsFiles(tmp_path / "ann.crt", tmp_path / "ann.key", w.pki.ca)
        files.cert.write_bytes(chain)
        files.key.write_bytes(ann.key)
        async with stub(w, chain, ann.key) as cluster:
            for believed in (True, False):
                rest = await Rest.connect(w.running, files)
                assert (await rest.ask("/api"))[0] == (200 if believed else 401)
                rest.close()
                assert await code_of(cluster.List(LIST)) is (
                    grpc.StatusCode.PERMISSION_DENIED
                    if believed
                    else grpc.StatusCode.UNAUTHENTICATED
                )
                w.who.trust(Authorities(w.pki._ca.certificate))

    in_world(tmp_path, story, also=root.pem)


class Counted(GrpcApi):
    """Counts its lists."""

    lists = 0

    async def list(self, *args: Any, **fields: Any) -> ObjectList:
        self.lists += 1
        return await super().list(*args, **fields)


async def read(w: World, kind: Kind, name: str, namespace: str) -> Any:
    try:
        return orjson.loads(await w.admin.get(kind, name, namespace))
    except NotFoundError:
        return None


def test_an_agent_whose_certificate_is_renewed_goes_on(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        def give(lasts_s: float) -> TlsFiles:
            return w.give("system:node:n1", ("system:nodes",), lasts_s=lasts_s)

        async def beat() -> Any:
            lease = await read(w, LEASE, "n1", LEASE_NAMESPACE)
            return lease and lease["spec"]["renewTime"]

        async def runs(name: str) -> bool:
            pod = await read(w, POD, name, "default")
            return bool(pod["status"].get("phase") == "Running")

        await w.admin.create(NAMESPACE, body(LEASE_NAMESPACE))
        async with asyncio.TaskGroup() as tasks:
            api = cast("Counted", api_of(w.running, give(HOUR_S), Counted))
            node = NodeIdentity("n1", "127.0.0.1", 10250, 110, {}, ())
            fleet = HollowFleet(FleetConfig((node,)), api, w.clock, Random(1))
            running = tasks.create_task(fleet.run())
            for number in range(3):
                name, before = f"p{number}", await beat()
                await w.admin.create(POD, pod_on_node(name), "default")
                while not await runs(name):
                    await asyncio.sleep(0.05)
                while await beat() == before:
                    await asyncio.sleep(0.05)
                while api.lists < 2:
                    await asyncio.sleep(0.05)
                assert api.lists == 2  # of pods and of nodes, when it began
                later_s = HOUR_S + 60  # what is in use has expired then
                give(later_s + HOUR_S)
                w.clock.ahead_s += later_s
            running.cancel()
        await api.close()

    in_world(tmp_path, story)


def pod_on_node(name: str) -> bytes:
    spec = {
        "nodeName": "n1",
        "automountServiceAccountToken": False,
        "containers": [{"name": "c", "image": "i"}],
    }
    return body(name, spec=spec)
