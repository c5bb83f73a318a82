"""The one file that says that a lab exists: /run/wherry/LAB/lab.json.

It is written before the first namespace is made and removed after the last thing is gone,
so whatever a dead run left behind has a file that names it. It carries the kernel's boot
id: after a reboot the namespaces are gone and the file is only a memory.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import msgspec

from lablib.errors import LabError
from lablib.layout import RUN, Layout
from lablib.names import Runtime

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Phase(StrEnum):
    """How far a lab came."""

    STARTING = "starting"
    UP = "up"
    FAILED = "failed"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content."""

    lab: str
    network: str
    masters: int
    nodes: int
    runtime: Runtime
    phase: Phase
    boot: str

    @property
    def layout(self) -> Layout:
        """The lab's layout."""
        network = IPv4Network(self.network)
        return Layout(self.lab, network, self.masters, self.nodes, self.runtime)


def path(lab: str) -> Path:
    """Where the file of that lab is."""
    return RUN / lab / "lab.json"


def boot_id() -> str:
    """The kernel's name for the time since it was booted."""
    return BOOT_ID.read_text().strip()


def write(layout: Layout, phase: Phase) -> None:
    """Say that this lab exists and how far it came."""
    record = Record(
        lab=layout.lab,
        network=str(layout.network),
        masters=layout.masters,
        nodes=layout.nodes,
        runtime=layout.runtime,
        phase=phase,
        boot=boot_id(),
    )
    file = path(layout.lab)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(record))
    new.replace(file)


def read(lab: str) -> Record | None:
    """The record of that lab, None if there is none (or it cannot be read: treated as leftovers)."""
    try:
        return msgspec.json.decode(path(lab).read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return None


def running(lab: str) -> Layout:
    """The layout of a lab that is up, or partly up.

    Raises:
        LabError: there is no such lab.
    """
    record = read(lab)
    if record is None:
        raise LabError(f"no lab {lab!r} is up", f"start it: scripts/lab up --name {lab}")
    if record.boot != boot_id():
        raise LabError(
            f"lab {lab!r} did not survive the reboot of this machine",
            f"start it again: scripts/lab up --name {lab}",
        )
    return record.layout


def labs() -> list[str]:
    """The names of all labs that have a record."""
    return sorted(file.parent.name for file in RUN.glob("*/lab.json"))


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`; others wait (a dead holder frees it)."""
    file = RUN / f".{name}.lock"
    handle = _lock(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # whoever waits for it finds that out and makes a new one
        os.close(handle)


def _lock(file: Path) -> int:
    RUN.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if os.fstat(handle).st_ino == file.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
