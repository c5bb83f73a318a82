"""Closed loops and what they cost: operations a second, latencies, CPU of the servers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from _report import cpu_s

Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Rate:
    """What one closed loop got; `cpu_us` is what all the servers spent on each operation."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def quantile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def cpu_of(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have used so far, in seconds."""
    return sum(map(cpu_s, pids))


async def measure(call: Call, workers: int, seconds: float, pids: Sequence[int]) -> Rate:
    """Call as fast as `workers` can, each one call at a time."""
    took: list[float] = []
    number = 0
    used, began = cpu_of(pids), time.perf_counter()
    end = began + seconds

    async def work() -> None:
        nonlocal number
        while (sent := time.perf_counter()) < end:
            number += 1
            await call(number)
            took.append(time.perf_counter() - sent)

    await asyncio.gather(*(work() for _ in range(workers)))
    elapsed = time.perf_counter() - began
    used = cpu_of(pids) - used
    return Rate(
        len(took) / elapsed,
        quantile(took, 0.5) * 1e3,
        quantile(took, 0.99) * 1e3,
        used / len(took) * 1e6,
    )


def best(rates: Sequence[Rate]) -> Rate:
    """Return the run that the rest of the machine disturbed least."""
    return max(rates, key=lambda rate: rate.per_second)
