# ruff: noqa: ARG002 - NoCheckpoint's arguments are those of the protocol
"""What the agent keeps on disk, so that it can go on while every master is dead.

    <root>/checkpoints/pods/<uid>.json               pods bound to this node
    <root>/checkpoints/configmaps/<ns>_<name>.json   what their environment is made from
    <root>/secrets/<ns>_<name>.json                  the same for Secrets, on a tmpfs

A file is whole or absent (written aside, fsynced, renamed). Secrets never touch the disk, so
they are lost when the machine restarts; pods then wait for a master.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from wherry.agent.mounts import Mounter
from wherry.agent.projection import MountError
from wherry.agent.views import ConfigMap, Pod, Secret
from wherry.process.files import atomic_write

log = logging.getLogger(__name__)


class Checkpoint(Protocol):
    """The agent's memory of what the API server said last."""

    async def load_pods(self) -> dict[str, Pod]:
        """Return the pods by uid."""
        ...

    async def save_pod(self, pod: Pod) -> None:
        """Remember a pod, if what is remembered differs."""
        ...

    async def forget_pod(self, uid: str) -> None:
        """Forget a pod that is gone from the API and from the node."""
        ...

    async def save_object(self, obj: ConfigMap | Secret) -> None:
        """Remember an object that a pod refers to."""
        ...

    async def load_config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """Return it as last seen."""
        ...

    async def load_secret(self, namespace: str, name: str) -> Secret | None:
        """Return it as last seen."""
        ...

    async def forget_object(self, obj_type: type[ConfigMap] | type[Secret], key: str) -> None:
        """Forget an object `namespace/name` that no pod refers to, or that is gone."""
        ...


class NoCheckpoint:
    """Remembers nothing: for hollow nodes, which have nothing to go on with."""

    async def load_pods(self) -> dict[str, Pod]:
        """Return nothing."""
        return {}

    async def save_pod(self, pod: Pod) -> None:
        """Do nothing."""

    async def forget_pod(self, uid: str) -> None:
        """Do nothing."""

    async def save_object(self, obj: ConfigMap | Secret) -> None:
        """Do nothing."""

    async def load_config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """Return nothing."""
        return None

    async def load_secret(self, namespace: str, name: str) -> Secret | None:
        """Return nothing."""
        return None

    async def forget_object(self, obj_type: type[ConfigMap] | type[Secret], key: str) -> None:
        """Do nothing."""


class DiskCheckpoint:
    """Keeps it below `root`; file work is done in a thread."""

    def __init__(self, root: Path, mounter: Mounter) -> None:
        self._pods = root / "checkpoints" / "pods"
        self._config_maps = root / "checkpoints" / "configmaps"
        self._secrets = root / "secrets"
        for directory in (self._pods, self._config_maps):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._saved: dict[str, bytes] = {}
        self._keeps_secrets = True
        try:
            mounter.tmpfs(self._secrets)
            self._secrets.chmod(0o700)
        except MountError as error:
            self._keeps_secrets = False
            log.warning("secrets are not kept over a restart of the agent: %s", error)

    async def load_pods(self) -> dict[str, Pod]:
        """Return the pods by uid; a file that cannot be read is left out."""
        files = await asyncio.to_thread(_read_all, self._pods)
        found: dict[str, Pod] = {}
        for name, raw in files.items():
            try:
                found[name] = msgspec.json.decode(raw, type=Pod)
            except msgspec.MsgspecError as error:
                log.warning("checkpoint of pod %s cannot be read: %s", name, error)
        return found

    async def save_pod(self, pod: Pod) -> None:
        """Remember a pod; its status changes often and is left out of the comparison."""
        uid = pod.metadata.uid
        content = msgspec.json.encode((pod.spec, pod.metadata.labels, _end(pod)))
        if self._saved.get(uid) != content:
            await self._save(self._pods / f"{uid}.json", msgspec.json.encode(pod))
            self._saved[uid] = content

    async def forget_pod(self, uid: str) -> None:
        """Forget a pod."""
        self._saved.pop(uid, None)
        await asyncio.to_thread((self._pods / f"{uid}.json").unlink, missing_ok=True)

    async def save_object(self, obj: ConfigMap | Secret) -> None:
        """Remember an object."""
        if isinstance(obj, Secret) and not self._keeps_secrets:
            return
        await self._save(self._path(type(obj), obj.metadata.key), msgspec.json.encode(obj))

    async def load_config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """Return it as last seen."""
        raw = await asyncio.to_thread(_read, self._path(ConfigMap, f"{namespace}/{name}"))
        return None if raw is None else msgspec.json.decode(raw, type=ConfigMap)

    async def load_secret(self, namespace: str, name: str) -> Secret | None:
        """Return it as last seen."""
        raw = await asyncio.to_thread(_read, self._path(Secret, f"{namespace}/{name}"))
        return None if raw is None else msgspec.json.decode(raw, type=Secret)

    async def forget_object(self, obj_type: type[ConfigMap] | type[Secret], key: str) -> None:
        """Forget an object."""
        await asyncio.to_thread(self._path(obj_type, key).unlink, missing_ok=True)

    def _path(self, obj_type: type[ConfigMap] | type[Secret], key: str) -> Path:
        directory = self._secrets if obj_type is Secret else self._config_maps
        return directory / f"{key.replace('/', '_')}.json"

    @staticmethod
    async def _save(path: Path, data: bytes) -> None:
        await asyncio.to_thread(atomic_write, path, data, mode=0o600)


def _end(pod: Pod) -> tuple[str | None, int | None, str]:
    """Return what says that a pod is to end, or has: that must be known after a restart."""
    meta = pod.metadata
    finished = pod.status.phase if pod.status.phase in ("Succeeded", "Failed") else ""
    return meta.deletion_timestamp, meta.deletion_grace_period_seconds, finished


def _read(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _read_all(directory: Path) -> Mapping[str, bytes]:
    return {p.stem: p.read_bytes() for p in sorted(directory.glob("*.json"))}
