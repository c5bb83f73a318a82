"""Writes pod statuses, and removes pods from the API that have ended.

Statuses wait here for a moment, so that a pod which starts at once costs one write, not three.
What cannot be written because no master answers is kept and written when one does. What somebody
else overwrote later (the controllers call the pods of a silent node unready) is written again. A write
names the pod's uid; it names the resourceVersion only where conditions of others must not be
overwritten (a merge patch replaces lists), and then a conflict makes the worker render anew.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import orjson

from wherry.agent.runtime_config import PodRef
from wherry.api.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    StatusError,
    UnavailableError,
    is_of_another,
)
from wherry.api.kinds import POD
from wherry.api.objects import Decoder, Meta
from wherry.client.api import Api
from wherry.client.workqueue import WorkQueue

log = logging.getLogger(__name__)
_decode = Decoder(Meta)
WRITERS: Final = 4
MOST_RETRY_S: Final = 10.0


@dataclass(slots=True)
class _Entry:
    pod: PodRef
    status: dict[str, Any]
    revision: str
    conflicted: Callable[[], None]
    remove: bool = False
    written: bytes = b""
    at: int = 0
    """Revision of the last write: what the API shows of later ones is somebody else's."""


class StatusWriter:
    """One for all pods of a process.

    Args:
        api: The API server.
        rng: Jitter of retries.
        gather_s: How long a status waits for a newer one.
    """

    def __init__(self, api: Api, rng: Random, *, gather_s: float = 0.0) -> None:
        self._api = api
        self._gather_s = gather_s
        self._queue = WorkQueue(rng, most_delay_s=MOST_RETRY_S)
        self._entries: dict[str, _Entry] = {}

    def set(
        self,
        pod: PodRef,
        status: dict[str, Any],
        *,
        revision: str = "",
        remove: bool = False,
        conflicted: Callable[[], None],
    ) -> None:
        """Have `status` written; with `remove`, the pod deleted for good after that.

        Args:
            pod: Whose.
            status: All of it.
            revision: resourceVersion that it was rendered from, "" not to insist.
            remove: The pod has ended and is being deleted.
            conflicted: Called if the pod has changed meanwhile.
        """
        entry = self._entries.get(pod.uid)
        if entry is None:
            entry = self._entries[pod.uid] = _Entry(pod, status, revision, conflicted)
        elif entry.status == status and entry.remove == remove and entry.written:
            return
        entry.status, entry.revision, entry.remove = status, revision, remove
        self._queue.add_after(pod.uid, 0.0 if remove else self._gather_s)

    def seen(self, uid: str, revision: int, conditions: Mapping[str, str]) -> None:
        """Compare what the API server has with what was written.

        Args:
            uid: The pod.
            revision: The resourceVersion at which it was seen.
            conditions: Status by type, of the conditions that are the agent's.
        """
        entry = self._entries.get(uid)
        if entry is None or not entry.written or revision <= entry.at:
            return
        ours = {c["type"]: c["status"] for c in entry.status["conditions"]}
        if any(ours.get(type_) != status for type_, status in conditions.items()):
            entry.written = b""
            entry.conflicted()

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._entries.pop(uid, None)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                entry = self._entries.get(uid)
                if entry is not None:
                    await self._write(entry)
                self._queue.forget(uid)
            except (UnavailableError, StatusError) as error:
                delay_s = self._queue.add_rate_limited(uid)
                log.warning(
                    "status of pod %s not written: %s; again in %.1f s", uid, error, delay_s
                )
            finally:
                self._queue.done(uid)

    async def _write(self, entry: _Entry) -> None:
        pod, status, remove = entry.pod, entry.status, entry.remove
        body = orjson.dumps(status)
        try:
            if body != entry.written:
                meta = {"uid": pod.uid}
                if entry.revision:
                    meta["resourceVersion"] = entry.revision
                patch = orjson.dumps({"metadata": meta, "status": status})
                answer = await self._api.patch(
                    POD, pod.name, patch, pod.namespace, subresource="status"
                )
                entry.written, entry.at = body, int(_decode(answer).metadata.resource_version)
            if remove:
                await self._api.delete(POD, pod.name, pod.namespace, uid=pod.uid, grace_s=0)
        except NotFoundError:
            self.forget(pod.uid)
        except (ConflictError, InvalidError) as error:
            if isinstance(error, InvalidError) and not is_of_another(error):
                raise
            log.info("status of pod %s/%s: %s", pod.namespace, pod.name, error)
            entry.written = b""
            entry.conflicted()
