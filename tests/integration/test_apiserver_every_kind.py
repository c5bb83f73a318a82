"""Every kind by stock kubectl, the oldest and the newest: created, shown, described, explained, deleted."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from apiserver_pki import TestPki
from apiserver_world import Running, running_apiserver
from every_kind import row_of, samples
from kubectl_session import label, program
from kubectl_transcript import Version

pytestmark = pytest.mark.integration

EXPECTED = Path(__file__).parent.parent / "support" / "api_resources.txt"
EXPLAINED_AT_ONCE = 2
BY_DEAD_VERSIONS = {
    (1, 20): {"CronJob", "PodDisruptionBudget", "EndpointSlice"},
    (1, 33): {"VolumeAttributesClass"},
}
"""What a build describes by a beta version that upstream 1.36 does not serve either."""
_SPACES = re.compile(r" +")
Run = Callable[..., Awaitable[str]]


def runner(kubectl: Path, running: Running, home: Path) -> Run:
    """Return a function that runs kubectl and returns what it printed; it must succeed."""
    admin = running.admin
    flags = (
        f"--server={running.url}",
        f"--certificate-authority={admin.ca}",
        f"--client-certificate={admin.cert}",
        f"--client-key={admin.key}",
        f"--cache-dir={home / 'cache'}",
    )

    async def run(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(kubectl),
            *flags,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        )
        try:
            async with asyncio.timeout(120):
                written, problem = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, (arguments, written.decode(), problem.decode())
        return written.decode()

    return run


def expected_resources() -> list[list[str]]:
    return [_SPACES.split(line.strip()) for line in EXPECTED.read_text().splitlines()]


def write(path: Path, objects: list[dict[str, Any]]) -> str:
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return str(path)


async def story(run: Run, build: Version, objects: list[dict[str, Any]], home: Path) -> None:
    everything = write(home / "everything.json", objects)
    known = [each for each in objects if each["kind"] not in BY_DEAD_VERSIONS[build]]
    listed = (await run("api-resources", "--no-headers")).splitlines()
    assert [_SPACES.split(line.strip()) for line in listed] == expected_resources()

    assert (await run("create", "-f", everything)).count(" created") == len(objects)
    wide = await run("get", "-f", everything, "-o", "wide")
    for sample in objects:
        assert sample["metadata"]["name"] in wide
    shown = await run("get", "-f", everything, "-o", "yaml")
    for sample in objects:
        assert f"kind: {sample['kind']}\n" in shown
    described = await run("describe", "-f", write(home / "known.json", known))
    assert len(re.findall(r"^Name: ", described, re.MULTILINE)) >= len(known)
    assert "Healthy" in await run("get", "componentstatuses")
    await run("get", "all,horizontalpodautoscalers.v1.autoscaling,events.v1.events.k8s.io")

    limit = asyncio.Semaphore(EXPLAINED_AT_ONCE)

    async def explain(sample: dict[str, Any]) -> None:
        kind = row_of(sample).kind
        async with limit:
            text = await run("explain", kind.plural, f"--api-version={kind.api_version}")
        assert re.search(rf"KIND: +{kind.kind}\n", text), text
        assert "FIELDS:" in text

    async with asyncio.TaskGroup() as tasks:
        for sample in objects:
            tasks.create_task(explain(sample))
    deleted = await run("delete", "-f", everything, "--wait=false")
    assert deleted.count(" deleted") == len(objects)


@pytest.mark.parametrize("build", [(1, 20), (1, 33)], ids=label)
def test_every_kind_by_kubectl(build: Version, tmp_path: Path) -> None:
    kubectl = program(build)

    async def main() -> None:
        async with asyncio.timeout(600), running_apiserver(TestPki(tmp_path)) as running:
            run = runner(kubectl, running, tmp_path)
            await run("create", "namespace", "default")
            await story(run, build, samples(), tmp_path)

    uvloop.run(main())
