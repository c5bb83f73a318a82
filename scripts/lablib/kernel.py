"""Whether this machine can carry a lab: each thing the kernel must do is tried, not guessed."""

import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lablib.errors import LabError
from lablib.shell import attempt, in_netns

MODULES: Final = ("overlay", "br_netfilter", "vxlan", "veth", "bridge", "nf_conntrack")


@dataclass(frozen=True, slots=True)
class Missing:
    """A thing the kernel does not do: its name, what it said, and what needs it."""

    feature: str
    said: str
    needed_for: str


def check() -> None:
    """Make sure of all of them.

    Raises:
        LabError: something is missing; all of it is named.
    """
    if os.geteuid() != 0:
        raise LabError("the lab needs root", "sudo scripts/lab ...")
    if platform.machine() != "x86_64":
        raise LabError(
            f"this machine is {platform.machine()}", "the lab's pause image is made for x86_64 only"
        )
    missing = _missing()
    if missing:
        # Most of them are modules that nobody has asked for yet.
        attempt(["modprobe", "--all", "--quiet", *MODULES])
        missing = _missing()
    if missing:
        raise LabError(
            "the kernel lacks " + ", ".join(m.feature for m in missing),
            f"load these modules or use another kernel: {' '.join(MODULES)}",
            "\n".join(f"{m.feature} (for {m.needed_for}): {m.said}" for m in missing),
        )


def _missing() -> list[Missing]:
    netns = f"wherry-check-{os.getpid()}"
    made = attempt(["ip", "netns", "add", netns])
    if made.returncode != 0:
        return [Missing("network namespaces", made.stderr.strip(), "hosts")]
    try:
        return _missing_in(netns)
    finally:
        attempt(["ip", "netns", "delete", netns])


def _missing_in(netns: str) -> list[Missing]:
    link = ["ip", "-n", netns, "link", "add"]
    probes: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("veth", "cables", lambda: _error([*link, "v0", "type", "veth", "peer", "v1"])),
        ("bridge", "switches", lambda: _error([*link, "b0", "type", "bridge"])),
        (
            "vxlan",
            "the overlay",
            lambda: _error([*link, "x0", "type", "vxlan", "id", "1", "dstport", "8472"]),
        ),
        (
            "iptables",
            "Services",
            lambda: _error(in_netns(netns, ["iptables", "-t", "nat", "-L", "-n"])),
        ),
        ("bridge netfilter", "Services on one node", _bridge_netfilter),
        ("overlayfs", "container images", _overlay),
        ("cgroups", "containers", _cgroups),
    )
    return [
        Missing(feature, said, needed_for)
        for feature, needed_for, probe in probes
        if (said := probe())
    ]


def _error(command: list[str]) -> str:
    done = attempt(command)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")


def _bridge_netfilter() -> str:
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    return "" if switch.exists() else f"{switch} does not exist"


def _cgroups() -> str:
    root = Path("/sys/fs/cgroup")
    v2 = (root / "cgroup.controllers").exists()
    return "" if v2 or (root / "memory").is_dir() else f"no cgroup controllers below {root}"


def _overlay() -> str:
    with tempfile.TemporaryDirectory(prefix="wherry-check-", dir="/var/lib") as name:
        top = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (top / part).mkdir()
        options = f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(top / "merged")]
        said = _error(mount)
        if not said:
            attempt(["umount", str(top / "merged")])
        return said
