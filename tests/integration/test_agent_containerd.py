"""The agent on a real containerd, against the fake API: pods end to end."""

import asyncio
import base64
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import virtual_loop
from agent_objects import phase, ready
from containerd_host import BUSYBOX, ContainerdHost

from wherry.agent.cri import CriRuntime
from wherry.agent.node_agent import NodeAgent, NodeConfig
from wherry.agent.node_object import NodeIdentity
from wherry.api.errors import NotFoundError, UnavailableError
from wherry.api.kinds import CONFIG_MAP, EVENT, NODE, POD, SECRET, SERVICE, Kind
from wherry.api.times import format_time
from wherry.client.fake import FakeApi
from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import Subject
from wherry.pki.tls import TlsFiles, client_context, server_context
from wherry.process.clock import SystemClock

pytestmark = [pytest.mark.containerd, pytest.mark.integration, pytest.mark.netns]

Json = dict[str, Any]
Scenario = Callable[["World"], Awaitable[None]]
WITHIN_S = 120.0
END = "this is the end of the log"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


class MortalApi(FakeApi):
    """A fake API server that can be dead, and gives ServiceAccount tokens."""

    dead = False

    async def list(self, *args: Any, **options: Any) -> Any:
        self._living()
        return await super().list(*args, **options)

    async def patch(self, *args: Any, **options: Any) -> bytes:
        self._living()
        return await super().patch(*args, **options)

    async def create(
        self, kind: Kind, body: bytes, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bytes:
        self._living()
        if subresource == "token":
            expires = format_time(self._clock.now() + 3600)
            status = {"token": f"token-of-{name}", "expirationTimestamp": expires}
            return orjson.dumps({"status": status})
        return await super().create(kind, body, namespace, name=name, subresource=subresource)

    def _living(self) -> None:
        if self.dead:
            raise UnavailableError("no API server answers")


class World:
    """One host, one API, and the agent that a test starts, kills and starts again."""

    def __init__(self, host: ContainerdHost, tmp: Path) -> None:
        self.host = host
        self.tmp = tmp
        self.clock = SystemClock()
        self.api = MortalApi(self.clock)
        # One containerd serves many tests: a uid must not come twice.
        self.api._serial = int(self.clock.now() * 1000) % (1 << 40)
        self.tls = TlsFiles(tmp / "node.crt", tmp / "node.key", tmp / "ca.crt")
        self._serial = 0
        self._task: asyncio.Task[None] | None = None
        self.agent: NodeAgent
        self._pki()

    def _pki(self) -> None:
        ca = create_ca("ca", now_s=self.clock.now())
        (self.tmp / "ca.crt").write_bytes(ca.certificate)
        subjects = {
            "node": Subject("system:node:n1", ("system:nodes",), ("127.0.0.1",), server=True),
            "apiserver": Subject("system:apiserver", ("system:masters",)),
            "stranger": Subject("system:node:n2", ("system:nodes",)),
        }
        for name, subject in subjects.items():
            pair = issue(ca, subject, now_s=self.clock.now())
            (self.tmp / f"{name}.crt").write_bytes(pair.certificate)
            (self.tmp / f"{name}.key").write_bytes(pair.key)

    def client(self, name: str) -> ssl.SSLContext:
        return client_context(
            TlsFiles(self.tmp / f"{name}.crt", self.tmp / f"{name}.key", self.tmp / "ca.crt")
        )

    async def start(self) -> None:
        config = NodeConfig(
            identity=NodeIdentity("n1", "10.88.0.1", port=0),
            root=self.host.directory / "agent",
            log_root=self.host.directory / "logs",
            cgroup_root=self.host.cgroup_root,
            host="127.0.0.1",
            tls=server_context(self.tls),
        )
        started = asyncio.Event()

        async def run() -> None:
            async with CriRuntime(self.host.endpoint) as runtime:
                self.agent = NodeAgent(config, self.api, runtime, self.clock, Random(1))
                started.set()
                await self.agent.run()

        self._task = asyncio.create_task(run())
        await started.wait()
        assert self.agent.server is not None
        async with asyncio.timeout(60):
            await self.agent.server.listening.wait()

    async def kill(self) -> None:
        """Kill the agent between two awaits, as well as one process can."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def put(self, kind: Kind, name: str, **fields: Any) -> None:
        body = orjson.dumps({"metadata": {"name": name}, **fields})
        await self.api.create(kind, body, "default")

    async def run(self, script: str = FOREVER, *, name: str = "", **spec: Any) -> str:
        """Make a pod of one container that runs a shell script; return its name."""
        self._serial += 1
        name = name or f"p{self._serial}"
        extra = spec.pop("container", {})
        command = ["sh", "-c", script]
        container = {"name": "c", "image": BUSYBOX, "command": command, **extra}
        spec = {
            "nodeName": "n1",
            "containers": [container],
            "terminationGracePeriodSeconds": 2,
            **spec,
        }
        meta = {"name": name, "labels": {"app": name}}
        await self.api.create(POD, orjson.dumps({"metadata": meta, "spec": spec}), "default")
        return name

    async def pod(self, name: str) -> Json:
        found: Json = orjson.loads(await self.api.get(POD, name, "default"))
        return found

    async def until(self, name: str, holds: Callable[[Json], bool]) -> Json:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN_S
        while True:
            pod = await self.pod(name)
            if holds(pod):
                return pod
            assert loop.time() < deadline, orjson.dumps(pod.get("status")).decode()
            await asyncio.sleep(0.05)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    await self.pod(name)
                except NotFoundError:
                    return
                await asyncio.sleep(0.05)

    async def ask(self, target: str, *, user: str = "apiserver") -> tuple[int, str]:
        """GET from the agent's server."""
        status, body = await self.raw(f"GET {target} HTTP/1.1\r\nHost: n1\r\n\r\n", user=user)
        return status, body.decode(errors="replace")

    async def raw(self, request: str, *, user: str = "apiserver") -> tuple[int, bytes]:
        assert self.agent.server is not None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.agent.server.port, ssl=self.client(user)
        )
        head, _, rest = request.partition("\r\n\r\n")
        extra = "" if "Upgrade" in head else "\r\nConnection: close"
        writer.write(f"{head}{extra}\r\n\r\n{rest}".encode("latin-1"))
        async with asyncio.timeout(90):
            answer = await reader.read()
        writer.close()
        top, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" in top:
            body = _unchunk(body)
        return int(top.split()[1]), body

    async def log(self, name: str, query: str = "") -> str:
        status, text = await self.ask(f"/containerLogs/default/{name}/c?{query}")
        assert status == 200, text
        return text

    async def says(self, name: str, holds: Callable[[str], bool], query: str = "") -> str:
        """Wait until the log is so, and return it: who is ready may not have said a word yet."""
        async with asyncio.timeout(WITHIN_S):
            while not holds(said := await self.log(name, query)):
                await asyncio.sleep(0.05)
        return said

    def reasons(self, name: str) -> list[str]:
        events = self.api.objects(EVENT)
        return [e["reason"] for e in events if e["involvedObject"]["name"] == name]


