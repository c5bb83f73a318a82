"""One suite for both runtimes: what the agent relies on."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import virtual_loop
from containerd_host import BUSYBOX, ContainerdHost

from wherry.agent.cri import CriRuntime
from wherry.agent.hollow import HollowRuntime
from wherry.agent.hollow_life import EXIT_CODE, OOM, RUN_SECONDS
from wherry.agent.runtime import (
    ContainerRecord,
    ContainerState,
    Runtime,
    RuntimeEvent,
    RuntimeEventKind,
    RuntimePod,
    RuntimeRefusedError,
)
from wherry.agent.runtime_config import ContainerConfig, PodRef, Resources, SandboxConfig
from wherry.process.clock import SystemClock

Scenario = Callable[["Bench"], Awaitable[None]]


_SERIALS = itertools.count(1)


class Bench:
    """A runtime, and how containers are made that live a certain way in it."""

    def __init__(self, runtime: Runtime, directory: Path, cgroup: str, *, hollow: bool) -> None:
        self.runtime = runtime
        self.directory = directory
        self.cgroup = cgroup
        self.hollow = hollow

    def sandbox(self, life: dict[str, str] | None = None) -> SandboxConfig:
        serial = next(_SERIALS)  # one containerd, and the logs beside it, serve all tests
        uid = f"uid-{serial}"
        logs = self.directory / uid
        logs.mkdir(parents=True)
        pod = PodRef("default", f"p{serial}", uid)
        labels = {
            "io.kubernetes.pod.name": pod.name,
            "io.kubernetes.pod.namespace": pod.namespace,
            "io.kubernetes.pod.uid": pod.uid,
        }
        return SandboxConfig(
            pod=pod,
            attempt=0,
            hostname=pod.name,
            log_directory=str(logs),
            cgroup_parent=f"{self.cgroup}/{uid}" if self.cgroup else "",
            labels=labels,
            annotations=life or {},
        )

    async def container(
        self, sandbox_id: str, config: SandboxConfig, script: str = "sleep 1000", **more: Any
    ) -> str:
        image = await self.image()
        wanted = ContainerConfig(
            name="c",
            attempt=more.pop("attempt", 0),
            image=image,
            command=("sh", "-c", script),
            labels={**config.labels, "io.kubernetes.container.name": "c"},
            annotations={"example": "kept"},
            log_path="c.log",
            **more,
        )
        return await self.runtime.create_container(sandbox_id, wanted, config)

    async def image(self) -> str:
        if self.hollow:
            return await self.runtime.pull_image(BUSYBOX)
        found = await self.runtime.image(BUSYBOX)
        assert found is not None
        return found.id

    async def running(
        self, script: str = "sleep 1000", life: dict[str, str] | None = None
    ) -> "Made":
        config = self.sandbox(life)
        sandbox_id = await self.runtime.run_sandbox(config)
        container_id = await self.container(sandbox_id, config, script)
        await self.runtime.start_container(container_id)
        return Made(self, config, sandbox_id, container_id)


class Made:
    """A pod of one container."""

    def __init__(self, bench: Bench, config: SandboxConfig, sandbox: str, container: str) -> None:
        self.bench, self.config, self.sandbox, self.container = bench, config, sandbox, container

    async def pod(self) -> RuntimePod:
        return await self.bench.runtime.pod_status(self.config.pod)

    async def record(self) -> ContainerRecord:
        return next(c for c in (await self.pod()).containers if c.id == self.container)

    async def ended(self) -> ContainerRecord:
        async with asyncio.timeout(90):
            while True:
                record = await self.record()
                if record.state is ContainerState.EXITED:
                    return record
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def host() -> Iterator[ContainerdHost]:
    with ContainerdHost() as made:
        made.start()
        yield made


@pytest.fixture(
    params=["hollow", pytest.param("cri", marks=[pytest.mark.containerd, pytest.mark.netns])]
)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    if request.param == "hollow":
        source = _hollow(tmp_path)
    else:
        source = _cri(request.getfixturevalue("host"))

    def play_it(scenario: Scenario) -> None:
        async def main() -> None:
            async with source as bench:
                try:
                    await scenario(bench)
                finally:
                    for pod in await bench.runtime.list_pods():
                        for sandbox in pod.sandboxes:
                            await bench.runtime.stop_sandbox(sandbox.id)
                            await bench.runtime.remove_sandbox(sandbox.id)

        asyncio.run(main())

    return play_it


@contextlib.asynccontextmanager
async def _hollow(directory: Path) -> AsyncIterator[Bench]:
    yield Bench(HollowRuntime(SystemClock()), directory, "", hollow=True)


@contextlib.asynccontextmanager
async def _cri(host: ContainerdHost) -> AsyncIterator[Bench]:
    async with CriRuntime(host.endpoint) as runtime:
        yield Bench(runtime, host.directory / "logs", host.cgroup_root, hollow=False)


Play = Callable[[Scenario], None]


def test_version_and_health(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        assert (await bench.runtime.version()).name in ("containerd", "hollow")
        health = await bench.runtime.health()
        assert (health.runtime_message, health.network_message) == ("", "")

    play(scenario)


def test_nothing_is_known_of_a_pod_that_was_never_made(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        ref = PodRef("default", "p", "nobody")
        assert await bench.runtime.pod_status(ref) == RuntimePod(ref)

    play(scenario)


def test_a_sandbox_is_ready_with_an_address_until_it_is_stopped(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        config = bench.sandbox()
        sandbox_id = await bench.runtime.run_sandbox(config)
        (sandbox,) = (await bench.runtime.pod_status(config.pod)).sandboxes
        assert (sandbox.id, sandbox.ready, sandbox.pod) == (sandbox_id, True, config.pod)
        assert sandbox.ip.count(".") == 3
        await bench.runtime.stop_sandbox(sandbox_id)
        (sandbox,) = (await bench.runtime.pod_status(config.pod)).sandboxes
        assert not sandbox.ready
        await bench.runtime.remove_sandbox(sandbox_id)
        assert not (await bench.runtime.pod_status(config.pod)).sandboxes

    play(scenario)


def test_the_same_attempt_cannot_be_made_twice(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        config = bench.sandbox()
        sandbox_id = await bench.runtime.run_sandbox(config)
        with pytest.raises(RuntimeRefusedError, match="reserve"):
            await bench.runtime.run_sandbox(config)
        await bench.container(sandbox_id, config)
        with pytest.raises(RuntimeRefusedError, match="reserve"):
            await bench.container(sandbox_id, config)

    play(scenario)


def test_a_container_is_created_then_running(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        config = bench.sandbox()
        sandbox_id = await bench.runtime.run_sandbox(config)
        container_id = await bench.container(sandbox_id, config)
        made = Made(bench, config, sandbox_id, container_id)
        record = await made.record()
        assert record.state is ContainerState.CREATED
        assert record.created_at > 0
        assert record.started_at == record.finished_at == 0
        await bench.runtime.start_container(container_id)
        record = await made.record()
        assert (record.state, record.name, record.attempt) == (ContainerState.RUNNING, "c", 0)
        assert record.sandbox_id == sandbox_id
        assert record.annotations["example"] == "kept"
        assert record.started_at >= record.created_at
        (listed,) = [p for p in await bench.runtime.list_pods() if p.pod == config.pod]
        assert listed == await made.pod()

    play(scenario)


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (7, "Error")])
def test_a_container_ends_with_its_code(play: Play, code: int, reason: str) -> None:
    async def scenario(bench: Bench) -> None:
        life = {RUN_SECONDS: "0.1", EXIT_CODE: str(code)}
        made = await bench.running(f"sleep 0.1; exit {code}", life)
        record = await made.ended()
        assert (record.exit_code, record.reason) == (code, reason)
        assert record.finished_at >= record.started_at > 0

    play(scenario)


def test_an_exit_arrives_as_an_event(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        seen: list[RuntimeEvent] = []
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(_collect(bench.runtime, seen))
            await virtual_loop.until(lambda: bool(seen))
            assert seen[0].kind is RuntimeEventKind.RESYNC
            for _ in range(5):  # the subscription is on its way to containerd: it may miss one
                made = await bench.running(
                    "sleep 0.2; exit 3", {RUN_SECONDS: "0.2", EXIT_CODE: "3"}
                )
                assert (await made.ended()).exit_code == 3
                if await _heard_of(made, seen):
                    break
            else:
                raise AssertionError(f"no start, or no exit, among {seen}")
            follower.cancel()

    play(scenario)


async def _heard_of(made: Made, seen: list[RuntimeEvent]) -> bool:
    kinds = (RuntimeEventKind.STARTED, RuntimeEventKind.EXITED)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not {RuntimeEvent(kind, made.container) for kind in kinds} <= set(seen):
                await asyncio.sleep(0.01)
        return True
    return False


async def _collect(runtime: Runtime, seen: list[RuntimeEvent]) -> None:
    async for event in runtime.events():
        seen.append(event)  # noqa: PERF401  # the test looks at it as it grows


def test_running_out_of_memory(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        config = bench.sandbox({RUN_SECONDS: "0.1", OOM: "true"})
        sandbox_id = await bench.runtime.run_sandbox(config)
        limits = Resources(cpu_shares=2, memory_limit_bytes=16 << 20)
        container_id = await bench.container(sandbox_id, config, "tail /dev/zero", resources=limits)
        await bench.runtime.start_container(container_id)
        record = await Made(bench, config, sandbox_id, container_id).ended()
        assert (record.exit_code, record.reason) == (137, "OOMKilled")

    play(scenario)


def test_stopping_kills_after_the_grace_period_and_may_be_repeated(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.running("trap '' TERM; while :; do sleep 0.1; done")
        began = asyncio.get_running_loop().time()
        await bench.runtime.stop_container(made.container, 1)
        assert asyncio.get_running_loop().time() - began < 30
        assert (await made.record()).exit_code == 137
        await bench.runtime.stop_container(made.container, 1)
        await bench.runtime.remove_container(made.container)
        await bench.runtime.remove_container(made.container)
        await bench.runtime.stop_container(made.container, 1)
        assert not (await made.pod()).containers

    play(scenario)


def test_stopping_the_sandbox_ends_its_containers(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.running()
        await bench.runtime.stop_sandbox(made.sandbox)
        assert (await made.ended()).exit_code == 137
        await bench.runtime.remove_sandbox(made.sandbox)
        await bench.runtime.remove_sandbox(made.sandbox)
        await bench.runtime.stop_sandbox(made.sandbox)
        assert await made.pod() == RuntimePod(made.config.pod)

    play(scenario)


def test_a_second_attempt_stands_before_the_first(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.running("exit 1", {EXIT_CODE: "1"})
        await made.ended()
        again = await bench.container(made.sandbox, made.config, attempt=1)
        names = [(c.id, c.attempt) for c in (await made.pod()).containers]
        assert names == [(again, 1), (made.container, 0)]

    play(scenario)


def test_an_image_that_does_not_exist(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        name = "does-not-exist/x:1" if bench.hollow else "registry.test/none:1"
        assert await bench.runtime.image(name) is None
        with pytest.raises(RuntimeRefusedError, match=r"^rpc error: code = "):
            await bench.runtime.pull_image(name)

    play(scenario)


def test_images_are_listed_and_removed(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        image_id = await bench.image()
        image = await bench.runtime.image(BUSYBOX)
        assert image is not None
        assert BUSYBOX in image.tags
        assert image.size_bytes > 0
        assert image_id in [i.id for i in await bench.runtime.list_images()]
        if bench.hollow:
            await bench.runtime.remove_image(image_id)
            assert await bench.runtime.image(BUSYBOX) is None

    play(scenario)


def test_a_command_runs_in_a_container_that_runs(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.running()
        assert (await bench.runtime.exec_sync(made.container, ["true"], 60)).exit_code == 0
        if not bench.hollow:
            result = await bench.runtime.exec_sync(
                made.container, ["sh", "-c", "echo out; echo err >&2; exit 3"], 60
            )
            assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
            with pytest.raises(RuntimeRefusedError) as caught:
                await bench.runtime.exec_sync(made.container, ["sleep", "300"], 1)
            assert caught.value.code == "DeadlineExceeded"

    play(scenario)


def test_running_containers_have_stats(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.running()
        (entry,) = [s for s in await bench.runtime.stats() if s.id == made.container]
        assert (entry.name, entry.pod) == ("c", made.config.pod)

    play(scenario)


def test_a_running_container_takes_other_resources(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.running()
        wanted = Resources(cpu_shares=512, cpu_quota_us=50_000, memory_limit_bytes=64 << 20)
        await bench.runtime.update_resources(made.container, wanted)
        assert (await made.record()).state is ContainerState.RUNNING
        with pytest.raises(RuntimeRefusedError) as caught:
            await bench.runtime.update_resources("0" * 64, wanted)
        assert caught.value.code == "NotFound"

    play(scenario)
