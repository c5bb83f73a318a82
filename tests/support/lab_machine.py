"""A machine to provision: a namespace host with its own files where provisioning writes.

It has its own network, mount and process namespaces. Killing its first process ends
everything in it, containers included, and with the last process its mounts are gone too.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab_cluster import call, until

OWN = (
    "etc/containerd",
    "etc/cni",
    "run/containerd",
    "run/netns",
    "var/lib/cni",
    "var/lib/containerd",
    "var/lib/wherry",
)
"""Directories of which every machine has its own."""


@dataclass(frozen=True)
class Machine:
    """A running machine; `pid` is its first process, seen from outside."""

    pid: int
    files: Path

    def run(
        self, *command: str | Path, env: dict[str, str] | None = None, timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on it, to its end."""
        inside = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--"]
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        return call([*inside, "env", *settings, *command], timeout_s=timeout_s)

    def path(self, path: str) -> Path:
        """Where one of the machine's own files is, seen from outside."""
        return self.files / path.lstrip("/")


@contextlib.contextmanager
def running_machine(netns: str, files: Path) -> Iterator[Machine]:
    """Boot a machine in a network namespace; switched off at the end of the block."""
    for directory in OWN:
        (files / directory).mkdir(parents=True)
    mounts = " && ".join(
        f"mkdir -p /{directory} && mount --bind {files / directory} /{directory}"
        for directory in OWN
    )
    # The first process must not be a program that forgets its orphans: a shell reaps them.
    script = f"{mounts} && touch {files}/booted && while sleep 1000; do :; done"
    with subprocess.Popen(
        [
            *("nsenter", f"--net=/run/netns/{netns}", "--"),
            *("unshare", "--mount", "--propagation=private", "--pid", "--fork"),
            *("--kill-child=KILL", "--mount-proc", "bash", "-c", script),
        ],
        stdin=subprocess.DEVNULL,
    ) as outer:
        try:
            until((files / "booted").exists, "the machine's boot", timeout_s=60)
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
            machine = Machine(int(children[0]), files)
            try:
                yield machine
            finally:
                os.kill(machine.pid, signal.SIGKILL)  # and with it everything inside
                outer.wait(timeout=60)
        finally:
            outer.kill()