def _unchunk(body: bytes) -> bytes:
    result = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        result, body = result + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return result


@pytest.fixture(scope="module")
def host() -> Iterator[ContainerdHost]:
    with ContainerdHost() as made:
        made.start()
        yield made


@pytest.fixture
def play(host: ContainerdHost, tmp_path: Path) -> Callable[[Scenario], None]:
    def play_it(scenario: Scenario) -> None:
        async def main() -> None:
            world = World(host, tmp_path)
            await world.start()
            try:
                await scenario(world)
                for pod in world.api.objects(POD):
                    await world.api.delete(POD, pod["metadata"]["name"], "default", grace_s=1)
                await settled(lambda: not (world.api.objects(POD) or world.agent.agent._workers))
            finally:
                await world.kill()

        with host.entered():
            asyncio.run(main())

    return play_it


Play = Callable[[Scenario], None]


async def settled(holds: Callable[[], bool]) -> None:
    await virtual_loop.until(holds, within_s=WITHIN_S, step_s=0.05)


def container(pod: Json) -> Json:
    statuses = pod.get("status", {}).get("containerStatuses") or [{"state": {}, "lastState": {}}]
    first: Json = statuses[0]
    return first


def waiting(pod: Json) -> str:
    return str(container(pod)["state"].get("waiting", {}).get("reason", ""))


