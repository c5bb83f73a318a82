"""Leader election by a coordination Lease: at most one scheduler, one controller-manager.

The holder renews the Lease every `retry_s`. Another takes it over when it has seen no
change of it for `lease_s`, *measured on its own clock from the moment it saw the change*:
the dates inside are for people, clocks of different hosts are never compared. A holder
that could not renew for `renew_s` stops leading before anybody else may begin, because
renew_s < lease_s. Source: client-go `tools/leaderelection`.

`decide` is the pure rule; `LeaderElector` performs it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import orjson

from wherry.api.clock import Clock
from wherry.api.errors import NotFoundError, StatusError, UnavailableError
from wherry.api.kinds import LEASE
from wherry.api.objects import Decoder, Lease
from wherry.api.times import format_micro_time
from wherry.client.api import Api

log = logging.getLogger(__name__)
_decode = Decoder(Lease)


@dataclass(frozen=True, slots=True)
class Observed:
    """The Lease as last read, and when (monotonic) it was first seen in this state."""

    lease: Lease
    raw: bytes
    since_s: float


def decide(seen: Observed, identity: str, *, now_s: float) -> bool:
    """Tell whether `identity` may write itself into the Lease.

    It may when it holds it already, when nobody does (released), or when the holder has
    been silent for the duration that the holder itself promised.
    """
    spec = seen.lease.spec
    holder = spec.holder_identity or ""
    if holder in ("", identity):
        return True
    return now_s - seen.since_s > float(spec.lease_duration_seconds or 0)


class LeaderElector:
    """Competes for the Lease `namespace/name` and runs something while it holds it.

    Args:
        api: Where the Lease is.
        clock: For dates in the Lease and to measure silence.
        rng: Jitter, so that candidates do not ask in step.
        name: The Lease's name, such as `kube-scheduler`.
        identity: Unique for this incarnation of the process, such as `host_uid`.
        namespace: The Lease's namespace.
        lease_s: Silence after which others take over.
        renew_s: How long to go on trying to renew before giving up.
        retry_s: Pause between attempts, of holder and candidates alike.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        *,
        rng: Random,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        lease_s: float = 15.0,
        renew_s: float = 10.0,
        retry_s: float = 2.0,
    ) -> None:
        if not retry_s < renew_s < lease_s:
            raise ValueError(f"need retry < renew < lease, got {retry_s}, {renew_s}, {lease_s}")
        self._api = api
        self._clock = clock
        self._rng = rng
        self._name = name
        self._identity = identity
        self._namespace = namespace
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._retry_s = retry_s
        self._seen: Observed | None = None
        self.leading = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Compete until cancelled; run `lead` whenever leading and cancel it on loss.

        An exception of `lead` ends `run` with it. On cancellation the Lease is released, so
        that the next leader need not wait.
        """
        while True:
            await self._acquire()
            log.info("became leader", extra={"lease": self._name, "identity": self._identity})
            self.leading = True
            try:
                await self._lead_and_renew(lead)
            finally:
                self.leading = False
                await self._release()
            log.warning("stopped leading", extra={"lease": self._name})

    async def _acquire(self) -> None:
        while not await self._try_once():
            await self._pause()

    async def _lead_and_renew(self, lead: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_call(lead), name=f"lead {self._name}")
            renewed_s = self._clock.monotonic()
            while not work.done():
                await self._pause()
                now_s = self._clock.monotonic()
                if await self._try_once():
                    renewed_s = now_s
                elif self._held_by_other() or self._clock.monotonic() - renewed_s > self._renew_s:
                    work.cancel()
                    break

    def _held_by_other(self) -> bool:
        holder = self._seen.lease.spec.holder_identity if self._seen else None
        return bool(holder) and holder != self._identity

    async def _pause(self) -> None:
        await asyncio.sleep(self._retry_s * (1 + 0.2 * self._rng.random()))

    async def _try_once(self) -> bool:
        """Acquire or renew once; False when somebody else holds it or nobody answers."""
        try:
            async with asyncio.timeout(self._retry_s):
                return await self._try_write()
        except (StatusError, UnavailableError, TimeoutError) as error:
            log.debug("lease %s: %s", self._name, error)
            return False

    async def _try_write(self) -> bool:
        try:
            raw = await self._api.get(LEASE, self._name, self._namespace)
        except NotFoundError:
            body = orjson.dumps({"metadata": {"name": self._name}, "spec": self._spec(None)})
            self._observe(await self._api.create(LEASE, body, self._namespace))
            return True
        self._observe(raw)
        seen = self._seen
        if seen is None or not decide(seen, self._identity, now_s=self._clock.monotonic()):
            return False
        new = orjson.loads(raw)
        new["spec"] = self._spec(seen.lease)
        self._observe(await self._api.update(LEASE, self._name, orjson.dumps(new), self._namespace))
        return True

    def _observe(self, raw: bytes) -> None:
        lease = _decode(raw)
        if self._seen is None or self._seen.lease.spec != lease.spec:
            self._seen = Observed(lease, raw, self._clock.monotonic())

    def _spec(self, old: Lease | None) -> dict[str, object]:
        now = format_micro_time(self._clock.now())
        mine = old is not None and old.spec.holder_identity == self._identity
        transitions = (old.spec.lease_transitions or 0) if old else 0
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_s)),
            "acquireTime": old.spec.acquire_time if old and mine else now,
            "renewTime": now,
            "leaseTransitions": transitions if mine or old is None else transitions + 1,
        }

    async def _release(self) -> None:
        seen = self._seen
        if seen is None or seen.lease.spec.holder_identity != self._identity:
            return
        try:
            async with asyncio.timeout(self._retry_s):
                new = orjson.loads(await self._api.get(LEASE, self._name, self._namespace))
                if new["spec"].get("holderIdentity") == self._identity:
                    new["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                    body = orjson.dumps(new)
                    await self._api.update(LEASE, self._name, body, self._namespace)
        except (StatusError, UnavailableError, TimeoutError) as error:
            log.info("could not release lease %s: %s", self._name, error)
        self._seen = None


async def _call(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()
