"""Events: what happened to an object, for `kubectl describe`.

Recording never blocks and never fails the work that it reports on: events wait in a
bounded queue, repeats of one message become a count, and what the server refuses is logged
and dropped. About one object at most 25 events are written at once and then one in five
minutes: a thousand pods created by one ReplicaSet need no thousand events. Source: client-go
`tools/record` and its EventCorrelator.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import orjson

from wherry.api.clock import Clock
from wherry.api.errors import NotFoundError, StatusError, UnavailableError
from wherry.api.kinds import EVENT
from wherry.api.times import format_time
from wherry.client.api import Api

log = logging.getLogger(__name__)
_QUEUE: Final = 1000
_REMEMBERED: Final = 4096
_BURST: Final = 25
_REFILL_S: Final = 1.0
_OBJECT_BURST: Final = 25
_OBJECT_REFILL_S: Final = 300.0
MESSAGE_BYTES: Final = 1024
"""Longest message; the API refuses longer ones."""


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    first: str


@dataclass(frozen=True, slots=True)
class _Recorded:
    ref: dict[str, Any]
    type: str
    reason: str
    message: str
    at_s: float


def reference(obj: Any) -> dict[str, Any]:
    """Return `involvedObject` for a decoded object (dict with apiVersion, kind, metadata)."""
    meta = obj["metadata"]
    ref = {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": obj.get("kind", ""),
        "namespace": meta.get("namespace", ""),
        "name": meta.get("name", ""),
        "uid": meta.get("uid", ""),
        "resourceVersion": meta.get("resourceVersion", ""),
    }
    return {key: value for key, value in ref.items() if value}


class EventRecorder:
    """Writes events in the name of one component.

    Args:
        api: Where to write.
        clock: The dates in the events.
        component: `source.component`, such as `kubelet` or `default-scheduler`.
        host: `source.host`, "" for none.
        rng: Names of the Event objects.
    """

    def __init__(
        self, api: Api, clock: Clock, component: str, host: str = "", *, rng: Random
    ) -> None:
        self._api = api
        self._clock = clock
        self._component = component
        self._host = host
        self._rng = rng
        self._queue: deque[_Recorded] = deque()
        self._wake = asyncio.Event()
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._allowances: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def event(self, ref: dict[str, Any], type_: str, reason: str, message: str) -> None:
        """Record one event; `type_` is Normal or Warning. Never blocks."""
        if not self._allowed(ref):
            log.debug("event dropped, too many about %s: %s", ref.get("name"), message)
            return
        if len(self._queue) >= _QUEUE:
            log.warning("event dropped, queue is full: %s %s", reason, message)
            return
        text = message.encode()[:MESSAGE_BYTES].decode(errors="ignore")
        self._queue.append(_Recorded(ref, type_, reason, text, self._clock.now()))
        self._wake.set()

    def _allowed(self, ref: dict[str, Any]) -> bool:
        """Spend from the object's allowance; `_allowances` holds what is left and since when."""
        key = tuple(str(ref.get(part, "")) for part in ("kind", "namespace", "name", "uid"))
        now_s = self._clock.monotonic()
        left, since_s = self._allowances.pop(key, (float(_OBJECT_BURST), now_s))
        left = min(_OBJECT_BURST, left + (now_s - since_s) / _OBJECT_REFILL_S)
        self._allowances[key] = (left - 1 if left >= 1 else left, now_s)
        if len(self._allowances) > _REMEMBERED:
            self._allowances.popitem(last=False)
        return left >= 1

    async def run(self) -> None:
        """Write what is recorded until cancelled."""
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            entry = self._queue.popleft()
            try:
                await self._write(entry)
            except (StatusError, UnavailableError) as error:
                log.info("event not written: %s: %s", entry.reason, error)
                await asyncio.sleep(_REFILL_S / _BURST)

    async def _write(self, entry: _Recorded) -> None:
        ref = entry.ref
        key = (
            ref.get("kind", ""),
            ref.get("namespace", ""),
            ref.get("name", ""),
            ref.get("uid", ""),
            entry.type,
            entry.reason,
            entry.message,
        )
        namespace = ref.get("namespace") or "default"
        now = format_time(entry.at_s)
        known = self._series.get(key)
        if known is not None:
            self._series.move_to_end(key)
            patch = {"count": known.count + 1, "lastTimestamp": now}
            try:
                await self._api.patch(EVENT, known.name, orjson.dumps(patch), namespace)
            except NotFoundError:  # it expired meanwhile
                del self._series[key]
            else:
                known.count += 1
                return
        name = f"{ref.get('name', 'event')[:200]}.{self._rng.getrandbits(64):016x}"
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": ref,
            "type": entry.type,
            "reason": entry.reason,
            "message": entry.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {
                "component": self._component,
                **({"host": self._host} if self._host else {}),
            },
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        await self._api.create(EVENT, orjson.dumps(body), namespace)
        self._series[key] = _Series(name, 1, now)
        if len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)
