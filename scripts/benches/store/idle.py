"""What three members cost when nobody asks anything."""

import asyncio

from _report import Report
from store.load import cpu_of
from store.rig import Pair


async def idle(report: Report, pair: Pair, seconds: float) -> None:
    """Of one core, in percent; both clusters over the same time."""
    await asyncio.sleep(1)
    used, etcd_used = cpu_of(pair.pids), cpu_of(pair.etcd_pids)
    await asyncio.sleep(seconds)
    report.add("idle, three members", (cpu_of(pair.pids) - used) / seconds * 100, "% core", "< 2")
    report.add(
        "idle, three members, etcd", (cpu_of(pair.etcd_pids) - etcd_used) / seconds * 100, "% core"
    )
