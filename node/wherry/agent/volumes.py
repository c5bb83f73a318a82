"""A pod's volumes on disk, in the kubelet's layout.

    <root>/pods/<uid>/volumes/kubernetes.io~configmap/<name>/
        ..2026_1a2b3c4d/key        the files of one version
        ..data -> ..2026_1a2b3c4d  swapped by rename: readers see one version or the other
        key -> ..data/key
    <root>/pods/<uid>/containers/<name>/<attempt>   termination message
    <root>/pods/<uid>/etc-hosts

Everything is idempotent: `setup` compares with what is there and writes only what differs.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wherry.agent.mounts import Mounter
from wherry.agent.projection import MountError, VolumeFile
from wherry.agent.runtime_config import Mount
from wherry.agent.views import Container, Pod
from wherry.agent.volume_views import HostPathSource, Volume
from wherry.api.quantity import whole

_DATA: Final = "..data"
_KINDS: Final = {
    "config_map": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "downward_api": "kubernetes.io~downward-api",
    "projected": "kubernetes.io~projected",
    "empty_dir": "kubernetes.io~empty-dir",
}
_IN_MEMORY: Final = ("secret", "projected")


class Volumes:
    """Makes and removes the directories of pods below `root`."""

    def __init__(self, root: Path, mounter: Mounter) -> None:
        self._root = root
        self._mounter = mounter

    def pod_dir(self, uid: str) -> Path:
        """Return `<root>/pods/<uid>`."""
        return self._root / "pods" / uid

    def path(self, pod: Pod, volume: Volume) -> Path:
        """Return where a volume is on the node.

        Raises:
            MountError: the volume is of a sort that is not known.
        """
        if volume.host_path is not None:
            return Path(volume.host_path.path)
        kind = next((k for k in _KINDS if getattr(volume, k) is not None), None)
        if kind is None:
            raise MountError(f'volume "{volume.name}" has no source that this node knows')
        return self.pod_dir(pod.metadata.uid) / "volumes" / _KINDS[kind] / volume.name

    def setup(self, pod: Pod, volume: Volume, files: Sequence[VolumeFile] | None) -> None:
        """Make one volume, or bring its files up to date.

        Raises:
            MountError: it cannot be made; the message is for the user.
        """
        path = self.path(pod, volume)
        group = pod.spec.security_context.fs_group
        try:
            if volume.host_path is not None:
                _check_host_path(volume.host_path)
            elif files is not None:
                if any(getattr(volume, kind) is not None for kind in _IN_MEMORY):
                    self._mounter.tmpfs(path)
                path.mkdir(parents=True, exist_ok=True)
                _write_version(path, files, group)
            else:
                self._empty_dir(path, volume, group)
        except OSError as error:
            raise MountError(f"{error.filename or path}: {error.strerror}") from error

    def exists(self, pod: Pod, volume: Volume) -> bool:
        """Tell whether the volume's files were written before."""
        return (self.path(pod, volume) / _DATA).exists()

    def _empty_dir(self, path: Path, volume: Volume, group: int | None) -> None:
        if path.is_dir() and not (volume.empty_dir and volume.empty_dir.medium == "Memory"):
            return
        if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
            if path.is_mount():
                return
            self._mounter.tmpfs(path, whole(str(volume.empty_dir.size_limit or "0")))
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o2777)

    def mounts(
        self, pod: Pod, container: Container, attempt: int, sub_paths: Sequence[str]
    ) -> tuple[Mount, ...]:
        """Return the bind mounts of a container; `sub_paths` are its expanded subPaths in order.

        Raises:
            MountError: a mount names no volume, or leads out of it.
        """
        volumes = {v.name: v for v in pod.spec.volumes}
        result = []
        for mount, sub_path in zip(container.volume_mounts, sub_paths, strict=True):
            if mount.name not in volumes:
                raise MountError(f'volume mount "{mount.name}" has no volume')
            base = self.path(pod, volumes[mount.name])
            host_path = _below(base, sub_path) if sub_path else base
            result.append(
                Mount(
                    mount.mount_path,
                    str(host_path),
                    mount.read_only,
                    mount.mount_propagation or "None",
                )
            )
        taken = {m.container_path for m in result}
        hosts = self.pod_dir(pod.metadata.uid) / "etc-hosts"
        if not pod.spec.host_network and "/etc/hosts" not in taken:
            result.append(Mount("/etc/hosts", str(hosts)))
        message = self.message_file(pod.metadata.uid, container.name, attempt)
        if container.termination_message_path not in taken:
            message.parent.mkdir(parents=True, exist_ok=True)
            message.touch()
            message.chmod(0o666)  # whatever user the container runs as
            result.append(Mount(container.termination_message_path, str(message)))
        return tuple(result)

    def message_file(self, uid: str, container: str, attempt: int) -> Path:
        """Return where a container's termination message is."""
        return self.pod_dir(uid) / "containers" / container / str(attempt)

    def write_hosts(self, uid: str, text: str) -> None:
        """Write /etc/hosts in place: the container's bind mount holds the inode."""
        path = self.pod_dir(uid) / "etc-hosts"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            path.chmod(0o644)

    def remove(self, uid: str) -> None:
        """Unmount and delete all of a pod's directory."""
        base = self.pod_dir(uid)
        if not base.exists():
            return
        for kind in _KINDS.values():
            for path in (base / "volumes" / kind).glob("*"):
                self._mounter.unmount(path)
        shutil.rmtree(base, ignore_errors=False)

    def pods(self) -> list[str]:
        """Return the uids that have a directory."""
        base = self._root / "pods"
        return sorted(p.name for p in base.iterdir()) if base.is_dir() else []


