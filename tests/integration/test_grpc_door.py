"""The gRPC door and its client against each other, over mTLS on loopback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from apiserver_pki import TestPki
from grpc_door import client, config_map, doors, in_loop, secure_channel
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from verbs_stub import event

from wherry.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    Cause,
    ExpiredError,
    ForbiddenError,
    InternalError,
    InvalidError,
    NotFoundError,
    StatusError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)
from wherry.api.kinds import CONFIG_MAP, NODE, POD, Kind
from wherry.apiserver.verbs import DeleteOptions, User
from wherry.client.api import EventType, PatchType
from wherry.client.grpc_api import GrpcApi
from wherry.wire.v1 import cluster_pb2 as pb
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

pytestmark = pytest.mark.integration


@pytest.fixture
def pki(tmp_path: Path) -> TestPki:
    return TestPki(tmp_path)


def test_every_verb_makes_the_round_trip(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            created = orjson.loads(await api.create(CONFIG_MAP, config_map("a"), "default"))
            assert created["metadata"]["name"] == "a"
            assert orjson.loads(await api.get(CONFIG_MAP, "a", "default")) == created
            page = await api.list(CONFIG_MAP, "default", labels="x=y", limit=7, cached=True)
            assert [orjson.loads(raw) for raw in page.items] == [created]
            assert page.revision == door.verbs.revision
            options = door.verbs.calls[-1][-1]
            assert (options.labels, options.limit, options.revision) == ("x=y", 7, "0")
            await api.update(CONFIG_MAP, "a", config_map("a"), "default")
            await api.patch(
                CONFIG_MAP, "a", b'{"data":{"k":"v"}}', "default", patch_type=PatchType.STRATEGIC
            )
            assert door.verbs.calls[-1] == (
                "patch", "default", "a", {"data": {"k": "v"}}, PatchType.STRATEGIC, "",
            )  # fmt: skip
            await api.create(POD, config_map("a"), "default", name="p", subresource="binding")
            bound: object = door.verbs.calls[-1]
            assert bound == ("create", "pods", "default", "p", "binding")
            await api.delete(CONFIG_MAP, "a", "default", uid="u", grace_s=0, propagation="Orphan")
            deleted: object = door.verbs.calls[-1][-1]
            assert deleted == DeleteOptions(0, "Orphan", "u")
            assert {c.user.name for c in door.verbs.contexts} == {"admin"}

    in_loop(main)


REFUSALS: list[StatusError] = [
    BadRequestError("no"),
    NotFoundError('pods "x" not found', name="x", kind="pods"),
    AlreadyExistsError("it is there"),
    ExpiredError("too old"),
    ForbiddenError("you may not"),
    InternalError("a bug"),
    TooManyRequestsError("later", retry_after_s=3),
    InvalidError(
        'Pod "x" is invalid: spec: "ü"', causes=[Cause("FieldValueInvalid", "ü\n", "spec")]
    ),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda e: e.reason)
def test_refusals_come_through_unchanged(pki: TestPki, error: StatusError) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            door.verbs.fail = error
            with pytest.raises(type(error)) as raised:
                await api.get(POD, "x", "default")
            assert raised.value.to_status() == error.to_status()

    in_loop(main)


def test_a_status_too_large_for_metadata_loses_its_causes_not_its_reason(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            causes = [Cause("FieldValueInvalid", "x" * 100, f"spec.f{i}") for i in range(2000)]
            door.verbs.fail = InvalidError("much is wrong: " + "y" * 5000, causes=causes)
            with pytest.raises(InvalidError, match="much is wrong"):
                await api.get(POD, "x", "default")

    in_loop(main)


def test_bugs_are_not_told(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            door.verbs.fail = RuntimeError("hunter2")
            with pytest.raises(InternalError) as raised:
                await api.get(POD, "x", "default")
            assert "hunter2" not in str(raised.value)

    in_loop(main)


def test_bodies_and_addresses_are_checked(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            with pytest.raises(BadRequestError):
                await api.create(CONFIG_MAP, b"{not json", "default")
            with pytest.raises(BadRequestError):
                await api.create(CONFIG_MAP, b"[]", "default")
            with pytest.raises(NotFoundError):
                await api.get(Kind("x", "v1", "Y", "ys"), "a")
            with pytest.raises(NotFoundError):
                await api.get(NODE, "a", subresource="nonsense")
            assert door.verbs.calls == []

    in_loop(main)


def test_who_asks_and_who_may(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door]:
            door.gate.tokens["secret"] = User("robot")
            async with client(pki, [door.address], token="secret") as api:
                await api.create(CONFIG_MAP, config_map("a"), "default")
                assert door.verbs.contexts[-1].user == User("robot")
                door.gate.forbidden.add(("robot", "get"))
                with pytest.raises(ForbiddenError, match='User "robot" cannot get resource'):
                    await api.get(CONFIG_MAP, "a", "default")
            async with client(pki, [door.address], token="wrong") as api:
                with pytest.raises(UnauthorizedError):
                    await api.get(CONFIG_MAP, "a", "default")

    in_loop(main)


def test_a_stranger_is_not_let_in(pki: TestPki, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "other").mkdir()
        stranger = TestPki(tmp_path / "other", "other-ca").admin()
        async with doors(pki) as [door]:
            api = GrpcApi(
                [door.address],
                ca=pki.ca,
                cert=stranger.cert,
                key=stranger.key,
                rng=Random(0),
                timeout_s=1.0,
            )
            with pytest.raises(UnavailableError):
                await api.get(CONFIG_MAP, "a", "default")
            await api.close()
            assert door.verbs.calls == []

    in_loop(main)


def test_a_watch_brings_batches_and_ends_with_its_client(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            watch = aiter(api.watch(CONFIG_MAP, "default", revision=5))
            sent = [event(EventType.ADDED, f"c{i}", 6 + i) for i in range(250)]
            door.verbs.events.put_nowait(sent)
            door.verbs.events.put_nowait([event(EventType.BOOKMARK, "", 999)])
            batches = []
            got: list[object] = []
            while len(got) < 251:
                batches.append(await anext(watch))
                got += batches[-1]
            assert got == [*sent, event(EventType.BOOKMARK, "", 999)]
            assert [len(b) for b in batches] == [100, 100, 50, 1]
            await watch.aclose()  # type: ignore[attr-defined]
            while door.verbs.watching:  # until the server has noticed
                await asyncio.sleep(0.01)

    in_loop(main)


def test_an_expired_watch_says_so(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address]) as api:
            door.verbs.events.put_nowait([event(EventType.ADDED, "a", 6)])
            door.verbs.events.put_nowait(ExpiredError("too old resource version: 1 (2)"))
            watch = aiter(api.watch(CONFIG_MAP, revision=1))
            assert len(await anext(watch)) == 1
            with pytest.raises(ExpiredError, match="too old"):
                await anext(watch)

    in_loop(main)


def test_a_batch_answers_each_write_by_its_id(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], secure_channel(pki, door) as open_channel:
            stub: Any = ClusterStub(open_channel)
            resource = pb.Resource(version="v1", plural="configmaps")

            async def requests() -> AsyncIterator[pb.BatchRequest]:
                for i in range(100):
                    create = pb.CreateRequest(
                        resource=resource,
                        namespace="default",
                        object=config_map(f"c{i % 99}"),
                    )
                    yield pb.BatchRequest(id=i, create=create)
                yield pb.BatchRequest(id=100)

            replies = {reply.id: reply async for reply in stub.Batch(requests())}
            assert len(replies) == 101
            refused = [r for r in replies.values() if r.status]
            reasons = sorted(orjson.loads(r.status)["reason"] for r in refused)
            assert reasons == ["AlreadyExists", "BadRequest"]
            assert len(door.verbs.objects) == 99

    in_loop(main)


def test_health_and_reflection_are_on(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], secure_channel(pki, door) as open_channel:
            await door.server.set_serving(serving=True)
            health = health_pb2_grpc.HealthStub(open_channel)
            request = health_pb2.HealthCheckRequest(service="wherry.wire.v1.Cluster")
            answer = await health.Check(request)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            reflection = reflection_pb2_grpc.ServerReflectionStub(open_channel)
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            async for reply in reflection.ServerReflectionInfo(iter([asked])):
                names = {s.name for s in reply.list_services_response.service}
                assert "wherry.wire.v1.Cluster" in names

    in_loop(main)
