"""Volumes and checkpoint on disk; the HTTP reader; the status writer."""

import asyncio
import stat
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import virtual_loop
from agent_objects import REF, pod

from wherry.agent.checkpoint import DiskCheckpoint
from wherry.agent.http1 import NotHttpError, parse_request
from wherry.agent.projection import MountError, VolumeFile
from wherry.agent.server import log_options
from wherry.agent.status_writer import StatusWriter
from wherry.agent.streaming import rewritten_head
from wherry.agent.views import ConfigMap, Secret
from wherry.agent.volumes import Volumes
from wherry.api.errors import BadRequestError, UnavailableError
from wherry.api.kinds import POD
from wherry.api.objects import ObjectMeta
from wherry.client.fake import FakeApi


class FakeMounter:
    """Remembers what would be mounted."""

    def __init__(self) -> None:
        self.mounted: dict[Path, int] = {}

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.mounted[path] = size_bytes

    def unmount(self, path: Path) -> None:
        self.mounted.pop(path, None)


def volumes(root: Path) -> Volumes:
    return Volumes(root, FakeMounter())


def shown(path: Path) -> dict[str, bytes]:
    """What a container sees in a volume."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in path.rglob("*")
        if p.is_file() and not str(p.relative_to(path)).startswith("..")
    } | {p.name: p.read_bytes() for p in path.iterdir() if p.is_file() and p.name[:2] != ".."}


def write(of: Volumes, *files: tuple[str, str]) -> Path:
    made = pod({"volumes": [{"name": "v", "configMap": {"name": "m"}}]})
    volume = made.spec.volumes[0]
    of.setup(made, volume, [VolumeFile(name, text.encode(), 0o640) for name, text in files])
    return of.path(made, volume)


def test_a_version_is_swapped_whole(tmp_path: Path) -> None:
    of = volumes(tmp_path)
    path = write(of, ("a", "1"), ("b", "2"))
    assert shown(path) == {"a": b"1", "b": b"2"}
    assert stat.S_IMODE((path / "a").stat().st_mode) == 0o640
    first = (path / "..data").readlink()
    write(of, ("a", "1"), ("b", "2"))
    assert (path / "..data").readlink() == first, "nothing changed, so nothing is written"
    write(of, ("a", "new"), ("c", "3"))
    assert shown(path) == {"a": b"new", "c": b"3"}
    versions = [p for p in path.iterdir() if p.is_dir() and not p.is_symlink()]
    assert len(versions) == 1


def test_what_a_killed_agent_left_half_written_is_mended(tmp_path: Path) -> None:
    of = volumes(tmp_path)
    path = write(of, ("a", "1"))
    version = path / (path / "..data").readlink()
    (version / "a").write_text("torn")
    (path / "..data_tmp").symlink_to("nowhere")
    assert shown(write(of, ("a", "1"))) == {"a": b"1"}


def test_files_in_directories(tmp_path: Path) -> None:
    path = write(volumes(tmp_path), ("x/y/z", "1"))
    assert (path / "x/y/z").read_text() == "1"


def test_sub_paths_stay_inside(tmp_path: Path) -> None:
    mounts = [{"name": "v", "mountPath": "/m"}]
    made = pod(
        {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "image": "i", "volumeMounts": mounts}],
        }
    )
    of, container = volumes(tmp_path), made.spec.containers[0]
    of.setup(made, made.spec.volumes[0], None)
    base = of.path(made, made.spec.volumes[0])
    (base / "link").symlink_to("/etc")
    first, *rest = of.mounts(made, container, 0, ["deep/dir"])
    assert first.host_path == str(base / "deep/dir")
    assert Path(first.host_path).is_dir()
    assert [m.container_path for m in rest] == ["/etc/hosts", "/dev/termination-log"]
    for bad in ("../x", "/etc", "link/passwd", "a/../../x"):
        with pytest.raises(MountError):
            of.mounts(made, container, 0, [bad])


@pytest.mark.parametrize(
    ("kind", "works"),
    [
        ("", True),
        ("Directory", False),
        ("DirectoryOrCreate", True),
        ("File", False),
        ("FileOrCreate", True),
        ("Socket", False),
        ("BlockDevice", False),
    ],
)
def test_host_path_types(tmp_path: Path, kind: str, works: bool) -> None:
    made = pod(
        {"volumes": [{"name": "v", "hostPath": {"path": str(tmp_path / "x"), "type": kind}}]}
    )
    if works:
        volumes(tmp_path).setup(made, made.spec.volumes[0], None)
        return
    with pytest.raises(MountError, match="hostPath type check failed"):
        volumes(tmp_path).setup(made, made.spec.volumes[0], None)


def test_memory_is_mounted_and_all_is_removed(tmp_path: Path) -> None:
    mounter = FakeMounter()
    of = Volumes(tmp_path, mounter)
    source = {"medium": "Memory", "sizeLimit": "1Mi"}
    made = pod(
        {
            "volumes": [
                {"name": "v", "emptyDir": source},
                {"name": "s", "secret": {"secretName": "x"}},
            ]
        }
    )
    of.setup(made, made.spec.volumes[0], None)
    of.setup(made, made.spec.volumes[1], [VolumeFile("k", b"v", 0o400)])
    assert sorted(mounter.mounted.values()) == [0, 1 << 20]
    assert of.pods() == ["u"]
    of.remove("u")
    of.remove("u")
    assert mounter.mounted == {}
    assert of.pods() == []


def test_an_unknown_source_is_named(tmp_path: Path) -> None:
    made = pod({"volumes": [{"name": "v", "nfs": {"server": "x"}}]})
    with pytest.raises(MountError, match='volume "v" has no source that this node knows'):
        volumes(tmp_path).setup(made, made.spec.volumes[0], None)


def test_the_checkpoint_gives_back_what_it_took(tmp_path: Path) -> None:
    async def main() -> None:
        checkpoint = DiskCheckpoint(tmp_path, FakeMounter())
        made = pod({"volumes": [{"name": "v", "configMap": {"name": "m"}}]})
        await checkpoint.save_pod(made)
        config_map = ConfigMap(metadata=ObjectMeta(name="m", namespace="ns"), data={"a": "1"})
        secret = Secret(metadata=ObjectMeta(name="s", namespace="ns"), data={"k": "aw=="})
        await checkpoint.save_object(config_map)
        await checkpoint.save_object(secret)
        (tmp_path / "checkpoints/pods/torn.json").write_bytes(b'{"metadata')
        fresh = DiskCheckpoint(tmp_path, FakeMounter())
        assert await fresh.load_pods() == {"u": made}
        assert await fresh.load_config_map("ns", "m") == config_map
        assert await fresh.load_secret("ns", "s") == secret
        assert await fresh.load_secret("ns", "none") is None
        await fresh.forget_pod("u")
        await fresh.forget_pod("u")
        await fresh.forget_object(Secret, "ns/s")
        assert await fresh.load_pods() == {}
        assert await fresh.load_secret("ns", "s") is None

    asyncio.run(main())
    mode = stat.S_IMODE((tmp_path / "checkpoints/configmaps/ns_m.json").stat().st_mode)
    assert mode == 0o600


@pytest.mark.parametrize(
    "head",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad : x\r\n\r\n",
        b"\r\n\r\n",
        b"GET a b HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(NotHttpError):
        parse_request(head)


def request(target: str, method: str = "GET", headers: str = "") -> Any:
    return parse_request(f"{method} {target} HTTP/1.1\r\nHost: n\r\n{headers}\r\n".encode())


def test_a_request_is_read() -> None:
    got = request("/exec/ns/p/c?command=sh&command=-c%20x&input=1&tty=true&e=")
    assert (got.method, got.path) == ("GET", "/exec/ns/p/c")
    assert got.texts("command") == ["sh", "-c x"]
    assert got.flag("input", "stdin")
    assert got.flag("tty")
    assert not got.flag("e")
    assert got.headers == {"host": "n"}


def test_log_options_are_read() -> None:
    got = log_options(request("/x?follow=true&tailLines=5&sinceSeconds=10&limitBytes=7"), 100.0)
    assert (got.follow, got.tail_lines, got.since, got.limit_bytes) == (True, 5, 90.0, 7)
    assert log_options(request("/x?sinceTime=1970-01-01T00:00:09Z"), 100.0).since == 9.0
    with pytest.raises(BadRequestError):
        log_options(request("/x?sinceTime=yesterday"), 100.0)


def test_an_upgrade_is_passed_on_with_another_path_and_without_credentials() -> None:
    headers = (
        "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nAuthorization: Bearer x\r\n"
        "X-Stream-Protocol-Version: v4\r\nX-Stream-Protocol-Version: v3\r\nContent-Length: 0\r\n"
    )
    head = rewritten_head(request("/exec/a/b/c", "POST", headers), "http://127.0.0.1:9/exec/tok")
    assert head.decode().split("\r\n") == [
        "POST /exec/tok HTTP/1.1",
        "Host: 127.0.0.1:9",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        "X-Stream-Protocol-Version: v4",
        "X-Stream-Protocol-Version: v3",
        "Content-Length: 0",
        "",
        "",
    ]


class FlakyApi(FakeApi):
    """Fails some patches."""

    failing = 0

    async def patch(self, *args: Any, **options: Any) -> bytes:
        if self.failing:
            self.failing -= 1
            raise UnavailableError("nobody")
        return await super().patch(*args, **options)


def test_statuses_are_gathered_retried_and_followed_by_the_deletion() -> None:
    async def main() -> None:
        api = FlakyApi(virtual_loop.VirtualClock())
        body = {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}
        raw = orjson.loads(await api.create(POD, orjson.dumps(body), "ns"))
        ref = type(REF)("ns", "p", raw["metadata"]["uid"])
        writer = StatusWriter(api, Random(1), gather_s=0.1)
        task = asyncio.get_running_loop().create_task(writer.run())

        def put(phase: str, **more: Any) -> None:
            writer.set(ref, {"phase": phase}, conflicted=lambda: None, **more)

        put("Pending")
        put("Running")
        await asyncio.sleep(1)
        put("Running")
        await asyncio.sleep(1)
        assert [c for c in api.calls if c[0] == "patch"] == [("patch", "Pod", "p")]
        api.failing = 3
        put("Succeeded", remove=True)
        await asyncio.sleep(5)
        assert api.objects(POD) == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_loop.run(main())


def test_a_stale_revision_makes_the_worker_look_again() -> None:
    async def main() -> None:
        api = FakeApi(virtual_loop.VirtualClock())
        body = {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}}
        raw = orjson.loads(await api.create(POD, orjson.dumps(body), "ns"))
        ref = type(REF)("ns", "p", raw["metadata"]["uid"])
        writer = StatusWriter(api, Random(1))
        task = asyncio.get_running_loop().create_task(writer.run())
        told: list[int] = []
        writer.set(ref, {"phase": "Running"}, revision="1", conflicted=lambda: told.append(1))
        await asyncio.sleep(1)
        assert told == [1]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_loop.run(main())
