"""How every benchmark reports: a table for people, JSON for machines."""

import json
import operator
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass
class Report:
    """Collects lines; a goal is text such as `< 2`."""

    title: str
    lines: list[dict[str, object]] = field(default_factory=list)

    def add(self, line: str, value: float, unit: str, goal: str = "") -> None:
        """Add a measured value and print it at once."""
        holds: bool | None = None
        if goal:
            sign, bound = goal.split()
            holds = COMPARE[sign](value, float(bound))
        entry = {"line": line, "value": round(value, 4), "unit": unit, "goal": goal, "holds": holds}
        self.lines.append(entry)
        mark = {True: "ok", False: "MISSED", None: ""}[holds]
        print(f"{line:<58} {value:>12.3f} {unit:<10} {goal:<10} {mark}", flush=True)

    def finish(self, json_file: Path | None) -> int:
        """Write JSON where asked; the exit code says whether all goals hold."""
        if json_file:
            json_file.write_text(json.dumps(self.lines, indent=1) + "\n")
        return int(any(entry["holds"] is False for entry in self.lines))


TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, its dead children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def rss_mb(pid: int) -> float:
    """Return resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str) -> float:
    """Poll until `condition`; return the seconds that it took."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > within_s:
            raise SystemExit(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.02)
    return time.perf_counter() - began
