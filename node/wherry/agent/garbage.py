"""What nobody needs any more: directories of pods that are gone, unused images, long logs.

Dead containers are the pod workers' own garbage (`sync`), images wait until the disk is 85 %
full and are then removed, least recently used first, until it is 80 %.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from wherry.agent.configure import log_directory
from wherry.agent.logs import due_for_rotation, rotate
from wherry.agent.machine import Machine
from wherry.agent.runtime import ContainerState, Image, Runtime, RuntimePod, RuntimeRefusedError
from wherry.agent.runtime_config import PodRef
from wherry.agent.volumes import Volumes
from wherry.api.clock import Clock
from wherry.api.errors import UnavailableError
from wherry.api.times import format_time

log = logging.getLogger(__name__)
PERIOD_S: Final = 60.0
LOG_PERIOD_S: Final = 10.0
HIGH_SHARE: Final = 0.85
LOW_SHARE: Final = 0.80


def images_to_remove(
    images: Sequence[Image],
    in_use: Collection[str],
    used_at: Mapping[str, float],
    *,
    disk_bytes: int,
    used_share: float,
) -> list[Image]:
    """Return the images to delete now, least recently used first; none below the high mark.

    Args:
        images: All images on the node.
        in_use: Ids of images that some container was made from.
        used_at: When an image was last seen in use; unknown ones count as oldest.
        disk_bytes: Size of the disk.
        used_share: How full it is, 0.0 to 1.0.
    """
    if used_share < HIGH_SHARE:
        return []
    excess = int((used_share - LOW_SHARE) * disk_bytes)
    free = [i for i in images if i.id not in in_use and not i.pinned]
    chosen = []
    for image in sorted(free, key=lambda i: (used_at.get(i.id, 0.0), i.id)):
        if excess <= 0:
            break
        chosen.append(image)
        excess -= image.size_bytes
    return chosen


class GarbageCollector:
    """Looks around once a minute.

    Args:
        runtime: For images and containers.
        machine: For the disk.
        volumes: For pod directories.
        alive: The uids of pods that are known, in the API or on the node.
        synced: Tells whether the API has been heard: before that nothing is an orphan.
        clock: Time.
    """

    def __init__(
        self,
        runtime: Runtime,
        machine: Machine,
        volumes: Volumes,
        alive: Callable[[], Collection[str]],
        synced: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._machine = machine
        self._volumes = volumes
        self._alive = alive
        self._synced = synced
        self._clock = clock
        self._used_at: dict[str, float] = {}

    async def run(self) -> None:
        """Collect until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.collect()
            except (UnavailableError, RuntimeRefusedError, OSError) as error:
                log.warning("garbage collection: %s", error)

    async def collect(self) -> None:
        """Remove orphaned directories and, where the disk is full, images."""
        pods = await self._runtime.list_pods()
        if self._synced():
            known = {*self._alive(), *(p.pod.uid for p in pods)}
            for uid in await asyncio.to_thread(self._volumes.pods):
                if uid not in known:
                    log.info("removing the directory of pod %s, which is gone", uid)
                    await asyncio.to_thread(self._volumes.remove, uid)
        await self._collect_images(pods)

    async def _collect_images(self, pods: Sequence[RuntimePod]) -> None:
        images = await self._runtime.list_images()
        in_use = {c.image_ref for p in pods for c in p.containers}
        now = self._clock.now()
        for image in images:
            if image.id in in_use or image.id not in self._used_at:
                self._used_at[image.id] = now
        chosen = images_to_remove(
            images,
            in_use,
            self._used_at,
            disk_bytes=self._machine.info().disk_bytes,
            used_share=self._machine.pressure().disk_used_share,
        )
        for image in chosen:
            log.info("removing image %s: the disk is full", image.tags or image.id)
            await self._runtime.remove_image(image.id)
            self._used_at.pop(image.id, None)


class LogRotator:
    """Keeps the logs of running containers within bounds."""

    def __init__(self, runtime: Runtime, log_root: str, clock: Clock) -> None:
        self._runtime = runtime
        self._log_root = log_root
        self._clock = clock

    async def run(self) -> None:
        """Rotate until cancelled."""
        while True:
            await asyncio.sleep(LOG_PERIOD_S)
            try:
                await self.rotate_all()
            except (UnavailableError, RuntimeRefusedError, OSError) as error:
                log.warning("log rotation: %s", error)

    async def rotate_all(self) -> None:
        """Rotate every log that has outgrown its bound."""
        root = Path(self._log_root)
        due = await asyncio.to_thread(
            lambda: [p for p in root.glob("*/*/*.log") if due_for_rotation(p)]
        )
        if not due:
            return
        for pod in await self._runtime.list_pods():
            for record in pod.containers:
                path = self._path(pod.pod, record.name, record.attempt)
                if record.state is ContainerState.RUNNING and path in due:
                    stamp = format_time(self._clock.now()).replace(":", "").replace("-", "")
                    await asyncio.to_thread(rotate, path, stamp)
                    await self._runtime.reopen_log(record.id)

    def _path(self, pod: PodRef, container: str, attempt: int) -> Path:
        return Path(log_directory(pod, self._log_root)) / container / f"{attempt}.log"
