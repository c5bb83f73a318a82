"""The one loop behind every controller: wakes keys, asks `reconcile`, performs its actions.

Failures never end it. What the server refuses is told as an event where the action says
so, remembered for the next pass, and retried later and later; while nobody answers, keys
are retried at a steady pace, because then waiting longer helps nobody. A conflict or an
object that is gone only means that the cache was behind: look again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import orjson
from prometheus_client import Counter

from wherry.api.clock import Clock
from wherry.api.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StatusError,
    UnavailableError,
    is_of_another,
)
from wherry.api.kinds import NAMESPACE, Kind
from wherry.api.objects import Decoder, Meta
from wherry.client.api import Api
from wherry.client.events import EventRecorder
from wherry.client.workqueue import WorkQueue
from wherry.controllers.caches import InformerSet
from wherry.controllers.expectations import Expectations, Seen
from wherry.controllers.framework import (
    Action,
    Caches,
    Controller,
    Create,
    Delete,
    Emit,
    Finalize,
    Patch,
    Source,
    Telling,
)

log = logging.getLogger(__name__)
WORKERS: Final = 5
"""Keys of one controller worked on at once (`--concurrent-*-syncs`)."""
PARALLEL: Final = 16
"""Most calls of one pass under way at once."""
RECHECK_S: Final = 5.0
"""When to look again at a key whose writes the caches do not show yet and nothing woke."""
UNAVAILABLE_S: Final = 1.0

_PASSES = Counter("wherry_controller_passes", "Passes of control loops", ["controller", "outcome"])
_decode = Decoder(Meta)


@dataclass(frozen=True, slots=True)
class Pass:
    """`framework.Environment` for one pass."""

    caches: Caches
    now: float
    current: bool
    failure: str
    api: Api

    async def fetch(self, kind: Kind, name: str, namespace: str = "") -> Meta | None:
        """Read an object's metadata from the server."""
        try:
            return _decode(await self.api.get(kind, name, namespace))
        except NotFoundError:
            return None

    async def fetch_all(self, kind: Kind, namespace: str) -> Sequence[Meta]:
        """Read the metadata of all objects of a namespace from the server."""
        return await fetch_all(self.api, kind, namespace)


async def fetch_all(api: Api, kind: Kind, namespace: str) -> list[Meta]:
    """Read the metadata of all objects of a namespace linearizably."""
    found: list[Meta] = []
    token = ""
    while True:
        page = await api.list(kind, namespace, limit=500, continue_token=token)
        found += map(_decode, page.items)
        token = page.continue_token
        if not token:
            return found


