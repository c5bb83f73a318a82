"""What becomes of a container that has no process: how its pod's annotations say it ends. Pure.

    wherry.io/hollow-run-seconds: "5"     it ends after so long (default: never)
    wherry.io/hollow-exit-code: "1"       and with this code (alone: at once)
    wherry.io/hollow-ready-after: "3"     its readiness probe passes after so long
    wherry.io/hollow-oom: "true"          its end is an OOM kill (137, OOMKilled)

Init containers end at once, with 0.
"""

import math
from collections.abc import Mapping
from typing import Final

from wherry.agent.runtime import ContainerRecord, ContainerStats, RuntimeRefusedError
from wherry.agent.runtime_config import PodRef, Resources

RUN_SECONDS: Final = "wherry.io/hollow-run-seconds"
EXIT_CODE: Final = "wherry.io/hollow-exit-code"
READY_AFTER: Final = "wherry.io/hollow-ready-after"
OOM: Final = "wherry.io/hollow-oom"
KILLED: Final = 137
UNLIMITED_USES: Final = 8 << 20
"""Bytes that a container without a memory limit has."""


def life_of(annotations: Mapping[str, str], *, init: bool) -> tuple[float, int, str] | None:
    """Return after how many seconds a container ends, with which code and reason; None: never.

    Raises:
        RuntimeRefusedError: an annotation is not the number that it has to be.
    """
    if init:
        return 0.0, 0, "Completed"
    if RUN_SECONDS not in annotations and EXIT_CODE not in annotations and OOM not in annotations:
        return None
    after_s = seconds(annotations, RUN_SECONDS)
    if annotations.get(OOM) == "true":
        return after_s, KILLED, "OOMKilled"
    text = annotations.get(EXIT_CODE, "0")
    if not text.isdecimal() or not text.isascii() or int(text) > 255:
        raise _refused(EXIT_CODE, text, "a number from 0 to 255")
    return after_s, int(text), "Completed" if int(text) == 0 else "Error"


def seconds(annotations: Mapping[str, str], name: str) -> float:
    """Return an annotation's seconds, 0 where there is none.

    Raises:
        RuntimeRefusedError: it is no number of seconds.
    """
    text = annotations.get(name, "0")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise _refused(name, text, "a number of seconds")
    return value


def made_up_stats(
    record: ContainerRecord, pod: PodRef, allowed: Resources, now: float
) -> ContainerStats:
    """Return counters as of a container that does its work evenly."""
    millicores = max(allowed.cpu_shares * 1000 // 1024 // 10, 1)
    return ContainerStats(
        id=record.id,
        name=record.name,
        pod=pod,
        at=now,
        cpu_usage_ns=int((now - record.started_at) * millicores * 1_000_000),
        memory_working_set_bytes=allowed.memory_limit_bytes // 4 or UNLIMITED_USES,
        rootfs_used_bytes=0,
    )


def _refused(name: str, text: str, wanted: str) -> RuntimeRefusedError:
    return RuntimeRefusedError("InvalidArgument", f'annotation {name}: "{text}" is not {wanted}')
