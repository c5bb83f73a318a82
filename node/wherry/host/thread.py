"""One thread inside the network namespace of a host.

A Linux thread can be in another network namespace than its process. Everything that belongs
to a host (netlink, iptables, /proc/sys/net, sockets bound to its addresses) is done in such
a thread, so that a process normally works on the host that it was started on, and a test, or
one process for many hosts, names another one. Sockets keep the namespace that they were made
in and may be used from the event loop's thread afterwards.

It is also the one place where blocking calls are made: pyroute2's synchronous API and
`iptables-restore` take milliseconds to seconds.
"""

import asyncio
import logging
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from pyroute2 import netns as pyroute2_netns

from wherry.api.errors import WherryError

logging.getLogger("pyroute2").setLevel(logging.WARNING)  # its debug log is every message
P = ParamSpec("P")
R = TypeVar("R")


class HostError(WherryError):
    """The kernel or a program of the host refused an operation; retried by the next pass."""


class HostThread:
    """Runs functions, one at a time, in the network namespace `netns` ("" for our own)."""

    def __init__(self, netns: str = "") -> None:
        enter = (lambda: pyroute2_netns.setns(netns)) if netns else None
        self._executor = ThreadPoolExecutor(1, "host", initializer=enter)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in the thread; a cancelled caller does not interrupt it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    async def run(self, command: Sequence[str], *, stdin: str = "", timeout_s: float = 60) -> str:
        """Run a program to its end and return its standard output.

        Raises:
            HostError: it is missing, fails, or takes longer than `timeout_s`.
        """
        return await self.call(_run, command, stdin, timeout_s)

    async def write_sysctl(self, name: str, value: str) -> None:
        """Set `net/ipv4/ip_forward` or the like.

        Raises:
            HostError: the kernel has no such setting or refuses the value.
        """
        await self.call(_write_sysctl, name, value)

    def close(self) -> None:
        """Wait for the call under way, if any, and end the thread."""
        self._executor.shutdown()


def _run(command: Sequence[str], stdin: str, timeout_s: float) -> str:
    try:
        done = subprocess.run(  # noqa: S603  a fixed program, and no shell
            command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise HostError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _write_sysctl(name: str, value: str) -> None:
    path = Path("/proc/sys") / name
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        raise HostError(f"sysctl {name}={value}: {error.strerror}") from error
