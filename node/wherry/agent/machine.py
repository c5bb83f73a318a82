"""Facts about the machine that a Node object tells: size, versions, disk.

`LinuxMachine` reads them; `HollowMachine` makes them up, the same for every hollow node.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wherry.agent.runtime_config import DnsSettings


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What does not change while the machine is up."""

    cpu_millicores: int
    memory_bytes: int
    disk_bytes: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel_version: str
    os_image: str
    architecture: str
    operating_system: str = "linux"


@dataclass(frozen=True, slots=True)
class Pressure:
    """What is left; shares are 0.0 to 1.0."""

    memory_available_bytes: int
    disk_used_share: float
    pids_available: int


class Machine(Protocol):
    """Where the agent runs."""

    def info(self) -> MachineInfo:
        """Return its facts."""
        ...

    def pressure(self) -> Pressure:
        """Return what is left now."""
        ...

    def cpu_usage_ns(self) -> int | None:
        """Return the cpu time used since the machine is up; None: that of its containers counts."""
        ...

    def dns(self) -> DnsSettings:
        """Return the machine's own resolver settings."""
        ...


class HollowMachine:
    """A machine of any size, with nothing in it."""

    def __init__(self, cpus: int = 32, memory_bytes: int = 64 << 30) -> None:
        self._info = MachineInfo(
            cpu_millicores=cpus * 1000,
            memory_bytes=memory_bytes,
            disk_bytes=1 << 40,
            machine_id="hollow",
            system_uuid="hollow",
            boot_id="hollow",
            kernel_version="0.0.0-hollow",
            os_image="Wherry hollow node",
            architecture="amd64",
        )

    def info(self) -> MachineInfo:
        """Return its facts."""
        return self._info

    def pressure(self) -> Pressure:
        """Return that everything is left."""
        return Pressure(self._info.memory_bytes, 0.0, 1 << 15)

    def cpu_usage_ns(self) -> int | None:
        """Return None: there is nothing but containers."""
        return None

    def dns(self) -> DnsSettings:
        """Return no settings."""
        return DnsSettings()


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class LinuxMachine:
    """This machine.

    Args:
        root: A path on the file system whose space counts.
        resolv_conf: Where the node's resolver settings are.
    """

    def __init__(self, root: Path, resolv_conf: Path = Path("/etc/resolv.conf")) -> None:
        self._root = root
        self._resolv_conf = resolv_conf

    def info(self) -> MachineInfo:
        """Read its facts."""
        uname = os.uname()
        return MachineInfo(
            cpu_millicores=(os.cpu_count() or 1) * 1000,
            memory_bytes=_meminfo("MemTotal"),
            disk_bytes=shutil.disk_usage(self._root).total,
            machine_id=_text("/etc/machine-id"),
            system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
            boot_id=_text("/proc/sys/kernel/random/boot_id"),
            kernel_version=uname.release,
            os_image=_os_image(),
            architecture=_ARCHITECTURES.get(uname.machine, uname.machine),
        )

    def pressure(self) -> Pressure:
        """Read what is left."""
        disk = shutil.disk_usage(self._root)
        running = sum(p.name.isdigit() for p in Path("/proc").iterdir())
        most = int(_text("/proc/sys/kernel/pid_max") or "32768")
        return Pressure(_meminfo("MemAvailable"), disk.used / disk.total, most - running)

    def cpu_usage_ns(self) -> int | None:
        """Read /proc/stat: all that is not idle."""
        return cpu_ns_of_stat(_text("/proc/stat"), os.sysconf("SC_CLK_TCK"))

    def dns(self) -> DnsSettings:
        """Read resolv.conf."""
        try:
            return parse_resolv_conf(self._resolv_conf.read_text())
        except OSError:
            return DnsSettings()


def cpu_ns_of_stat(text: str, ticks_per_s: int) -> int | None:
    """Return the busy time in the first line of /proc/stat, None where it is not as expected.

    user nice system idle iowait irq softirq steal; a guest's time is in user's already.
    """
    words = text.partition("\n")[0].split()
    if words[:1] != ["cpu"] or len(words) < 9:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    return (user + nice + system + irq + softirq + steal) * 1_000_000_000 // ticks_per_s


def parse_resolv_conf(text: str) -> DnsSettings:
    """Read a resolv.conf; the last `search` counts."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        match words[:1]:
            case ["nameserver"] if len(words) > 1:
                servers.append(words[1])
            case ["search"]:
                searches = tuple(words[1:])
            case ["options"]:
                options += words[1:]
            case _:
                pass
    return DnsSettings(tuple(servers), searches, tuple(options))


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _meminfo(name: str) -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"
