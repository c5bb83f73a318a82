"""Stock kubectl, two builds five years apart in habits, against the whole API server in one loop.

1.27 reads OpenAPI v2 as protobuf and sends JSON; 1.33 reads v3 and sends protobuf bodies. Where
neither is installed, Debian's 1.20 is tried.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from apiserver_pki import TestPki
from apiserver_world import Running, running_apiserver

pytestmark = pytest.mark.integration


def builds() -> list[str]:
    """Return the kubectl builds of this machine: beside the dispatcher, or the only one."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    beside = Path(found).resolve().parent
    chosen = [beside / name for name in ("kubectl.1.27", "kubectl.1.33")]
    return [str(path) for path in chosen if path.exists()] or [found]


BUILDS = builds()
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: nginx
        image: nginx
        ports: [{containerPort: 80}]
"""


@dataclass
class Kubectl:
    """Runs one build against one server."""

    build: str
    running: Running
    home: Path

    def _command(self, *arguments: str) -> list[str]:
        admin = self.running.admin
        flags = {
            "--server": self.running.url,
            "--certificate-authority": str(admin.ca),
            "--client-certificate": str(admin.cert),
            "--client-key": str(admin.key),
            "--cache-dir": str(self.home / "cache"),
        }
        return [self.build, *(f"{k}={v}" for k, v in flags.items()), *arguments]

    async def run(self, *arguments: str, stdin: str = "", code: int = 0, out: bool = False) -> str:
        """Return the output (stderr if it fails, unless `out`); the exit code must be `code`."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )
        try:
            async with asyncio.timeout(30):
                written, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == code, (arguments, written, err)
        return (written if out or code == 0 else err).decode()

    async def json(self, *arguments: str) -> Any:
        """Return the output as JSON."""
        return json.loads(await self.run(*arguments, "-o", "json"))


@asynccontextmanager
async def kubectl(build: str, directory: Path) -> AsyncIterator[Kubectl]:
    async with running_apiserver(TestPki(directory)) as running:
        one = Kubectl(build, running, directory)
        await one.run("create", "namespace", "default")
        yield one


