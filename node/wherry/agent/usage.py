"""How much cpu is being used: counters of two moments, compared.

Nothing is sampled while nobody asks. Who asks after a long silence waits a second, in which
both samples are taken; who asks again soon gets the use since the last time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from wherry.agent.runtime import ContainerStats
from wherry.api.clock import Clock

LEAST_S: Final = 1.0
"""The shortest time that use is told of: counters are coarse."""
MOST_S: Final = 60.0
"""An older sample says nothing of now."""
KEEP_S: Final = 10.0
"""A sample is compared with until it is so old: frequent questions must not shorten the time."""


class Counting(Protocol):
    """Where a container runtime's counters come from."""

    async def stats(self) -> list[ContainerStats]:
        """Return the use of every running container."""
        ...


class CountingMachine(Protocol):
    """Where the machine's own counter comes from."""

    def cpu_usage_ns(self) -> int | None:
        """Return the cpu time used since the machine is up; None: that of its containers counts."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """All counters at one moment; `machine_ns` is cpu time of the whole machine."""

    at: float
    containers: tuple[ContainerStats, ...]
    machine_ns: int

    @property
    def cpu_ns(self) -> dict[str, int]:
        """Return the counters by container id."""
        return {c.id: c.cpu_usage_ns for c in self.containers}


@dataclass(frozen=True, slots=True)
class Usage:
    """Use over the last `window_s`; rates in billionths of a core, by container id."""

    at: float
    window_s: float
    containers: tuple[ContainerStats, ...]
    nanocores: Mapping[str, int]
    machine_nanocores: int
    machine_ns: int


def usage(before: Sample, after: Sample) -> Usage:
    """Compare two samples; a container that was not there before has no rate."""
    window_s = after.at - before.at
    was = before.cpu_ns
    rates = {c: _rate(was[c], ns, window_s) for c, ns in after.cpu_ns.items() if c in was}
    machine = _rate(before.machine_ns, after.machine_ns, window_s)
    return Usage(after.at, window_s, after.containers, rates, machine, after.machine_ns)


def _rate(before: int, after: int, window_s: float) -> int:
    return max(0, round((after - before) / window_s))


def comparable(before: Sample | None, now: float, running: Sequence[ContainerStats]) -> bool:
    """Tell whether an earlier sample is neither too young nor too old, and knows who runs."""
    if before is None or not LEAST_S <= now - before.at <= MOST_S:
        return False
    return {c.id for c in running} <= before.cpu_ns.keys()


class UsageMeter:
    """Asks a runtime and a machine for their counters."""

    def __init__(self, runtime: Counting, machine: CountingMachine, clock: Clock) -> None:
        self._runtime = runtime
        self._machine = machine
        self._clock = clock
        self._before: Sample | None = None
        self._one = asyncio.Lock()

    async def measure(self) -> Usage:
        """Return the use, after a second at most.

        Raises:
            UnavailableError: the runtime does not answer.
        """
        async with self._one:
            now = await self._sample()
            before = self._before
            if before is None or not comparable(before, now.at, now.containers):
                before = now
                await asyncio.sleep(LEAST_S)
                now = await self._sample()
            if now.at - before.at >= KEEP_S:
                self._before = now
            else:
                self._before = before
            return usage(before, now)

    async def _sample(self) -> Sample:
        containers = tuple(await self._runtime.stats())
        machine_ns = self._machine.cpu_usage_ns()
        if machine_ns is None:
            machine_ns = sum(c.cpu_usage_ns for c in containers)
        return Sample(self._clock.now(), containers, machine_ns)
