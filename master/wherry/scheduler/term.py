"""One term of leadership: decides one pod after the other, binds many at once.

    pods, nodes, services --watch--> Cache, SchedulingQueue
    queue.pop -> schedule(pod, cache, profile) -> Bind          -> assume, reserve -> task: bind
                                               -> Unschedulable -> park             -> task: tell
    a binding that fails -> forget, unreserve -> queue.retry

A decision never waits for I/O, so nothing changes under it. Bindings run beside it,
bounded; the assumed pod holds its place until the watch shows the binding.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Final

from prometheus_client import Counter, Gauge

from wherry.api.clock import Clock
from wherry.api.errors import NotFoundError, StatusError, UnavailableError, WherryError
from wherry.api.kinds import POD
from wherry.api.objects import Node, Pod, Service
from wherry.client.api import Api
from wherry.client.events import EventRecorder
from wherry.scheduler.binder import set_unschedulable
from wherry.scheduler.cache import Cache
from wherry.scheduler.core import Bind, Decision, Unschedulable, schedule
from wherry.scheduler.framework import BindPlugin, ClusterEvent, Profile
from wherry.scheduler.node_info import PodInfo
from wherry.scheduler.queue import Place, Queued, SchedulingQueue

log = logging.getLogger(__name__)
MOST_CALLS: Final = 64
"""Bindings and reports under way at once."""
_TURN: Final = 8
"""Decisions until the watches and bindings get their turn."""

_ATTEMPTS: Final = Counter("scheduler_schedule_attempts", "Attempts to schedule a pod", ["result"])
_PENDING: Final = Gauge("scheduler_pending_pods", "Pods that wait for a node", ["queue"])


class Term:
    """See the module.

    Args:
        api: Where conditions of pending pods are written.
        clock: Dates and back-off.
        rng: Breaks ties.
        profile: The plugins.
        binder: How decisions are made known.
        events: Where outcomes are told.
        scheduler_name: Which pods are ours.
        find: Returns a pod by `namespace/name` as the watch shows it.
    """

    def __init__(
        self,
        api: Api,
        *,
        clock: Clock,
        rng: Random,
        profile: Profile,
        binder: BindPlugin,
        events: EventRecorder,
        scheduler_name: str,
        find: Callable[[str], Pod | None],
    ) -> None:
        self._api = api
        self._clock = clock
        self._rng = rng
        self._profile = profile
        self._binder = binder
        self._events = events
        self._scheduler_name = scheduler_name
        self._find = find
        self.cache = Cache()
        self.queue = SchedulingQueue()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(MOST_CALLS)
        self._start = 0

    # -- what the watches say -----------------------------------------------------

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Take over a change of a pod."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._gone(old)
        if new is None:
            return
        meta, node = new.metadata, new.spec.node_name
        if new.finished or (meta.deleting and not node) or not (node or self._is_ours(new)):
            self._gone(new)
        elif node:
            self.queue.remove(meta.uid)
            if self.cache.node_of(meta.uid) != node or old is None or _counts_else(old, new):
                self.cache.set_pod(PodInfo.of(new), node)
        elif not self.cache.node_of(meta.uid):  # else its binding is under way
            self.queue.add(PodInfo.of(new))
            self._wake.set()

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.scheduler_name == self._scheduler_name

    def _gone(self, pod: Pod) -> None:
        self.queue.remove(pod.metadata.uid)
        if self.cache.remove_pod(pod.metadata.uid):
            self._happened(ClusterEvent.POD_GONE)

    def node_changed(self, old: Node | None, new: Node | None) -> None:
        """Take over a change of a node."""
        if new is not None:
            self._happened(self.cache.set_node(new))
        elif old is not None:
            self.cache.remove_node(old.metadata.name)

    def service_changed(self, old: Service | None, new: Service | None) -> None:
        """Take over a change of a Service."""
        if new is not None:
            self.cache.set_service(new)
        elif old is not None:
            self.cache.remove_service(old)

    def _happened(self, event: ClusterEvent) -> None:
        self.queue.wake(event)
        self._wake.set()

    # -- the loop -----------------------------------------------------------------

    async def run(self) -> None:
        """Schedule until cancelled."""
        turn = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                entry = await self._next()
                decision = self._decide(entry)
                group.create_task(self._perform(entry, decision), name=entry.info.key)
                turn += 1
                if turn % _TURN == 0:
                    await asyncio.sleep(0)

    async def _next(self) -> Queued:
        while True:
            now_s = self._clock.monotonic()
            entry = self.queue.pop(now_s)
            if entry is not None:
                return entry
            for place in Place:
                _PENDING.labels(place.value).set(self.queue.count(place))
            due_s = self.queue.next_due()
            self._wake.clear()
            try:
                async with asyncio.timeout(None if due_s is None else max(0.0, due_s - now_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _decide(self, entry: Queued) -> Decision | None:
        """Decide, and change cache and queue accordingly, all in one step; None after a bug."""
        try:
            decision = schedule(
                entry.info,
                self.cache,
                self._profile,
                start=self._start,
                pick=self._rng.getrandbits(31),
            )
        except Exception:  # a bug in a plugin must not stop all other pods
            log.exception("%s: scheduling failed", entry.info.key)
            self.queue.retry(entry)
            return None
        match decision:
            case Bind(node=node, examined=examined):
                self._start += examined
                if self._reserve(entry, node):
                    self.cache.set_pod(entry.info, node)
                else:
                    return None
            case Unschedulable(rejections=rejections):
                plugins = self._profile.wakes(decision.plugins)
                self.queue.park(entry, plugins if rejections else ClusterEvent.NODE_ADDED)
        return decision

    def _reserve(self, entry: Queued, node: str) -> bool:
        for plugin in self._profile.reserves:
            rejection = plugin.reserve(entry.info, node)
            if rejection is not None:
                log.info("%s: %s", entry.info.key, ", ".join(rejection.reasons))
                self._unreserve(entry.info, node)
                self.queue.retry(entry)
                return False
        return True

    def _unreserve(self, info: PodInfo, node: str) -> None:
        for plugin in reversed(self._profile.reserves):
            plugin.unreserve(info, node)

    # -- effects ------------------------------------------------------------------

    async def _perform(self, entry: Queued, decision: Decision | None) -> None:
        try:
            match decision:
                case Bind(node=node):
                    await self._bind(entry, node)
                case Unschedulable() as no:
                    await self._tell(entry.info, no)
                case None:
                    _ATTEMPTS.labels("error").inc()
        finally:
            self._slots.release()

    async def _bind(self, entry: Queued, node: str) -> None:
        info = entry.info
        try:
            await self._binder.bind(info, node)
        except (StatusError, UnavailableError) as error:
            _ATTEMPTS.labels("error").inc()
            self._unbind(entry, node, error)
            return
        _ATTEMPTS.labels("scheduled").inc()
        message = f"Successfully assigned {info.key} to {node}"
        self._events.event(_reference(info), "Normal", "Scheduled", message)

    def _unbind(self, entry: Queued, node: str, error: WherryError) -> None:
        """Believe the watch: bound after all, gone, or to be tried again."""
        info = entry.info
        log.info("%s: binding to %s failed: %s", info.key, node, error)
        self._unreserve(info, node)
        current = self._find(info.key)
        same = current is not None and current.metadata.uid == info.uid
        if current is not None and same and current.spec.node_name:
            return
        self.cache.remove_pod(info.uid)
        self._happened(ClusterEvent.POD_GONE)
        if current is None or not same or current.metadata.deleting or current.finished:
            return
        entry.info = PodInfo.of(current)
        self.queue.retry(entry)
        if isinstance(error, StatusError) and not isinstance(error, NotFoundError):
            message = f"binding rejected: {error}"
            self._events.event(_reference(info), "Warning", "FailedScheduling", message)

    async def _tell(self, info: PodInfo, no: Unschedulable) -> None:
        _ATTEMPTS.labels("unschedulable").inc()
        self._events.event(_reference(info), "Warning", "FailedScheduling", no.message)
        try:
            await set_unschedulable(self._api, info, no.message, self._clock.now())
        except (StatusError, UnavailableError) as error:
            log.debug("%s: condition not written: %s", info.key, error)


def _counts_else(old: Pod, new: Pod) -> bool:
    """Tell whether a bound pod's change concerns what is summed up."""
    return (
        old.metadata.deleting != new.metadata.deleting
        or old.metadata.labels != new.metadata.labels
        or old.metadata.owner_references != new.metadata.owner_references
        or old.spec != new.spec
    )


def _reference(info: PodInfo) -> dict[str, str]:
    meta = info.pod.metadata
    return {
        "apiVersion": POD.api_version,
        "kind": POD.kind,
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }
