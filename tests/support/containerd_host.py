"""A containerd of one's own: its directories, its network namespace, its images.

    with ContainerdHost() as host:
        host.start()
        with host.entered():      # this thread sees the pods' network
            ...

Everything that it makes is named by one random word and removed at the end.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import oci_image

BUSYBOX = "registry.test/busybox:1"
PAUSE = "registry.test/pause:1"
_CLONE_NEWNET = 0x40000000

_CONFIG = """\
version = 2
root = "{dir}/root"
state = "{dir}/state"
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.restart", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{dir}/cri.sock"
[ttrpc]
  address = "{dir}/cri.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{dir}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        Root = "{dir}/state/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{dir}/certs.d"
"""
_HOSTS = """\
server = "http://127.0.0.1:9"
[host."http://127.0.0.1:9"]
  capabilities = ["pull", "resolve"]
"""
_CNI = """\
{{"cniVersion": "0.4.0", "name": "agenttest", "plugins": [
 {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {{"type": "host-local", "dataDir": "{dir}/cni-state",
           "ranges": [[{{"subnet": "10.88.0.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
 {{"type": "portmap", "capabilities": {{"portMappings": true}}, "snat": true}}]}}
"""


class ContainerdHost:
    """See the module."""

    def __init__(self) -> None:
        self.word = f"agt{secrets.token_hex(3)}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.word}-"))
        self.endpoint = f"unix://{self.directory}/cri.sock"
        self.cgroup_root = f"/{self.word}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ContainerdHost":
        for name in ("cni", "certs.d/_default", "opt", "agent", "logs"):
            (self.directory / name).mkdir(parents=True)
        config = _CONFIG.format(dir=self.directory, pause=PAUSE)
        (self.directory / "config.toml").write_text(config)
        (self.directory / "cni/10-test.conflist").write_text(_CNI.format(dir=self.directory))
        # Pulls go nowhere, quickly: nothing listens on the discard port.
        (self.directory / "certs.d/_default/hosts.toml").write_text(_HOSTS)
        _run("ip", "netns", "add", self.word)
        _run("ip", "-n", self.word, "link", "set", "lo", "up")
        # With its address the bridge exists before the first pod: a failed ADD leaves a dead one.
        _run("ip", "-n", self.word, "link", "add", "cni0", "type", "bridge")
        _run("ip", "-n", self.word, "addr", "add", "10.88.0.1/24", "dev", "cni0")
        _run("ip", "-n", self.word, "link", "set", "cni0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            self.start()
        self._remove_pods()
        self.kill()
        _run("ip", "netns", "del", self.word)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mounted in sorted((m for m in mounts if self.word in m), reverse=True):
            _run("umount", "-l", mounted)
        for top in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
            base = top / self.word
            if base.is_dir():
                for path in sorted((p for p in base.rglob("*") if p.is_dir()), reverse=True):
                    path.rmdir()
                base.rmdir()
        shutil.rmtree(self.directory)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start containerd and wait until it answers."""
        with (self.directory / "containerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.word}"),
                    *("containerd", "--config", str(self.directory / "config.toml")),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.perf_counter() + 120
        while True:
            if not subprocess.run(
                self._ctr("version"), capture_output=True, check=False
            ).returncode:
                break
            log_text = (self.directory / "containerd.log").read_text()
            assert time.perf_counter() < deadline, log_text
            time.sleep(0.05)
        if not (self.directory / "imported").exists():
            self._import()

    def _import(self) -> None:
        for write, name in ((oci_image.write_pause, PAUSE), (oci_image.write_busybox, BUSYBOX)):
            archive = self.directory / "image.tar"
            write(archive, name)
            _run(*self._ctr("-n", "k8s.io", "images", "import", str(archive)))
            archive.unlink()
        (self.directory / "imported").touch()

    def kill(self) -> None:
        """kill -9 containerd; its containers go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _remove_pods(self) -> None:
        listed = subprocess.run(
            self._ctr("-n", "k8s.io", "tasks", "list", "-q"), capture_output=True, check=False
        )
        for task in listed.stdout.decode().split():
            command = self._ctr("-n", "k8s.io", "tasks", "delete", "-f", task)
            subprocess.run(command, capture_output=True, check=False)

    def _ctr(self, *arguments: str) -> list[str]:
        return ["ctr", "-a", str(self.directory / "cri.sock"), *arguments]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread see the host's network: pod addresses, the stream server."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open() as before,
            Path(f"/run/netns/{self.word}").open() as inside,
        ):
            if libc.setns(inside.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            try:
                yield
            finally:
                libc.setns(before.fileno(), _CLONE_NEWNET)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