def _below(base: Path, sub_path: str) -> Path:
    """Return `base/sub_path`, made as a directory if absent, never outside of `base`."""
    if sub_path.startswith("/") or ".." in Path(sub_path).parts:
        raise MountError(f"invalid subPath: {sub_path}")
    root = base.resolve()
    target = (base / sub_path).resolve()
    if not target.is_relative_to(root):
        raise MountError(f"subPath {sub_path} leads out of its volume")
    if not target.exists():
        target.mkdir(parents=True)
        target.chmod(stat.S_IMODE(root.stat().st_mode))
    return target


def _write_version(base: Path, files: Sequence[VolumeFile], group: int | None) -> None:
    """Make the directory show exactly `files`, by the swap of one symbolic link."""
    wanted = {f.path: f for f in files}
    current = base / _DATA
    if current.is_symlink() and _same(current, wanted, group):
        _link(base, wanted)
        return
    digest = hashlib.sha256(repr(sorted((p, f.data, f.mode) for p, f in wanted.items())).encode())
    version = base / f"..{digest.hexdigest()[:16]}"
    shutil.rmtree(version, ignore_errors=True)  # left by an agent that died while writing
    version.mkdir(mode=0o755)
    for path, file in wanted.items():
        target = version / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(_mode(file, group))
        if group is not None:
            os.chown(target, -1, group)
    fresh = base / "..data_tmp"
    fresh.unlink(missing_ok=True)
    old = current.readlink() if current.is_symlink() else None
    fresh.symlink_to(version.name)
    fresh.replace(current)
    _link(base, wanted)
    if old is not None and old.name != version.name:
        shutil.rmtree(base / old, ignore_errors=True)


def _mode(file: VolumeFile, group: int | None) -> int:
    return file.mode if group is None else file.mode | 0o040


def _same(current: Path, wanted: dict[str, VolumeFile], group: int | None) -> bool:
    version = current.resolve()
    if not version.is_dir():
        return False
    there = {str(p.relative_to(version)): p for p in version.rglob("*") if p.is_file()}
    return there.keys() == wanted.keys() and all(
        p.read_bytes() == wanted[name].data
        and stat.S_IMODE(p.stat().st_mode) == _mode(wanted[name], group)
        for name, p in there.items()
    )


def _link(base: Path, wanted: dict[str, VolumeFile]) -> None:
    """Keep one link per top-level name, pointing through ..data."""
    tops = {Path(path).parts[0] for path in wanted}
    for top in tops:
        link = base / top
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{top}")
    for entry in base.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()


def _check_host_path(source: HostPathSource) -> None:
    path, kind = Path(source.path), source.type
    if kind == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    tests = {
        "Directory": ("a directory", path.is_dir),
        "DirectoryOrCreate": ("a directory", path.is_dir),
        "File": ("a file", path.is_file),
        "FileOrCreate": ("a file", path.is_file),
        "Socket": ("a socket", path.is_socket),
        "CharDevice": ("a character device", path.is_char_device),
        "BlockDevice": ("a block device", path.is_block_device),
    }
    if kind in tests:
        name, holds = tests[kind]
        if not holds():
            raise MountError(f"hostPath type check failed: {path} is not {name}")
