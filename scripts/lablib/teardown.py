"""Remove a lab, whole or half-dead: everything that carries its name, whoever left it.

It does not trust the state file. What is there is found by name and by namespace: a process
belongs to the lab if it lives in one of its network namespaces (its hosts' or its pods').
Every part is harmless when there is nothing to remove, and each goes on where a run that
was killed stopped.
"""

import contextlib
import shutil
import signal
import time
from pathlib import Path
from typing import Final

from lablib import containerd, network, processes, state
from lablib.errors import LabError
from lablib.layout import DATA, NETNS, RUN, Layout
from lablib.names import Role
from lablib.shell import attempt
from lablib.waiting import CLOCK

CGROUPS: Final = Path("/sys/fs/cgroup")
KILL_TIMEOUT_S: Final = 60


def leftovers(lab: str) -> list[str]:
    """What of this lab there is, in words; empty if there is nothing."""
    found = [f"namespace {name}" for name in network.namespaces(lab)]
    found += [str(path) for path in (RUN / lab, DATA / lab) if path.exists()]
    found += [f"mount {path}" for path in _mounts(lab)]
    found += [f"cgroup {path}" for path in _cgroups(lab)]
    if (Path("/sys/class/net") / uplink(lab)).exists():
        found.append(f"device {uplink(lab)}")
    return found


def uplink(lab: str) -> str:
    """The name of the lab's device in the root namespace."""
    return f"wry-{lab}"


def destroy(lab: str) -> None:
    """Remove everything.

    Raises:
        LabError: something resists; a second run may succeed.
    """
    _kill(lab)
    record = state.read(lab)
    if record is not None:
        _forget_containers(record.layout)
    network.destroy(lab, uplink(lab))
    for mount in reversed(_mounts(lab)):
        attempt(["umount", "--lazy", str(mount)])
    _remove_cgroups(lab)
    shutil.rmtree(DATA / lab, ignore_errors=True)
    # The state file goes last: while there is something left, it says so.
    shutil.rmtree(RUN / lab, ignore_errors=True)
    remaining = leftovers(lab)
    if remaining:
        raise LabError(
            f"lab {lab!r} could not be removed completely",
            f"run `scripts/lab down --name {lab}` again",
            "\n".join(remaining),
        )


def _kill(lab: str) -> None:
    """Kill every process in the lab's namespaces; killed shims may still fork, so look again."""
    deadline = CLOCK.monotonic() + KILL_TIMEOUT_S
    while victims := processes.in_namespaces(_inodes(lab)):
        for victim in victims:
            processes.send(victim, signal.SIGKILL)
        if CLOCK.monotonic() > deadline:
            pids = " ".join(str(victim.pid) for victim in victims)
            raise LabError(f"processes {pids} of lab {lab!r} do not end")
        time.sleep(0.02)


def _inodes(lab: str) -> frozenset[int]:
    """The lab's network namespaces, its pods' included, by inode."""
    files = [NETNS / name for name in network.namespaces(lab)]
    files += [mount for mount in _mounts(lab) if mount.parent.name == "netns"]
    return frozenset(file.stat().st_ino for file in files if file.exists())


def _forget_containers(layout: Layout) -> None:
    for host in layout.of(Role.NODE):
        for path in containerd.leftovers(layout, host):
            path.unlink(missing_ok=True)


def _mounts(lab: str) -> list[Path]:
    """Mount points below the lab's directories, outermost first."""
    roots = (f"{RUN / lab}/", f"{DATA / lab}/")
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point.startswith(roots):
            found.append(Path(point))
    return found


def _cgroups(lab: str) -> list[Path]:
    tops = (path / "wherry" / lab for path in (CGROUPS, *CGROUPS.glob("*")))
    return [top for top in tops if top.is_dir()]


def _remove_cgroups(lab: str) -> None:
    """Remove the lab's cgroups, innermost first; the kernel needs a moment to see them empty."""
    for top in _cgroups(lab):
        inside = [path for path in top.rglob("*") if path.is_dir()]
        for path in [*sorted(inside, key=lambda p: -len(p.parts)), top]:
            _remove_cgroup(path)
        with contextlib.suppress(OSError):  # another lab is in it
            top.parent.rmdir()


def _remove_cgroup(path: Path) -> None:
    for _ in range(500):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