class Driver:
    """Runs one controller.

    Args:
        controller: What to decide.
        api: Where actions are performed.
        caches: Shared informers; the controller's sources are added to them.
        clock: Dates, and the expiry of expectations.
        rng: Jitter of retries.
        events: Where outcomes are told.
        workers: Keys worked on at once.
    """

    def __init__(
        self,
        controller: Controller,
        api: Api,
        caches: InformerSet,
        *,
        clock: Clock,
        rng: Random,
        events: EventRecorder,
        workers: int = WORKERS,
    ) -> None:
        self._controller = controller
        self._api = api
        self._caches = caches
        self._clock = clock
        self._rng = rng
        self._events = events
        self._workers = workers
        self.queue = WorkQueue(rng)
        self._expectations = Expectations(self._look)
        self._failures: dict[str, str] = {}
        self._uncertain: dict[str, set[tuple[Kind, str]]] = {}
        for index in controller.indices:
            caches.want_index(index)
        for source in controller.sources:
            caches.want(source.kind).add_listener(self._listener(source))

    async def run(self) -> None:
        """Work until cancelled; the caches must be synced."""
        async with asyncio.TaskGroup() as group:
            for n in range(self._workers):
                group.create_task(self._work(), name=f"{self._controller.name} {n}")

    def _listener(self, source: Source) -> Callable[[Any, Any], None]:
        def changed(old: Any, new: Any) -> None:
            for key in source.keys(self._caches, old, new):
                if source.delay_s:
                    self.queue.add_after(key, source.delay_s)
                else:
                    self.queue.add(key)

        return changed

    def _look(self, kind: Kind, key: str) -> Seen | None:
        if kind not in self._caches:
            return None
        informer = self._caches[kind]
        obj = informer.get(key)
        return Seen(obj.metadata if obj is not None else None, informer.revision)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._pass(key)
            except asyncio.CancelledError:
                self.queue.add(key)  # for when we lead again
                raise
            except UnavailableError as error:
                self._retry_soon(key, error)
            except (ConflictError, NotFoundError) as error:
                log.debug("%s %s: %s", self._controller.name, key, error)
                self._retry(key, "conflict")
            except StatusError as error:
                self._complain(key, error)
                self._retry(key, "refused")
            except Exception:  # a bug in one controller must not stop the others
                log.exception("%s %s: pass failed", self._controller.name, key)
                self._retry(key, "bug")
            finally:
                self.queue.done(key)

    def _complain(self, key: str, error: Exception) -> None:
        """Log a failure when it begins, not each time that it is retried."""
        level = logging.DEBUG if self.queue.failures(key) else logging.WARNING
        log.log(level, "%s %s: %s", self._controller.name, key, error)

    def _retry(self, key: str, outcome: str) -> None:
        _PASSES.labels(self._controller.name, outcome).inc()
        self.queue.add_rate_limited(key)

    def _retry_soon(self, key: str, error: UnavailableError) -> None:
        log.debug("%s %s: %s", self._controller.name, key, error)
        _PASSES.labels(self._controller.name, "unavailable").inc()
        self.queue.add_after(key, UNAVAILABLE_S * (1 + self._rng.random()))

    async def _settle(self, key: str) -> None:
        """Find out what became of creations that nobody answered, before any is repeated.

        Whatever the server has now must be in the caches before the next pass is `current`.
        """
        for kind, namespace in sorted(self._uncertain.get(key, ()), key=repr):
            for obj in await fetch_all(self._api, kind, namespace):
                now_s = self._clock.monotonic()
                self._expectations.wrote(key, kind, obj.metadata, now_s=now_s)
        self._uncertain.pop(key, None)

    async def _pass(self, key: str) -> None:
        await self._settle(key)
        current = self._expectations.current(key, now_s=self._clock.monotonic())
        failure = self._failures.get(key, "")
        env = Pass(self._caches, self._clock.now(), current, failure, self._api)
        result = await self._controller.reconcile(key, env)
        await self._perform(key, result.actions)
        self._failures.pop(key, None)
        self.queue.forget(key)
        if not current:
            self.queue.add_after(key, RECHECK_S)
        if result.again_s is not None:
            self.queue.add_after(key, result.again_s)
        _PASSES.labels(self._controller.name, "ok").inc()

    async def _perform(self, key: str, actions: Sequence[Action]) -> None:
        for batch in _batches(actions):
            first = batch[0]
            if isinstance(first, Create):
                await _slow_start([self._call(key, first, orjson.dumps(first.body))] * first.count)
            else:
                await _slow_start([self._call(key, action, b"") for action in batch])

    def _call(self, key: str, action: Action, body: bytes) -> Callable[[], Awaitable[None]]:
        async def call() -> None:
            match action:
                case Emit():
                    self._events.event(action.ref, action.type, action.reason, action.message)
                case Create():
                    await self._create(key, action, body)
                case Patch():
                    await self._patch(key, action)
                case Delete():
                    await self._delete(key, action)
                case Finalize():
                    await self._finalize(action)

        return call

    async def _create(self, key: str, action: Create, body: bytes) -> None:
        try:
            raw = await self._api.create(action.kind, body, action.namespace)
        except AlreadyExistsError:
            if not action.exists_ok:
                raise
            return
        except ForbiddenError as error:
            if any(cause.reason == "NamespaceTerminating" for cause in error.causes):
                return  # the namespace controller is about to delete all of this
            raise self._failed(key, action.telling, error, "") from error
        except StatusError as error:
            raise self._failed(key, action.telling, error, "") from error
        except UnavailableError:
            self._uncertain.setdefault(key, set()).add((action.kind, action.namespace))
            raise
        meta = _decode(raw).metadata
        self._expectations.wrote(key, action.kind, meta, now_s=self._clock.monotonic())
        self._succeeded(action.telling, meta.name)

    async def _patch(self, key: str, action: Patch) -> None:
        guard = {"uid": action.uid, "resourceVersion": action.revision}
        meta = {k: v for k, v in guard.items() if v} | action.body.get("metadata", {})
        body = orjson.dumps({**action.body, "metadata": meta} if meta else action.body)
        try:
            raw = await self._api.patch(
                action.kind, action.name, body, action.namespace, subresource=action.subresource
            )
        except NotFoundError:
            return
        except InvalidError as error:
            if is_of_another(error):
                raise ConflictError(error.message) from error
            raise
        answer = _decode(raw).metadata
        self._expectations.wrote(key, action.kind, answer, now_s=self._clock.monotonic())
        self._succeeded(action.telling, action.name)

    async def _delete(self, key: str, action: Delete) -> None:
        try:
            await self._api.delete(
                action.kind,
                action.name,
                action.namespace,
                uid=action.uid,
                grace_s=action.grace_s,
                propagation=action.propagation,
            )
        except (NotFoundError, ConflictError):  # gone, or another of that name
            return
        except StatusError as error:
            raise self._failed(key, action.telling, error, action.name) from error
        object_key = f"{action.namespace}/{action.name}" if action.namespace else action.name
        self._expectations.deleted(
            key, action.kind, object_key, action.uid, now_s=self._clock.monotonic()
        )
        self._succeeded(action.telling, action.name)

    async def _finalize(self, action: Finalize) -> None:
        namespace = orjson.loads(await self._api.get(NAMESPACE, action.name))
        if namespace["metadata"].get("uid") != action.uid:
            return
        spec = namespace.get("spec") or {}
        kept = [f for f in spec.get("finalizers") or () if f != "kubernetes"]
        namespace["spec"] = {**spec, "finalizers": kept}
        body = orjson.dumps(namespace)
        await self._api.update(NAMESPACE, action.name, body, subresource="finalize")

    def _succeeded(self, telling: Telling | None, name: str) -> None:
        if telling is not None and telling.success is not None:
            reason, text = telling.success
            self._events.event(telling.ref, "Normal", reason, text.replace("{name}", name))

    def _failed(
        self, key: str, telling: Telling | None, error: StatusError, name: str
    ) -> StatusError:
        self._failures[key] = error.message
        if telling is not None and telling.failure is not None:
            reason, text = telling.failure
            message = text.replace("{name}", name).replace("{error}", error.message)
            self._events.event(telling.ref, "Warning", reason, message)
        return error


def _batches(actions: Sequence[Action]) -> Iterator[list[Action]]:
    """Split into single actions, and runs of deletions, which may go in parallel."""
    run: list[Action] = []
    for action in actions:
        if run and not (isinstance(action, Delete) and isinstance(run[0], Delete)):
            yield run
            run = []
        run.append(action)
    if run:
        yield run


async def _slow_start(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Make 1, 2, 4, ... calls at once; where one fails the rest would too and is left.

    Raises:
        WherryError: the first failure, after the calls of its batch have ended.
    """
    done, size = 0, 1
    while done < len(calls):
        batch = calls[done : done + size]
        outcomes = await asyncio.gather(*(call() for call in batch), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        done += len(batch)
        size = min(size * 2, PARALLEL)