def test_a_pod_runs_logs_and_goes(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run(f"echo hello; echo there; {FOREVER}")
        pod = await world.until(name, ready)
        status = pod["status"]
        assert phase(pod) == "Running"
        assert status["podIP"].startswith("10.88.0.")
        assert status["hostIP"] == "10.88.0.1"
        assert status["qosClass"] == "BestEffort"
        assert container(pod)["containerID"].startswith("containerd://")
        assert container(pod)["imageID"].startswith("sha256:")
        await world.says(name, lambda log: log == "hello\nthere\n")
        assert await world.log(name, "tailLines=1") == "there\n"
        assert await world.log(name, "limitBytes=3") == "hel"
        assert (await world.log(name, "timestamps=true")).startswith("20")
        uid = pod["metadata"]["uid"]
        await world.api.delete(POD, name, "default", grace_s=5)
        await world.gone(name)
        told = {"Pulled", "Created", "Started", "Killing"}
        await settled(lambda: told <= set(world.reasons(name)))
        directory = world.host.directory
        await settled(lambda: not (directory / "agent/pods" / uid).exists())
        await settled(lambda: not list((directory / "logs").glob(f"*{uid}")))

    play(scenario)


def test_the_node_is_ready(play: Play) -> None:
    async def scenario(world: World) -> None:
        await settled(lambda: bool(world.api.objects(NODE)))
        (node,) = world.api.objects(NODE)
        conditions = {c["type"]: c for c in node["status"]["conditions"]}
        assert conditions["Ready"]["status"] == "True", conditions["Ready"]
        info = node["status"]["nodeInfo"]
        assert info["containerRuntimeVersion"].startswith("containerd://1.")
        assert int(node["status"]["capacity"]["cpu"]) == os.cpu_count()

    play(scenario)


def test_crashes_are_restarted_with_back_off_and_previous_logs(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run("echo I am here; exit 3")
        pod = await world.until(name, lambda p: waiting(p) == "CrashLoopBackOff")
        assert container(pod)["restartCount"] == 1
        assert container(pod)["lastState"]["terminated"]["exitCode"] == 3
        assert "back-off 10s restarting failed container=c" in str(container(pod)["state"])
        await world.says(name, lambda log: log == "I am here\n", "previous=true")
        await world.until(name, lambda p: container(p).get("restartCount") == 2)
        await settled(lambda: "BackOff" in world.reasons(name))

    play(scenario)


def test_ends_failures_and_last_words(play: Play) -> None:
    async def scenario(world: World) -> None:
        good = await world.run("echo done > /dev/termination-log", restartPolicy="Never")
        bad = await world.run("exit 4", restartPolicy="Never")
        wrong = await world.run(container={"command": ["/no/such"]}, restartPolicy="Never")
        never = await world.run(container={"image": "x/y:1", "imagePullPolicy": "Never"})
        absent = await world.run(container={"image": "registry.test/none:1"})
        pod = await world.until(good, lambda p: phase(p) == "Succeeded")
        assert container(pod)["state"]["terminated"]["message"] == "done\n"
        pod = await world.until(bad, lambda p: phase(p) == "Failed")
        assert container(pod)["state"]["terminated"]["exitCode"] == 4
        pod = await world.until(wrong, lambda p: phase(p) == "Failed")
        assert container(pod)["state"]["terminated"]["reason"] == "StartError"
        await world.until(never, lambda p: waiting(p) == "ErrImageNeverPull")
        await world.until(absent, lambda p: waiting(p) == "ErrImagePull")
        await world.until(absent, lambda p: waiting(p) == "ImagePullBackOff")

    play(scenario)


def test_init_containers_go_first_and_in_order(play: Play) -> None:
    async def scenario(world: World) -> None:
        mount = [{"name": "v", "mountPath": "/v"}]

        def init(name: str) -> Json:
            command = ["sh", "-c", f"echo {name} >> /v/log"]
            return {"name": name, "image": BUSYBOX, "command": command, "volumeMounts": mount}

        name = await world.run(
            f"cat /v/log; {FOREVER}",
            container={"volumeMounts": mount},
            initContainers=[init("one"), init("two")],
            volumes=[{"name": "v", "emptyDir": {}}],
        )
        pod = await world.until(name, ready)
        await world.says(name, lambda log: log == "one\ntwo\n")
        assert [s["ready"] for s in pod["status"]["initContainerStatuses"]] == [True, True]

    play(scenario)


def test_environment(play: Play) -> None:
    async def scenario(world: World) -> None:
        secret = base64.b64encode(b"s3cret").decode()
        await world.put(CONFIG_MAP, "cm", data={"k": "from-map", "OTHER": "o"})
        await world.put(SECRET, "sec", data={"pw": secret})
        ports = [{"port": 80, "name": "http"}]
        await world.put(SERVICE, "my-svc", spec={"clusterIP": "10.96.0.7", "ports": ports})

        def source(**fields: Any) -> Json:
            return {"valueFrom": fields}

        env = [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(NONE)-$$(A)"},
            {"name": "C", **source(configMapKeyRef={"name": "cm", "key": "k"})},
            {"name": "D", **source(secretKeyRef={"name": "sec", "key": "pw"})},
            {"name": "E", **source(fieldRef={"fieldPath": "status.podIP"})},
            {"name": "F", **source(resourceFieldRef={"resource": "limits.memory"})},
            {"name": "G", **source(secretKeyRef={"name": "no", "key": "x", "optional": True})},
        ]
        name = await world.run(
            f"env; echo {END}; {FOREVER}",
            container={
                "env": env,
                "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}],
                "resources": {"limits": {"memory": "64Mi"}},
            },
        )
        pod = await world.until(name, ready)
        lines = set((await world.says(name, lambda log: END in log)).splitlines())
        assert {
            "A=1",
            "B=1-$(NONE)-$(A)",
            "C=from-map",
            "D=s3cret",
            f"E={pod['status']['podIP']}",
            f"F={64 << 20}",
            "P_OTHER=o",
            "MY_SVC_SERVICE_HOST=10.96.0.7",
            "MY_SVC_SERVICE_PORT_HTTP=80",
            "FROM_IMAGE=yes",
            f"HOSTNAME={name}",
        } <= lines

    play(scenario)


def test_a_missing_config_map_is_waited_for(play: Play) -> None:
    async def scenario(world: World) -> None:
        ref = {"configMapKeyRef": {"name": "late", "key": "k"}}
        name = await world.run(container={"env": [{"name": "X", "valueFrom": ref}]})
        pod = await world.until(name, lambda p: waiting(p) == "CreateContainerConfigError")
        assert container(pod)["state"]["waiting"]["message"] == 'configmap "late" not found'
        await world.put(CONFIG_MAP, "late", data={"k": "v"})
        await world.until(name, ready)

    play(scenario)


def test_volumes(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.put(CONFIG_MAP, "files", data={"a": "1", "b": "2"})
        await world.put(CONFIG_MAP, "kube-root-ca.crt", data={"ca.crt": "CA"})
        await world.put(SECRET, "keys", data={"key": base64.b64encode(b"K").decode()})
        (world.host.directory / "shared").mkdir(exist_ok=True)
        volumes = [
            {"name": "cm", "configMap": {"name": "files"}},
            {
                "name": "sec",
                "secret": {
                    "secretName": "keys",
                    "items": [{"key": "key", "path": "d/k", "mode": 256}],
                },
            },
            {"name": "mem", "emptyDir": {"medium": "Memory"}},
            {"name": "host", "hostPath": {"path": str(world.host.directory / "shared")}},
            {
                "name": "token",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "kube-root-ca.crt"}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "namespace",
                                        "fieldRef": {"fieldPath": "metadata.namespace"},
                                    }
                                ]
                            }
                        },
                    ]
                },
            },
        ]
        paths = {"cm": "/cm", "sec": "/sec", "mem": "/mem", "host": "/host", "token": "/var/sa"}
        mounts: list[Json] = [{"name": n, "mountPath": p} for n, p in paths.items()]
        mounts.append({"name": "cm", "mountPath": "/one-b", "subPath": "b"})
        script = (
            "cat /cm/a /cm/b /one-b /sec/d/k; echo; stat -c %a /sec/d/k; cat /var/sa/token; echo;"
            "cat /var/sa/ca.crt /var/sa/namespace; echo; grep ' /mem ' /proc/mounts;"
            f"echo here > /host/f; echo {END}; {FOREVER}"
        )
        name = await world.run(script, container={"volumeMounts": mounts}, volumes=volumes)
        await world.until(name, ready)
        said = await world.says(name, lambda log: END in log)
        first, mode, token, names, mem, _ = said.splitlines()
        assert (first, mode, token, names) == ("122K", "400", "token-of-default", "CAdefault")
        assert mem.split()[2] == "tmpfs"
        assert (world.host.directory / "shared/f").read_text() == "here\n"
        await world.api.patch(CONFIG_MAP, "files", b'{"data":{"a":"new"}}', "default")
        uid = (await world.pod(name))["metadata"]["uid"]
        volume = world.host.directory / f"agent/pods/{uid}/volumes/kubernetes.io~configmap/cm"
        await settled(lambda: (volume / "a").read_text() == "new")

    play(scenario)


def test_limits_security_and_dns(play: Play) -> None:
    async def scenario(world: World) -> None:
        script = (
            "id -u; cat /proc/self/status; "
            "touch /x 2>&1; cat /etc/resolv.conf /etc/hosts; hostname; "
            f"cat /proc/self/cgroup; echo {END}; {FOREVER}"
        )
        name = await world.run(
            script,
            hostname="web",
            subdomain="sub",
            hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias"]}],
            container={
                "resources": {"limits": {"cpu": "200m", "memory": "32Mi"}},
                "securityContext": {
                    "runAsUser": 1000,
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            },
        )
        pod = await world.until(name, ready)
        assert pod["status"]["qosClass"] == "Guaranteed"
        text = await world.says(name, lambda log: END in log)
        assert text.startswith("1000\n")
        for expected in (
            "Seccomp:\t2",
            "NoNewPrivs:\t1",
            "CapEff:\t0000000000000000",
            "touch: /x: Read-only file system",
            "nameserver 10.96.0.10",
            "search default.svc.cluster.local svc.cluster.local cluster.local",
            "options ndots:5",
            f"{pod['status']['podIP']}\tweb.sub.default.svc.cluster.local\tweb",
            "1.2.3.4\talias",
            "\nweb\n",
            f"{world.host.cgroup_root}/kubepods/pod{pod['metadata']['uid']}/",
        ):
            assert expected in text, text
        uid = pod["metadata"]["uid"]
        base = Path("/sys/fs/cgroup")
        relative = f"{world.host.cgroup_root}/kubepods/pod{uid}".lstrip("/")
        if (base / "cpu").is_dir():
            assert (base / "cpu" / relative / "cpu.cfs_quota_us").read_text() == "20000\n"
            limit = (base / "memory" / relative / "memory.limit_in_bytes").read_text()
            assert int(limit) == 32 << 20

    play(scenario)


def test_running_out_of_memory_is_said(play: Play) -> None:
    async def scenario(world: World) -> None:
        limits = {"resources": {"limits": {"memory": "16Mi"}}}
        name = await world.run("tail /dev/zero", container=limits, restartPolicy="Never")
        pod = await world.until(name, lambda p: phase(p) == "Failed")
        ended = container(pod)["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")

    play(scenario)


def test_probes(play: Play) -> None:
    async def scenario(world: World) -> None:
        serve = "mkdir -p /www; httpd -h /www -p 8080; "
        live = await world.run(
            f"touch /ok; (sleep 2; rm /ok) & {FOREVER}",
            container={
                "livenessProbe": {
                    "exec": {"command": ["cat", "/ok"]},
                    "periodSeconds": 1,
                    "failureThreshold": 1,
                }
            },
        )
        shared = world.host.directory / "probes"
        shared.mkdir(exist_ok=True)
        web = await world.run(
            serve + "until [ -e /v/go ]; do sleep 0.1; done; echo yes > /www/up; " + FOREVER,
            volumes=[{"name": "v", "hostPath": {"path": str(shared)}}],
            container={
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {"path": "/up", "port": "http"},
                    "periodSeconds": 1,
                },
                "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            },
        )
        pod = await world.until(web, lambda p: phase(p) == "Running")
        assert not ready(pod)
        failed = "Readiness probe failed: HTTP probe failed with statuscode: 404"
        await settled(lambda: failed in messages(world))
        assert not ready(await world.pod(web))
        (shared / "go").touch()
        await world.until(web, ready)
        await world.until(live, lambda p: container(p).get("restartCount", 0) >= 1)
        killed = "Container c failed liveness probe, will be restarted"
        await settled(lambda: killed in messages(world))

    play(scenario)


def messages(world: World) -> list[str]:
    return [event["message"] for event in world.api.objects(EVENT)]


def test_grace_hooks_and_kill(play: Play) -> None:
    async def scenario(world: World) -> None:
        mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        shared = world.host.directory / "grace"
        shared.mkdir(exist_ok=True)
        volumes = [{"name": "v", "hostPath": {"path": str(shared)}}]

        def write(text: str) -> Json:
            return {"exec": {"command": ["sh", "-c", f"echo {text} >> /v/log"]}}

        polite = await world.run(
            "trap 'echo term >> /v/log; exit 0' TERM; while :; do sleep 0.1; done",
            container={**mount, "lifecycle": {"postStart": write("post"), "preStop": write("pre")}},
            volumes=volumes,
        )
        stubborn = await world.run("trap '' TERM; while :; do sleep 0.1; done")
        await world.until(polite, ready)
        await world.until(stubborn, ready)
        await world.api.delete(POD, polite, "default", grace_s=20)
        began = asyncio.get_running_loop().time()
        await world.gone(polite)
        assert (shared / "log").read_text().split() == ["post", "pre", "term"]
        assert asyncio.get_running_loop().time() - began < 15
        await world.api.delete(POD, stubborn, "default", grace_s=60)
        await world.until(stubborn, lambda p: "deletionTimestamp" in p["metadata"])
        await asyncio.sleep(1)  # the agent is waiting for the minute now
        patched = world.api._objects[POD]["default", stubborn]
        patched["metadata"]["deletionGracePeriodSeconds"] = 1
        await world.api._store(POD, "MODIFIED", patched)  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        await world.gone(stubborn)
        assert asyncio.get_running_loop().time() - began < 20

    play(scenario)


def test_a_killed_agent_readopts_everything(play: Play) -> None:
    async def scenario(world: World) -> None:
        stays = await world.run()
        ends = await world.run("sleep 2; exit 0", restartPolicy="Never")
        goes = await world.run()
        for name in (stays, ends, goes):
            await world.until(name, lambda p: phase(p) in ("Running", "Succeeded"))
        before = await world.until(stays, ready)
        await world.kill()
        await world.api.delete(POD, goes, "default", grace_s=0)
        await asyncio.sleep(2.5)
        await world.start()
        await world.until(ends, lambda p: phase(p) == "Succeeded")
        after = await world.pod(stays)
        assert container(after)["containerID"] == container(before)["containerID"]
        assert container(after)["restartCount"] == 0
        assert ready(after)
        agent = world.agent.agent
        await settled(lambda: not (agent.find("default", goes) or _logs_of(world, goes)))

    play(scenario)


def _logs_of(world: World, name: str) -> list[str]:
    logs = world.host.directory / "logs"
    return [p.name for p in logs.glob(f"default_{name}_*")]


def test_with_all_masters_dead_a_fresh_agent_restarts_what_crashes(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.put(CONFIG_MAP, "needed", data={"k": "kept"})
        ref = {"configMapKeyRef": {"name": "needed", "key": "k"}}
        name = await world.run(
            "echo $X; sleep 3; exit 1", container={"env": [{"name": "X", "valueFrom": ref}]}
        )
        await world.until(name, ready)
        await world.kill()
        world.api.dead = True
        await world.start()
        agent = world.agent.agent

        def attempt() -> int:
            worker = agent.find("default", name)
            running = [] if worker is None else worker.runtime.containers
            return max((c.attempt for c in running if c.started_at), default=-1)

        await settled(lambda: attempt() >= 1)
        assert (await world.log(name, "follow=true")) == "kept\n"
        world.api.dead = False
        await world.until(name, lambda p: container(p).get("restartCount", 0) >= 1)

    play(scenario)


def test_containerd_may_die_and_return(play: Play) -> None:
    async def scenario(world: World) -> None:
        stays = await world.run()
        ends = await world.run("sleep 3; exit 5", restartPolicy="Never")
        before = await world.until(stays, ready)
        await world.until(ends, lambda p: phase(p) in ("Running", "Failed"))
        world.host.kill()
        await asyncio.sleep(3)
        world.host.start()
        pod = await world.until(ends, lambda p: phase(p) == "Failed")
        assert container(pod)["state"]["terminated"]["exitCode"] == 5
        after = await world.pod(stays)
        assert container(after)["containerID"] == container(before)["containerID"]
        late = await world.run()
        await world.until(late, ready)

    play(scenario)


def test_exec_and_port_forward_are_tunnelled(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run(f"httpd -p 8080; {FOREVER}")
        await world.until(name, ready)
        key = base64.b64encode(b"0123456789abcdef").decode()
        upgrade = (
            "Host: n1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
        command = "command=sh&command=-c&command=echo%20out;exit%203"
        status, body = await world.raw(
            f"GET /exec/default/{name}/c?{command}&output=1&error=1 HTTP/1.1\r\n{upgrade}"
        )
        assert status == 101
        assert b"\x01out\n" in body
        assert b'"reason":"ExitCode","message":"3"' in body
        spdy = (
            "Host: n1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            "X-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n"
        )
        assert world.agent.server is not None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", world.agent.server.port, ssl=world.client("apiserver")
        )
        writer.write(f"POST /portForward/default/{name} HTTP/1.1\r\n{spdy}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        writer.close()
        dial = f"GET /dial/default/{name}?port={{}} HTTP/1.1\r\n{{}}Host: n1\r\n\r\n"
        tcp = "Connection: Upgrade, close\r\nUpgrade: tcp\r\n"
        status, body = await world.raw(dial.format(8080, tcp) + "GET /none HTTP/1.0\r\n\r\n")
        assert status == 101
        assert b"404 Not Found" in body
        status, body = await world.raw(dial.format(81, tcp))
        assert status == 503
        assert b":81: connect: connection refused" in body
        assert (await world.raw(dial.format(8080, "")))[0] == 400
        assert (await world.raw(dial.format("x", tcp)))[0] == 400

    play(scenario)


def test_a_running_container_gets_other_limits(play: Play) -> None:
    async def scenario(world: World) -> None:
        small = {"limits": {"cpu": "200m", "memory": "64Mi"}}
        script = (
            "while :; do cat /sys/fs/cgroup/memory.max "
            "/sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; sleep 0.2; done"
        )
        name = await world.run(script, container={"resources": small})
        pod = await world.until(name, ready)
        before = container(pod)["containerID"]
        assert container(pod)["resources"] == small
        await settled_log(world, name, str(64 << 20))
        big = {"limits": {"cpu": "300m", "memory": "96Mi"}}
        spec = {"containers": [{**pod["spec"]["containers"][0], "resources": big}]}
        await world.api.patch(POD, name, orjson.dumps({"spec": spec}), "default")
        pod = await world.until(name, lambda p: container(p).get("resources") == big)
        await settled_log(world, name, str(96 << 20))
        assert (container(pod)["containerID"], container(pod)["restartCount"]) == (before, 0)
        await settled(lambda: "Resized" in world.reasons(name))
        await world.kill()
        await world.start()
        await world.until(name, ready)
        assert world.reasons(name).count("Resized") == 1
        status, text = await world.ask("/metrics/resource")
        assert status == 200
        assert f'pod="{name}"' in text

    play(scenario)


async def settled_log(world: World, name: str, line: str) -> None:
    """Wait until the container has printed a line."""
    async with asyncio.timeout(WITHIN_S):
        while line not in (await world.log(name)).splitlines():
            await asyncio.sleep(0.1)


def test_a_container_for_debugging_sees_the_processes_of_its_target(play: Play) -> None:
    async def scenario(world: World) -> None:
        # A shell that forks would be seen twice, for the moment before its child is a program.
        name = await world.run("exec sleep 12345")
        pod = await world.until(name, ready)
        debugger = {
            "name": "d",
            "image": BUSYBOX,
            "command": ["sh", "-c", "ps | grep -v grep | grep -c 12345; exit 4"],
            "targetContainerName": "c",
        }
        patch = {"spec": {"ephemeralContainers": [debugger]}}
        await world.api.patch(POD, name, orjson.dumps(patch), "default")

        def ended(pod: Json) -> bool:
            said = pod["status"].get("ephemeralContainerStatuses", [{"state": {}}])
            return "terminated" in said[0]["state"]

        after = await world.until(name, ended)
        (said,) = after["status"]["ephemeralContainerStatuses"]
        assert (said["state"]["terminated"]["exitCode"], said["restartCount"]) == (4, 0)
        assert (phase(after), container(after)["containerID"]) == (
            "Running",
            container(pod)["containerID"],
        )
        async with asyncio.timeout(WITHIN_S):
            while await world.ask(f"/containerLogs/default/{name}/d") != (200, "1\n"):
                await asyncio.sleep(0.05)

    play(scenario)


def test_the_door_is_for_the_api_server_only(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run("echo x; sleep 1000")
        await world.until(name, ready)
        assert (await world.ask("/healthz"))[0] == 200
        assert (await world.ask("/healthz", user="stranger"))[0] == 403
        status, text = await world.ask("/pods")
        assert (status, len(orjson.loads(text)["items"])) == (200, 1)
        status, text = await world.ask("/stats/summary")
        assert orjson.loads(text)["pods"][0]["podRef"]["name"] == name
        assert (await world.ask(f"/containerLogs/default/{name}/no"))[0] == 404
        assert (await world.ask("/containerLogs/default/no/c"))[0] == 404
        assert (await world.ask(f"/containerLogs/default/{name}/c?tailLines=x"))[0] == 400
        assert (await world.ask(f"/containerLogs/default/{name}/c?previous=true"))[0] == 400
        assert (await world.ask(f"/exec/default/{name}/c?command=id"))[0] == 400
        assert (await world.ask("/etc/passwd"))[0] == 404

    play(scenario)


def test_following_a_log_ends_with_the_container(play: Play) -> None:
    async def scenario(world: World) -> None:
        name = await world.run(
            "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done", restartPolicy="Never"
        )
        await world.until(name, lambda p: phase(p) in ("Running", "Succeeded"))
        assert (await world.log(name, "follow=true")).split() == list("123456")

    play(scenario)
