"""A node's containerd: its configuration (pure text) and what it leaves behind."""

import json
from pathlib import Path
from typing import Final

from lablib.layout import Layout
from lablib.names import Host

PAUSE: Final = "registry.k8s.io/pause:3.9"
CNI_BIN: Final = "/usr/lib/cni"
CNI_CACHE: Final = Path("/var/lib/cni/results")

_TASKS: Final = "io.containerd.runtime.v2.task/k8s.io"

_CONFIG: Final = """\
version = 2
root = {root}
state = {state}
disabled_plugins = [
  "io.containerd.internal.v1.restart",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = {socket}
[ttrpc]
  address = {ttrpc}
[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  disable_apparmor = true
  enable_selinux = false
  # A machine without CAP_SYS_RESOURCE cannot lower oom_score_adj; runc would fail.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = {runc}
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {certs}
"""


def cni_conf(layout: Layout, host: Host) -> Path:
    """The directory where the overlay puts the node's CNI configuration."""
    return layout.data_of(host) / "cni" / "net.d"


def cni_data(layout: Layout, host: Host) -> Path:
    """Where host-local remembers which pod addresses it gave out."""
    return layout.data_of(host) / "cni" / "data"


def config_file(layout: Layout, host: Host) -> Path:
    """Its configuration file."""
    return layout.data_of(host) / "containerd.toml"


def command(layout: Layout, host: Host) -> list[str]:
    """Its command line."""
    return ["containerd", "--config", str(config_file(layout, host))]


def render_config(layout: Layout, host: Host) -> str:
    """Its configuration: everything of its own, nothing shared with other nodes or the machine."""
    values = {
        "root": _root(layout, host),
        "state": _state(layout, host),
        "socket": layout.containerd_socket(host),
        "ttrpc": f"{layout.containerd_socket(host)}.ttrpc",
        "opt": layout.data_of(host) / "opt",
        "pause": PAUSE,
        "cni_bin": CNI_BIN,
        "cni_conf": cni_conf(layout, host),
        "runc": layout.run_of(host) / "runc",
        "certs": _certs(layout, host),
    }
    # A TOML basic string is written like a JSON string.
    return _CONFIG.format(**{name: json.dumps(str(value)) for name, value in values.items()})


def render_mirror(registry: str) -> str:
    """hosts.toml of an upstream registry whose images come from HOST:PORT `registry`.

    `server` is the mirror too: otherwise an image that the mirror lacks is looked for on the
    internet, and a typing error in a manifest becomes a network error.
    """
    url = json.dumps(f"http://{registry}")
    return f'server = {url}\n\n[host.{url}]\n  capabilities = ["pull", "resolve"]\n'


def write_files(layout: Layout, host: Host) -> None:
    """Write its configuration and make its directories."""
    for directory in (cni_conf(layout, host), cni_data(layout, host), layout.run_of(host)):
        directory.mkdir(parents=True, exist_ok=True)
    for upstream in ("docker.io", "registry.k8s.io", "_default"):
        directory = _certs(layout, host) / upstream
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(render_mirror(layout.registry))
    config_file(layout, host).write_text(render_config(layout, host))


def leftovers(layout: Layout, host: Host) -> list[Path]:
    """Files of this node's containers outside of the lab's directories.

    Shim sockets are named by a hash and CNI results by the sandbox's id; both are shared
    by every containerd of the machine, so only those that our own state names are ours.
    """
    found = []
    for bundle in (_state(layout, host) / _TASKS).glob("*"):
        try:
            address = (bundle / "address").read_text()
        except FileNotFoundError:
            continue
        found.append(Path(address.removeprefix("unix://")))
    for sandbox in (_root(layout, host) / "io.containerd.grpc.v1.cri/sandboxes").glob("*"):
        found += CNI_CACHE.glob(f"*{sandbox.name}*")
    return found


def _root(layout: Layout, host: Host) -> Path:
    return layout.data_of(host) / "containerd"


def _state(layout: Layout, host: Host) -> Path:
    return layout.run_of(host) / "containerd"


def _certs(layout: Layout, host: Host) -> Path:
    return layout.data_of(host) / "certs.d"
