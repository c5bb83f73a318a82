"""Having a container's image on the node: pull policies, back-off, and the kubelet's words."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from wherry.agent.runtime import Image, ImageAuth, Runtime, RuntimeRefusedError
from wherry.agent.views import Container
from wherry.api.clock import Clock
from wherry.api.errors import WherryError

FIRST_BACKOFF_S: Final = 10.0
MOST_BACKOFF_S: Final = 300.0
PARALLEL_PULLS: Final = 3

_REFERENCE: Final = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?"
)

Report = Callable[[str, str, str], None]
"""(type, reason, message) of an event about the container."""


class ImageError(WherryError):
    """The image is not there; `reason` is the waiting state's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def pull_policy(container: Container) -> str:
    """Return the policy, defaulted by the tag as the API server does."""
    if container.image_pull_policy:
        return container.image_pull_policy
    name = container.image.rpartition("/")[2]
    return (
        "Always" if "@" not in name and name.partition(":")[2] in ("", "latest") else "IfNotPresent"
    )


@dataclass(slots=True)
class _Backoff:
    delay_s: float
    until: float


class ImagePuller:
    """Pulls images for all pods of a node, a few at a time."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._slots = asyncio.Semaphore(PARALLEL_PULLS)
        self._backoffs: dict[tuple[str, str], _Backoff] = {}

    async def ensure(
        self, uid: str, container: Container, auths: Sequence[ImageAuth], report: Report
    ) -> Image:
        """Return the image, pulled if the policy asks for it.

        Raises:
            ImageError: it is not there and cannot be had now.
        """
        name = container.image
        if not _REFERENCE.fullmatch(name):
            message = (
                f'Failed to apply default image tag "{name}": couldn\'t parse image name '
                f'"{name}": invalid reference format'
            )
            report("Warning", "InspectFailed", message)
            raise ImageError("InvalidImageName", message)
        policy = pull_policy(container)
        found = await self._runtime.image(name)
        if found is not None and policy != "Always":
            report("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return found
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            report("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        return await self._pull(uid, name, auths, report)

    async def _pull(self, uid: str, name: str, auths: Sequence[ImageAuth], report: Report) -> Image:
        report("Normal", "Pulling", f'Pulling image "{name}"')
        asked = self._clock.monotonic()
        async with self._slots:
            began = self._clock.monotonic()
            try:
                image_id = await self._pull_with(name, auths)
                image = await self._runtime.image(name) or await self._runtime.image(image_id)
            except RuntimeRefusedError as error:
                self._failed(uid, name)
                report("Warning", "Failed", f'Failed to pull image "{name}": {error}')
                report("Warning", "Failed", "Error: ErrImagePull")
                raise ImageError("ErrImagePull", str(error)) from error
        if image is None:
            self._failed(uid, name)
            raise ImageError("ErrImagePull", f'image "{name}" vanished after it was pulled')
        self._backoffs.pop((uid, name), None)
        now = self._clock.monotonic()
        report(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {_go_duration(now - began)} '
            f"({_go_duration(now - asked)} including waiting). Image size: {image.size_bytes} bytes.",
        )
        return image

    async def _pull_with(self, name: str, auths: Sequence[ImageAuth]) -> str:
        """Pull with each login in turn; the last refusal counts."""
        for auth in auths[:-1]:
            try:
                return await self._runtime.pull_image(name, auth)
            except RuntimeRefusedError:
                continue
        return await self._runtime.pull_image(name, auths[-1] if auths else None)

    def _failed(self, uid: str, name: str) -> None:
        old = self._backoffs.get((uid, name))
        delay_s = FIRST_BACKOFF_S if old is None else min(old.delay_s * 2, MOST_BACKOFF_S)
        self._backoffs[uid, name] = _Backoff(delay_s, self._clock.now() + delay_s)

    def retry_at(self, uid: str, name: str) -> float:
        """Return when a failed pull may be tried again."""
        known = self._backoffs.get((uid, name))
        return known.until if known is not None else self._clock.now() + FIRST_BACKOFF_S

    def forget(self, uid: str) -> None:
        """Drop the back-offs of a pod."""
        for key in [k for k in self._backoffs if k[0] == uid]:
            del self._backoffs[key]


def _go_duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s"
