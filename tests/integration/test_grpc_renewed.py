"""The gRPC client when its certificate is renewed: connections are made anew, and nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

import grpc
import pytest
from apiserver_pki import TestPki
from grpc_door import Door, config_map, doors, in_loop
from renewed_files import renew
from verbs_stub import event

from wherry.api.errors import UnauthorizedError
from wherry.api.kinds import CONFIG_MAP
from wherry.client.api import EventType, WatchEvent
from wherry.client.grpc_api import GrpcApi
from wherry.client.grpc_channel import Link
from wherry.pki.certificates import issue
from wherry.pki.subject import Subject
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration


class Client:
    """A client whose certificate says how often it was renewed."""

    def __init__(self, pki: TestPki, directory: Path, door: Door) -> None:
        self._pki = pki
        self.cert, self.key = directory / "c.crt", directory / "c.key"
        self.cert.touch()
        self.key.touch()
        self.renew("first")
        self.door = door
        self.api = GrpcApi(
            [door.address], ca=pki.ca, cert=self.cert, key=self.key, rng=Random(0), timeout_s=30.0
        )

    @property
    def link(self) -> Link:
        link = self.api._servers[0]._link
        assert link is not None
        return link

    def renew(self, user: str) -> None:
        self.renew_key(user)()

    def renew_key(self, user: str) -> Callable[[], None]:
        """Write the key; what is returned writes the certificate."""
        pair = issue(self._pki._ca, Subject(user), now_s=SystemClock().now())
        renew(self.key, pair.key)
        return lambda: renew(self.cert, pair.certificate)

    async def follow(self) -> Sequence[WatchEvent]:
        """Return what a watch brings first, which ends meanwhile if the certificate is renewed."""
        while True:
            async for batch in self.api.watch(CONFIG_MAP, revision=1):
                return batch

    async def shown(self) -> str:
        """Return whom the server sees in a call."""
        await self.api.list(CONFIG_MAP)
        return self.door.verbs.contexts[-1].user.name

    async def shows(self, user: str) -> None:
        """Wait until calls are made with that certificate: files are not looked at each time."""
        while await self.shown() != user:
            await asyncio.sleep(0.05)


def with_client(tmp_path: Path, run: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        pki = TestPki(tmp_path)
        async with doors(pki) as [door]:
            client = Client(pki, tmp_path, door)
            try:
                await run(client)
            finally:
                await client.api.close()

    in_loop(main)


def test_calls_under_way_end_where_they_began_and_watches_end(tmp_path: Path) -> None:
    async def run(client: Client) -> None:
        verbs = client.door.verbs
        watch = aiter(client.api.watch(CONFIG_MAP, revision=1))
        verbs.events.put_nowait([event(EventType.ADDED, "a", 6)])
        await anext(watch)
        link = client.link
        verbs.hold.clear()
        async with asyncio.TaskGroup() as tasks:
            create = tasks.create_task(client.api.create(CONFIG_MAP, config_map("slow"), "default"))
            while not any(call[0] == "create" for call in verbs.calls):
                await asyncio.sleep(0.01)
            client.renew("second")
            ended = tasks.create_task(anext(watch, None))
            held = [tasks.create_task(client.api.list(CONFIG_MAP))]
            while not ended.done():  # who calls notices the new files
                await asyncio.sleep(0.05)
                held.append(tasks.create_task(client.api.list(CONFIG_MAP)))
            assert ended.result() is None
            assert not create.done()
            verbs.hold.set()
        assert b"slow" in create.result()
        assert link._channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
        assert await client.shown() == "second"

    with_client(tmp_path, run)


def test_a_key_without_its_certificate_is_not_taken_into_use(tmp_path: Path) -> None:
    async def run(client: Client) -> None:
        assert await client.shown() == "first"
        write_certificate = client.renew_key("second")
        link = client.link
        for _ in range(2):
            assert not await client.api._servers[0].renew()
        assert await client.shown() == "first"
        assert not link.given_up
        write_certificate()
        await client.shows("second")
        assert link.given_up

    with_client(tmp_path, run)


def test_who_is_refused_shows_the_renewed_certificate(tmp_path: Path) -> None:
    async def run(client: Client) -> None:
        verbs = client.door.verbs
        assert await client.shown() == "first"
        client.door.gate.expired = {"first"}
        client.renew("second")
        async with asyncio.TaskGroup() as tasks:
            for number in range(5):  # they are refused together: each of them has to see why
                body = config_map(f"c{number}")
                tasks.create_task(client.api.create(CONFIG_MAP, body, "default"))
            followed = tasks.create_task(client.follow())
            verbs.events.put_nowait([event(EventType.ADDED, "a", 6)])
        assert len(followed.result()) == 1
        assert sorted(name for _, _, name in verbs.objects) == [f"c{n}" for n in range(5)]
        assert {ctx.user.name for ctx in verbs.contexts[1:]} == {"second"}

    with_client(tmp_path, run)


def test_who_has_nothing_newer_to_show_is_told(tmp_path: Path) -> None:
    async def run(client: Client) -> None:
        assert await client.shown() == "first"
        client.door.gate.expired = {"first", "second"}
        for user in ("", "second"):
            if user:
                client.renew(user)
            with pytest.raises(UnauthorizedError):
                await client.api.create(CONFIG_MAP, config_map("a"), "default")
            with pytest.raises(UnauthorizedError):
                await anext(aiter(client.api.watch(CONFIG_MAP, revision=1)))
        assert not client.door.verbs.objects

    with_client(tmp_path, run)


def test_a_task_that_is_cancelled_while_the_certificate_is_renewed_is_cancelled(
    tmp_path: Path,
) -> None:
    async def run(client: Client) -> None:
        verbs = client.door.verbs

        async def follow() -> None:
            async for _ in client.api.watch(CONFIG_MAP, revision=1):
                raise AssertionError("nothing happened")

        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(follow())
            while not verbs.watching:
                await asyncio.sleep(0.01)
            client.renew("second")
            watch.cancel()
            await client.api._servers[0].renew()
        assert watch.cancelled()
        assert await client.shown() == "second"

    with_client(tmp_path, run)