def in_world(build: str, directory: Path, story: Callable[[Kubectl], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(100), kubectl(build, directory) as one:
            await story(one)

    uvloop.run(main())


every_build = pytest.mark.parametrize("build", BUILDS, ids=lambda b: Path(b).name)


@every_build
def test_a_deployment_is_made_changed_and_deleted(build: str, tmp_path: Path) -> None:
    async def story(k: Kubectl) -> None:
        manifest = tmp_path / "web.yaml"
        manifest.write_text(MANIFEST)
        file = ("-f", str(manifest))
        assert "deployment.apps/web created" in await k.run("create", *file)
        assert "configured" in await k.run("apply", *file)
        assert "unchanged" in await k.run("apply", *file)
        assert "scaled" in await k.run("scale", "deployment", "web", "--replicas=4")
        assert (await k.json("get", "deployment", "web"))["spec"]["replicas"] == 4
        await k.run("patch", "deployment", "web", "-p", '{"spec":{"paused":true}}')
        await k.run("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"paused":null}}')
        operations = '[{"op":"replace","path":"/spec/replicas","value":3}]'
        await k.run("patch", "deployment", "web", "--type=json", "-p", operations)
        await k.run("set", "image", "deployment/web", "nginx=nginx:2")
        await k.run("label", "deployment", "web", "tier=front")
        await k.run("annotate", "deployment", "web", "note=x")
        web = await k.json("get", "deployment", "web")
        assert web["spec"]["replicas"] == 3
        assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
        assert web["metadata"]["labels"] == {"app": "web", "tier": "front"}
        assert "nginx:2" in await k.run("diff", *file, code=1, out=True)
        table = await k.run("get", "deployments", "-o", "wide")
        assert table.split("\n")[0].split()[:4] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE"]
        assert "nginx:2" in table
        assert "web" in await k.run("describe", "deployment", "web")
        assert '"web" deleted' in await k.run("delete", *file)
        assert "NotFound" in await k.run("get", "deployment", "web", code=1)

    in_world(build, tmp_path, story)


@every_build
def test_objects_of_many_kinds_by_their_own_commands(build: str, tmp_path: Path) -> None:
    async def story(k: Kubectl) -> None:
        await k.run("run", "p", "--image=nginx", "--port=80", "--labels=app=p")
        await k.run("expose", "pod", "p", "--port=80", "--type=NodePort")
        await k.run("create", "configmap", "c", "--from-literal=a=b")
        await k.run("create", "secret", "generic", "s", "--from-literal=a=b")
        await k.run("create", "serviceaccount", "robot")
        await k.run("create", "deployment", "d", "--image=x", "--replicas=2")
        service = await k.json("get", "service", "p")
        assert 30000 <= service["spec"]["ports"][0]["nodePort"] <= 32767
        assert (await k.json("get", "cm", "c"))["data"] == {"a": "b"}
        assert (await k.json("get", "secret", "s"))["data"] == {"a": "Yg=="}
        names = await k.run("get", "all", "-o", "name")
        assert {"pod/p", "service/p", "deployment.apps/d"} <= set(names.split())
        assert "p" in await k.run("get", "pods", "-l", "app=p", "--sort-by=.metadata.name")
        await k.run("delete", "pod,service", "p", "--now")
        await k.run("delete", "cm,secret", "--all")
        assert await k.run("get", "pods", "-o", "name") == ""

    in_world(build, tmp_path, story)


@every_build
def test_what_the_server_tells_about_itself(build: str, tmp_path: Path) -> None:
    async def story(k: Kubectl) -> None:
        assert "1.33" in await k.run("version")
        assert "apps/v1" in await k.run("api-versions")
        resources = await k.run("api-resources")
        assert "deployments" in resources
        assert "deploy" in resources
        assert "FIELD" in await k.run("explain", "deployment.spec.replicas")
        assert await k.run("auth", "can-i", "create", "pods") == "yes\n"
        assert await k.run("get", "--raw", "/readyz") == "ok"
        assert "no matches for kind" in await k.run(
            "create",
            "-f",
            "-",
            stdin="apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n",
            code=1,
        )

    in_world(build, tmp_path, story)


@every_build
def test_mistakes_are_told(build: str, tmp_path: Path) -> None:
    async def story(k: Kubectl) -> None:
        wrong_type = MANIFEST.replace("replicas: 2", "replicas: two")
        assert "replicas" in await k.run("create", "-f", "-", stdin=wrong_type, code=1)
        forced = ("create", "--validate=false", "-f", "-")
        assert "replicas" in await k.run(*forced, stdin=wrong_type, code=1)
        misspelt = MANIFEST.replace("replicas: 2", "replica: 2")
        assert 'unknown field "spec.replica"' in await k.run(
            "create", "-f", "-", stdin=misspelt, code=1
        )
        dry = await k.run("create", "--dry-run=server", "-f", "-", stdin=MANIFEST)
        assert "server dry run" in dry
        assert "NotFound" in await k.run("get", "deployment", "web", code=1)
        stale = await k.json("create", "cm", "c")
        await k.run("label", "cm", "c", "a=b")
        conflict = await k.run("replace", "-f", "-", stdin=json.dumps(stale), code=1)
        assert "the object has been modified" in conflict

    in_world(build, tmp_path, story)


@every_build
def test_watch_and_wait(build: str, tmp_path: Path) -> None:
    async def story(k: Kubectl) -> None:
        watching = await asyncio.create_subprocess_exec(
            *k._command("get", "pods", "-w"), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert watching.stdout is not None
            await k.run("run", "p", "--image=x")
            async with asyncio.timeout(10):
                header = await watching.stdout.readline()
                row = await watching.stdout.readline()
            assert header.split()[:2] == [b"NAME", b"READY"]
            assert row.split()[:3] == [b"p", b"0/1", b"Pending"]
            await k.run("wait", "--for=jsonpath={.status.phase}=Pending", "pod/p", "--timeout=9s")
            await k.run("delete", "pod", "p", "--grace-period=0", "--force")
        finally:
            watching.kill()
            await watching.wait()

    in_world(build, tmp_path, story)
