"""The cgroups above containers: `<root>/kubepods/<qos>/pod<uid>`, on cgroup v1 and v2.

The runtime makes the container's own cgroup below it. What cannot be set (no such controller,
no permission in a nested machine) is logged once and left: limits of containers still bind.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from wherry.agent.resources import PERIOD_US, PodCgroup

log = logging.getLogger(__name__)
_V1: Final = ("cpu", "cpuacct", "memory", "pids")


class Cgroups(Protocol):
    """Pod cgroups."""

    def ensure(self, cgroup: PodCgroup) -> None:
        """Make the cgroup and set its bounds."""
        ...

    def remove(self, path: str) -> None:
        """Remove the cgroup and what is left below it."""
        ...


class LinuxCgroups:
    """The kernel's cgroups below `base`."""

    def __init__(self, base: Path = Path("/sys/fs/cgroup")) -> None:
        self._base = base
        self._unified = (base / "cgroup.controllers").exists()
        self._complained: set[str] = set()

    def ensure(self, cgroup: PodCgroup) -> None:
        """Make the cgroup and set its bounds."""
        if self._unified:
            self._ensure_v2(cgroup)
        else:
            self._ensure_v1(cgroup)

    def _ensure_v1(self, cgroup: PodCgroup) -> None:
        relative = cgroup.path.lstrip("/")
        for controller in _V1:
            if (self._base / controller).is_dir():
                self._mkdir(self._base / controller / relative)
        cpu, memory = self._base / "cpu" / relative, self._base / "memory" / relative
        self._write(cpu / "cpu.shares", cgroup.cpu_shares)
        self._write(cpu / "cpu.cfs_quota_us", cgroup.cpu_quota_us or -1)
        if cgroup.memory_limit_bytes:
            self._write(memory / "memory.limit_in_bytes", cgroup.memory_limit_bytes)

    def _ensure_v2(self, cgroup: PodCgroup) -> None:
        path = self._base
        for part in cgroup.path.strip("/").split("/"):
            self._write(path / "cgroup.subtree_control", "+cpu +memory +pids")
            path /= part
            self._mkdir(path)
        weight = 1 + (max(cgroup.cpu_shares, 2) - 2) * 9999 // 262_142
        self._write(path / "cpu.weight", weight)
        quota = str(cgroup.cpu_quota_us) if cgroup.cpu_quota_us else "max"
        self._write(path / "cpu.max", f"{quota} {PERIOD_US}")
        self._write(path / "memory.max", cgroup.memory_limit_bytes or "max")

    def remove(self, path: str) -> None:
        """Remove the cgroup in every hierarchy, deepest first."""
        relative = path.lstrip("/")
        tops = [self._base] if self._unified else [p for p in self._base.iterdir() if p.is_dir()]
        for top in tops:
            target = top / relative
            if not target.is_dir():
                continue
            below = [p for p in target.rglob("*") if p.is_dir()]
            for directory in (*sorted(below, reverse=True), target):
                self._attempt(directory.rmdir)

    def _mkdir(self, path: Path) -> None:
        self._attempt(lambda: path.mkdir(parents=True, exist_ok=True))

    def _write(self, path: Path, value: int | str) -> None:
        self._attempt(lambda: path.write_text(str(value)))

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            what = f"{Path(error.filename or '').name}: {error.strerror}"
            if what not in self._complained:
                self._complained.add(what)
                log.warning("cgroup not set up fully: %s: %s", error.filename, error.strerror)
