# ruff: noqa: ARG002 - HollowPodHost's arguments are those of the protocol
"""What a pod needs of its node besides the runtime: volumes, environment, cgroup, log files.

`PodHost` is what the worker asks for; `LinuxPodHost` does it with real files, `HollowPodHost`
does nothing, because a hollow container looks at none of it.
"""

import asyncio
import base64
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import orjson

from wherry.agent.cgroups import Cgroups
from wherry.agent.configure import MESSAGE_POLICY, PodSettings, hosts_file, log_directory, pod_ref
from wherry.agent.environment import NodeFacts, References, environment, expand
from wherry.agent.logs import LogOptions, read_log, select, tail_of_log
from wherry.agent.projection import (
    MountError,
    Sources,
    VolumeFile,
    render_volume,
    wanted_objects,
    wanted_tokens,
)
from wherry.agent.references import ReferenceCache
from wherry.agent.resources import pod_cgroup, pod_cgroups
from wherry.agent.runtime import ContainerRecord, ImageAuth
from wherry.agent.runtime_config import Mount, PodRef
from wherry.agent.tokens import TokenSource
from wherry.agent.views import Container, Pod
from wherry.agent.volume_views import TokenProjection, Volume
from wherry.agent.volumes import Volumes
from wherry.api.errors import StatusError, UnavailableError
from wherry.api.times import format_micro_time

