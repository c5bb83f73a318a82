"""What REST refuses, gRPC refuses too; and how its batches end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from apiserver_pki import TestPki
from grpc_door import client, config_map, doors, in_loop, secure_channel

from wherry.api.errors import (
    BadRequestError,
    InvalidError,
    MethodNotAllowedError,
    NotFoundError,
    TooLargeError,
)
from wherry.api.kinds import CONFIG_MAP, DEPLOYMENT, POD
from wherry.apiserver.grpc.message import batches
from wherry.client.api import EventType, PatchType, WatchEvent
from wherry.wire.v1 import cluster_pb2 as pb
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

pytestmark = pytest.mark.integration
MAPS = pb.Resource(version="v1", plural="configmaps")


@pytest.fixture
def pki(tmp_path: Path) -> TestPki:
    return TestPki(tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../secrets/x", "a%2fb"])
def test_a_name_is_one_segment_of_a_path(pki: TestPki, name: str) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            with pytest.raises(BadRequestError, match="Name parameter invalid"):
                await api.get(CONFIG_MAP, name, "default")
            with pytest.raises(BadRequestError, match="Namespace parameter invalid"):
                await api.list(CONFIG_MAP, name)
            with pytest.raises(BadRequestError, match="Namespace parameter invalid"):
                await api.delete(CONFIG_MAP, "a", name)
            with pytest.raises(BadRequestError, match="Namespace parameter invalid"):
                await anext(aiter(api.watch(CONFIG_MAP, name, revision=1)))
            assert door.verbs.calls == []

    in_loop(main)


def test_verbs_that_a_resource_does_not_serve(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            with pytest.raises(MethodNotAllowedError):
                await api.create(CONFIG_MAP, config_map("a"))  # in no namespace
            with pytest.raises(MethodNotAllowedError):
                await api.create(DEPLOYMENT, b"{}", "default", name="d", subresource="status")
            with pytest.raises(MethodNotAllowedError):
                await api.get(POD, "p", "default", subresource="binding")
            assert door.verbs.calls == []

    in_loop(main)


DEEP = b'{"data":' + b'{"a":' * 300 + b"1" + b"}" * 301
OTHER = b'{"apiVersion":"v1","kind":"Secret"}'


@pytest.mark.parametrize("body", [DEEP, OTHER, b"[1]", b"\xff", b""])
def test_bodies_are_bounded_and_of_the_kind(pki: TestPki, body: bytes) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            with pytest.raises(BadRequestError):
                await api.create(CONFIG_MAP, body, "default")
            with pytest.raises(BadRequestError):
                await api.update(CONFIG_MAP, "a", body, "default")
            if body in (DEEP, b"\xff", b""):
                with pytest.raises(BadRequestError):
                    await api.patch(CONFIG_MAP, "a", body, "default", patch_type=PatchType.MERGE)
            assert door.verbs.calls == []

    in_loop(main)


def test_options_are_checked_as_over_rest(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], secure_channel(pki, door) as channel:
            stub: Any = ClusterStub(channel)

            async def create(**options: Any) -> grpc.aio.AioRpcError:
                request = pb.CreateRequest(
                    resource=MAPS,
                    namespace="default",
                    object=b'{"metadata":{"name":"a"},"data":{},"data":{}}',
                    options=pb.WriteOptions(**options),
                )
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await stub.Create(request)
                return raised.value

            for options in (
                {"field_validation": "Maybe"},
                {"field_manager": "x" * 129},
                {"field_manager": "a\nb"},
            ):
                assert (await create(**options)).code() is grpc.StatusCode.INVALID_ARGUMENT
            refused = await create(field_validation="Strict")
            assert 'duplicate field "data"' in (refused.details() or "")
            assert door.verbs.calls == []
            request = pb.CreateRequest(
                resource=MAPS,
                namespace="default",
                object=b'{"metadata":{"name":"a"},"data":{},"data":{}}',
                options=pb.WriteOptions(field_validation="Warn"),
            )
            reply = await stub.Create(request)
            assert list(reply.warnings) == ['duplicate field "data"']
            batch = stub.Batch(iter([pb.BatchRequest(id=1, update=_update("a"))]))
            assert list((await anext(aiter(batch))).warnings) == ['duplicate field "data"']

    in_loop(main)


def _update(name: str) -> pb.UpdateRequest:
    return pb.UpdateRequest(
        resource=MAPS,
        namespace="default",
        name=name,
        object=b'{"metadata":{"name":"a"},"data":{},"data":{}}',
        options=pb.WriteOptions(field_validation="Warn"),
    )


def test_an_unknown_propagation_policy_is_refused(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            with pytest.raises(InvalidError, match="propagationPolicy"):
                await api.delete(CONFIG_MAP, "a", "default", propagation="Sideways")
            with pytest.raises(NotFoundError):
                await api.delete(CONFIG_MAP, "a", "default", propagation="Orphan")

    in_loop(main)


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x0a\x50abc", b"\x12\x02\xff\xfe"])
def test_what_is_not_protobuf_is_its_senders_fault(
    pki: TestPki, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with doors(pki) as [door], secure_channel(pki, door) as open_channel:
            channel: Any = open_channel  # without a reader, which its stubs require
            service = "/wherry.wire.v1.Cluster"
            for method in ("Get", "Create"):
                call = channel.unary_unary(f"{service}/{method}")
                assert await code_of(call(data)) is grpc.StatusCode.INVALID_ARGUMENT
            watch = channel.unary_stream(f"{service}/Watch")(data)
            assert await code_of(watch.read()) is grpc.StatusCode.INVALID_ARGUMENT
            batch = channel.stream_stream(f"{service}/Batch")()
            create = pb.CreateRequest(resource=MAPS, namespace="default", object=config_map("a"))
            await batch.write(pb.BatchRequest(id=7, create=create).SerializeToString())
            await batch.write(data)
            reply = pb.BatchReply.FromString(await batch.read())
            assert (reply.id, reply.status) == (7, b"")
            assert await code_of(batch.read()) is grpc.StatusCode.INVALID_ARGUMENT
            assert len(door.verbs.calls) == 1

    in_loop(main)
    assert "Traceback" not in caplog.text


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code()


def test_lists_ask_for_no_more_than_a_url_holds(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            for labels, fields in (("a=b," * 200_000 + "c", ""), ("", "x" * 1_000_000)):
                with pytest.raises(TooLargeError):
                    await api.list(CONFIG_MAP, labels=labels, fields=fields)
                with pytest.raises(TooLargeError):
                    await anext(
                        aiter(api.watch(CONFIG_MAP, revision=1, labels=labels, fields=fields))
                    )
            assert door.verbs.calls == []
            await api.list(CONFIG_MAP, "default", limit=-1)
            assert door.verbs.calls[-1][-1].limit == 0

    in_loop(main)


def test_a_watcher_that_does_not_read_costs_one_message_not_all() -> None:
    events = [WatchEvent(EventType.MODIFIED, b"x" * 100_000, n) for n in range(1000)]
    cut = batches(events)
    assert len(next(cut).events) == 1
    assert sum(len(batch.events) for batch in cut) == 999
    assert list(batches([])) == []


def test_writes_of_a_batch_are_counted_one_by_one(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], secure_channel(pki, door) as channel:
            stub: Any = ClusterStub(channel)
            create = pb.CreateRequest(resource=MAPS, namespace="default", object=config_map("a"))
            requests = [pb.BatchRequest(id=n, create=create) for n in range(3)]
            replies = [reply async for reply in stub.Batch(iter(requests))]
            assert len(replies) == 3
            codes: dict[str, float] = {}
            for family in door.counted.collect():
                for sample in family.samples:
                    if sample.name.endswith("_total") and "code" in sample.labels:
                        code = sample.labels["code"]
                        codes[code] = codes.get(code, 0) + sample.value
            assert codes == {"200": 1.0, "409": 2.0}

    in_loop(main)


def test_a_draining_server_finishes_what_it_has_read_of_a_batch_and_ends_it(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], secure_channel(pki, door) as channel:
            stub: Any = ClusterStub(channel)
            forever = asyncio.Event()
            door.verbs.hold.clear()

            async def requests() -> AsyncIterator[pb.BatchRequest]:
                create = pb.CreateRequest(
                    resource=MAPS, namespace="default", object=config_map("a")
                )
                yield pb.BatchRequest(id=7, create=create)
                await forever.wait()

            replies = aiter(stub.Batch(requests()))
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(anext(replies))
                while not door.verbs.calls:
                    await asyncio.sleep(0.01)
                stopping = tasks.create_task(door.stop())
                await asyncio.sleep(0)
                door.verbs.hold.set()
                reply = await first
                assert (reply.id, reply.status) == (7, b"")
                with pytest.raises(StopAsyncIteration):
                    await anext(replies)
                await stopping
            forever.set()

    in_loop(main)
