"""Start, recognise and kill processes that outlive the command that started them.

A process is known by its pid *and* the moment it started (clock ticks since boot, field 22
of /proc/PID/stat): a pid that was reused is somebody else and is never touched. Signals go
through a pidfd, so there is no moment in between.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from lablib.errors import LabError
from lablib.layout import Layout
from lablib.names import Host
from lablib.shell import in_netns
from lablib.waiting import until

PROC: Final = Path("/proc")

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for all time."""

    pid: int
    started: int


class State(StrEnum):
    """What `scripts/lab status` says of a process."""

    RUNNING = "running"
    KILLED = "killed"
    """Dead, and by `scripts/lab kill`."""
    DEAD = "dead"
    """Dead, and nobody asked for it."""
    STOPPED = "stopped"
    """Never started."""


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None if nobody does (a zombie is nobody)."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold spaces and brackets
    return None if fields[0] in "ZX" else Identity(pid, int(fields[19]))


def is_alive(process: Identity) -> bool:
    """Whether that very process still runs."""
    return identify(process.pid) == process


def send(process: Identity, number: signal.Signals) -> bool:
    """Signal that very process; False if it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if identify(process.pid) != process:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def in_namespaces(inodes: frozenset[int]) -> list[Identity]:
    """Every process whose network namespace is one of these."""
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            inside = (entry / "ns" / "net").stat().st_ino in inodes
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if inside and (process := identify(int(entry.name))) is not None:
            found.append(process)
    return found


class Processes:
    """The processes of one lab, remembered in pid files below its run directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def start(
        self,
        host: Host,
        process: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
    ) -> Identity:
        """Start `command` in the host's network namespace, in a session of its own.

        Raises:
            LabError: it is running already.
        """
        self.check_dead(host, process)
        log = self._layout.log(host, process)
        log.parent.mkdir(parents=True, exist_ok=True)
        pid_file = self._pid_file(host, process)
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                in_netns(self._layout.netns(host), command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**_ENVIRONMENT, **(env or {})},
                cwd="/",
                start_new_session=True,
            )
        identity = identify(child.pid)
        # This process lets go of the child on purpose: it is to outlive us.
        child.returncode = 0
        if identity is None:
            raise LabError(
                f"{process} on {host.name} ended at once", details=self.tail(host, process)
            )
        self._killed_file(host, process).unlink(missing_ok=True)
        pid_file.write_text(f"{identity.pid} {identity.started}\n")
        return identity

    def kill(self, host: Host, process: str, *, timeout_s: float = 60) -> int:
        """SIGKILL the process and remember that it was us; returns its pid.

        Raises:
            LabError: it is not running.
        """
        identity = self.identity(host, process)
        if identity is None or not send(identity, signal.SIGKILL):
            raise LabError(
                f"{process} on {host.name} is not running",
                f"start it: scripts/lab start {host.name} {process} --name {self._layout.lab}",
            )
        self._killed_file(host, process).touch()
        wait_for_end([identity], timeout_s=timeout_s)
        return identity.pid

    def identity(self, host: Host, process: str) -> Identity | None:
        """Whom the pid file names; None without one."""
        try:
            pid, started = self._pid_file(host, process).read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return Identity(int(pid), int(started))

    def state(self, host: Host, process: str) -> tuple[int | None, State]:
        """The pid (None if it does not run) and the state of one process."""
        identity = self.identity(host, process)
        if identity is not None and is_alive(identity):
            return identity.pid, State.RUNNING
        if self._killed_file(host, process).exists():
            return None, State.KILLED
        return None, State.STOPPED if identity is None else State.DEAD

    def check_dead(self, host: Host, process: str) -> None:
        """Make sure that it does not run.

        Raises:
            LabError: it does.
        """
        pid, state = self.state(host, process)
        if state is State.RUNNING:
            raise LabError(f"{process} on {host.name} is running already (pid {pid})")

    def check(self, host: Host, process: str) -> None:
        """Make sure that it runs.

        Raises:
            LabError: it does not; with the end of its log.
        """
        _, state = self.state(host, process)
        if state is not State.RUNNING:
            raise LabError(f"{process} on {host.name} is {state}", details=self.tail(host, process))

    def tail(self, host: Host, process: str, lines: int = 12) -> str:
        """The end of the process's log, for an error message."""
        log = self._layout.log(host, process)
        try:
            text = log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join([f"{log}:", *text.splitlines()[-lines:]])

    def _pid_file(self, host: Host, process: str) -> Path:
        return self._layout.run_of(host) / f"{process}.pid"

    def _killed_file(self, host: Host, process: str) -> Path:
        return self._layout.run_of(host) / f"{process}.killed"


def wait_for_end(processes: Sequence[Identity], *, timeout_s: float) -> None:
    """Wait until all of these are gone.

    Raises:
        LabError: one is still there after `timeout_s`.
    """
    until(
        lambda: not any(map(is_alive, processes)),
        f"the end of {len(processes)} killed processes",
        timeout_s=timeout_s,
        interval_s=0.01,
    )