log = logging.getLogger(__name__)
MOST_MESSAGE: Final = 4096
HOLLOW_POLL_S: Final = 1.0
MOST_LOG_LINES: Final = 80
MOST_LOG_MESSAGE: Final = 2048


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one container is given."""

    env: dict[str, str]
    mounts: tuple[Mount, ...]


class PodHost(Protocol):
    """The node's side of a pod. All calls are idempotent."""

    async def prepare(self, pod: Pod, pod_ip: str) -> None:
        """Make, or bring up to date, the pod's volumes and cgroup.

        Raises:
            MountError: a volume cannot be made now.
        """
        ...

    async def container(
        self, pod: Pod, container: Container, attempt: int, pod_ip: str
    ) -> Prepared:
        """Return environment and mounts of an attempt.

        Raises:
            ContainerConfigError: something that it names is missing.
            MountError: a mount is not possible.
        """
        ...

    async def image_auths(self, pod: Pod, image: str) -> list[ImageAuth]:
        """Return the logins that the pod has for the image's registry."""
        ...

    async def termination_message(self, pod: Pod, record: ContainerRecord) -> str:
        """Return what the container left as its last words."""
        ...

    async def remove_log(self, pod: PodRef, container: str, attempt: int) -> None:
        """Delete the log files of an attempt."""
        ...

    def read_log(
        self,
        pod: PodRef,
        record: ContainerRecord,
        options: LogOptions,
        running: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[bytes]:
        """Yield a container's log; following it ends when `running` says no."""
        ...

    async def cleanup(self, ref: PodRef) -> None:
        """Remove all that the pod had on the node; its containers are gone."""
        ...


class HollowPodHost:
    """Nothing to prepare."""

    async def prepare(self, pod: Pod, pod_ip: str) -> None:
        """Do nothing."""

    async def container(
        self, pod: Pod, container: Container, attempt: int, pod_ip: str
    ) -> Prepared:
        """Return nothing."""
        return Prepared({}, ())

    async def image_auths(self, pod: Pod, image: str) -> list[ImageAuth]:
        """Return none."""
        return []

    async def termination_message(self, pod: Pod, record: ContainerRecord) -> str:
        """Return none."""
        return ""

    async def remove_log(self, pod: PodRef, container: str, attempt: int) -> None:
        """Do nothing."""

    async def read_log(
        self,
        pod: PodRef,
        record: ContainerRecord,
        options: LogOptions,
        running: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[bytes]:
        """Yield what is wanted of one line, written when the container started."""
        text = f"hollow container {record.name} of pod {pod.namespace}/{pod.name}"
        line = f"{format_micro_time(record.started_at)} stdout F {text}\n".encode()
        wanted, full = select([line], options)
        if wanted:
            yield wanted
        while options.follow and not full and await running():  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(HOLLOW_POLL_S)

    async def cleanup(self, ref: PodRef) -> None:
        """Do nothing."""


class LinuxPodHost:
    """Files and cgroups of this machine.

    Args:
        volumes: The pods' directories.
        cgroups: The kernel's.
        references: ConfigMaps, Secrets and Services.
        tokens: ServiceAccount tokens.
        settings: What the node adds to every pod.
        node: What pods may ask about the node.
    """

    def __init__(
        self,
        volumes: Volumes,
        cgroups: Cgroups,
        references: ReferenceCache,
        tokens: TokenSource,
        settings: PodSettings,
        node: NodeFacts,
    ) -> None:
        self._volumes = volumes
        self._cgroups = cgroups
        self._references = references
        self._tokens = tokens
        self._settings = settings
        self._node = node

    async def prepare(self, pod: Pod, pod_ip: str) -> None:
        """Make volumes, cgroup, log directory and hosts file."""
        sources, missing = await self._sources(pod, pod_ip)
        for volume in pod.spec.volumes:
            if missing is not None and await asyncio.to_thread(self._volumes.exists, pod, volume):
                continue  # no master answers; what was written before still holds
            try:
                files = _render(volume, pod, sources, missing)
                await asyncio.to_thread(self._volumes.setup, pod, volume, files)
            except MountError as error:
                raise MountError(
                    f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
                ) from error
        await asyncio.to_thread(self._prepare_files, pod, pod_ip)

    def _prepare_files(self, pod: Pod, pod_ip: str) -> None:
        self._cgroups.ensure(pod_cgroup(pod, self._settings.cgroup_root))
        logs = Path(log_directory(pod_ref(pod), self._settings.log_root))
        spec = pod.spec
        for container in (*spec.init_containers, *spec.containers, *spec.ephemeral_containers):
            (logs / container.name).mkdir(parents=True, exist_ok=True)
        if pod_ip and not pod.spec.host_network:
            text = hosts_file(pod, pod_ip, self._settings)
            self._volumes.write_hosts(pod.metadata.uid, text)

    async def _sources(self, pod: Pod, pod_ip: str) -> tuple[Sources, str | None]:
        """Return what volumes are made from, and why it is not complete (None: it is)."""
        references, tokens = References({}, {}), dict[TokenProjection, str]()
        missing = None
        try:
            references = await self._refer(pod)
            for wanted in wanted_tokens(pod):
                tokens[wanted] = await self._tokens.token(pod, wanted)
        except (UnavailableError, StatusError) as error:
            missing = str(error)
        return Sources(references, self._node, pod_ip, tokens), missing

    async def _refer(self, pod: Pod) -> References:
        meta = pod.metadata
        return await self._references.references(meta.uid, meta.namespace, wanted_objects(pod))

    async def container(
        self, pod: Pod, container: Container, attempt: int, pod_ip: str
    ) -> Prepared:
        """Return environment and mounts of an attempt."""
        references = await self._refer(pod)
        env = environment(pod, container, references, self._node, pod_ip)
        sub_paths = [
            expand(m.sub_path_expr, env) if m.sub_path_expr else m.sub_path
            for m in container.volume_mounts
        ]
        mounts = await asyncio.to_thread(self._volumes.mounts, pod, container, attempt, sub_paths)
        return Prepared(env, mounts)

    async def image_auths(self, pod: Pod, image: str) -> list[ImageAuth]:
        """Read the pod's imagePullSecrets of type kubernetes.io/dockerconfigjson."""
        if not pod.spec.image_pull_secrets:
            return []
        references = await self._refer(pod)
        secrets = [references.secrets.get(ref.name) for ref in pod.spec.image_pull_secrets]
        return [
            auth for secret in secrets if secret is not None for auth in _logins(secret.data, image)
        ]

    async def termination_message(self, pod: Pod, record: ContainerRecord) -> str:
        """Read the message file; by policy FallbackToLogsOnError the end of the log."""
        path = self._volumes.message_file(pod.metadata.uid, record.name, record.attempt)
        text = await asyncio.to_thread(_read_end, path, MOST_MESSAGE)
        fallback = record.annotations.get(MESSAGE_POLICY) == "FallbackToLogsOnError"
        if not text and fallback and record.exit_code != 0:
            logs = Path(log_directory(pod_ref(pod), self._settings.log_root))
            file = logs / record.name / f"{record.attempt}.log"
            text = await asyncio.to_thread(tail_of_log, file, MOST_LOG_LINES, MOST_LOG_MESSAGE)
        return text

    async def remove_log(self, pod: PodRef, container: str, attempt: int) -> None:
        """Delete `<attempt>.log` and what was rotated from it."""
        logs = Path(log_directory(pod, self._settings.log_root)) / container
        await asyncio.to_thread(_remove_matching, logs, f"{attempt}.log*")

    def read_log(
        self,
        pod: PodRef,
        record: ContainerRecord,
        options: LogOptions,
        running: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[bytes]:
        """Yield the log of an attempt, with what was rotated from it."""
        logs = Path(log_directory(pod, self._settings.log_root)) / record.name
        return read_log(logs / f"{record.attempt}.log", options, running)

    async def cleanup(self, ref: PodRef) -> None:
        """Remove volumes, cgroup and logs."""
        await self._references.release(ref.uid)
        self._tokens.forget(ref.uid)
        await asyncio.to_thread(self._remove, ref)

    def _remove(self, ref: PodRef) -> None:
        self._volumes.remove(ref.uid)
        for path in pod_cgroups(ref.uid, self._settings.cgroup_root):
            self._cgroups.remove(path)
        shutil.rmtree(log_directory(ref, self._settings.log_root), ignore_errors=True)


def _render(
    volume: Volume, pod: Pod, sources: Sources, missing: str | None
) -> list[VolumeFile] | None:
    from_api = any(s is not None for s in (volume.config_map, volume.secret, volume.projected))
    if missing is not None and from_api:
        raise MountError(missing)
    return render_volume(volume, pod, sources)


def _logins(data: dict[str, str], image: str) -> list[ImageAuth]:
    raw = data.get(".dockerconfigjson")
    if raw is None:
        return []
    try:
        auths = orjson.loads(base64.b64decode(raw)).get("auths", {})
    except (ValueError, AttributeError) as error:
        log.warning("an imagePullSecret cannot be read: %s", error)
        return []
    first = image.split("/")[0]
    registry = first if "/" in image and ("." in first or ":" in first) else "docker.io"
    found = []
    for server, login in auths.items():
        if registry not in server:
            continue
        name, word = login.get("username", ""), login.get("password", "")
        if not name and login.get("auth"):
            name, _, word = base64.b64decode(login["auth"]).decode().partition(":")
        found.append(ImageAuth(name, word))
    return found


def _read_end(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - limit))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _remove_matching(directory: Path, pattern: str) -> None:
    for path in directory.glob(pattern):
        path.unlink(missing_ok=True)
