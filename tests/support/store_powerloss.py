"""Disks of members that lose power, fill up, or fail: ext4 on loop devices.

What a process wrote and did not sync is in the page cache of its file system, and not in the
file behind the loop device. So a copy of that file, made while the process is stopped, is what
a machine finds on its disk after the power came back; ext4 replays its journal when the copy
is mounted, as it would then.

A disk that *fails* needs no device mapper, which the kernel that tests run on may lack: the
image is sparse, on a tmpfs that is too small for it. The file system above believes that it
has room; its writeback fails, and fdatasync says so.

All of this is undone at the end, whatever happens; `left_behind` proves it.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from netns_lab import sh
from store_process import Processes

IMAGE_BYTES: Final = 300 << 20  # sparse: a log reserves 64 MB for each segment


class Image:
    """One ext4 file system in a file, mounted beside it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.mount = file.with_suffix(".mnt")
        self._device = ""

    def make(self, size: int = IMAGE_BYTES) -> None:
        with self.file.open("wb") as file:
            file.truncate(size)
        sh("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", str(self.file))

    def up(self) -> None:
        """Mount it."""
        self.mount.mkdir(exist_ok=True)
        self._device = sh("losetup", "-f", "--show", str(self.file)).strip()
        sh("mount", self._device, str(self.mount))

    def copy(self, file: Path) -> "Image":
        """Return what the disk holds at this moment, not mounted; the page cache is left out."""
        sh("cp", "--sparse=always", str(self.file), str(file))
        return Image(file)

    def fill(self) -> None:
        """Take all room."""
        with (self.mount / "filler").open("wb") as file:
            size = 0
            for step in (16 << 20, 1 << 20, 1 << 12):
                with contextlib.suppress(OSError):  # full, for pieces of this size
                    while True:
                        os.posix_fallocate(file.fileno(), size, step)
                        size += step

    def free(self) -> None:
        """Give it back."""
        (self.mount / "filler").unlink()

    def down(self) -> None:
        """Unmount it and let the loop device go."""
        if not self._device:
            return
        with contextlib.suppress(AssertionError):  # it was never mounted
            sh("umount", str(self.mount))
        sh("losetup", "-d", self._device)
        self._device = ""


class Disks:
    """A disk of its own for each member of `names`."""

    def __init__(self, processes: Processes, names: tuple[str, ...], directory: Path) -> None:
        self._processes = processes
        self._directory = directory
        self._all: list[Image] = []
        self.images: dict[str, Image] = {}
        for name in names:
            self.images[name] = image = Image(directory / f"{name}.img")
            self._all.append(image)

    def start(self) -> None:
        for name, image in self.images.items():
            image.make()
            self._use(name, image)

    def _use(self, name: str, image: Image) -> None:
        image.up()
        self.images[name] = image
        self._processes.places[name] = image.mount / "data"

    def power_off(self, *names: str) -> None:
        """Stop members, keep what their disks hold at that moment, and kill them."""
        for name in names:
            self._processes.send(name, signal.SIGSTOP)
        copies: dict[str, Image] = {}
        for name in names:
            image = self.images[name]
            copies[name] = image.copy(self._directory / f"{name}-{len(self._all)}.img")
            self._all.append(copies[name])
        for name in names:
            self._processes.kill(name, signal.SIGKILL)
            self.images[name].down()
            self._use(name, copies[name])

    def close(self) -> None:
        for image in self._all:
            image.down()


@contextlib.contextmanager
def disks(processes: Processes, names: tuple[str, ...], directory: Path) -> Iterator[Disks]:
    """Give members disks; end the members inside of the block, or they are killed."""
    made = Disks(processes, names, directory)
    try:
        made.start()
        yield made
    finally:
        for name in names:
            if name in processes.processes:
                processes.kill(name)
        made.close()
        assert not left_behind(directory)


@contextlib.contextmanager
def small_memory_disk(directory: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of so little room."""
    directory.mkdir()
    sh("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory))
    try:
        yield directory
    finally:
        sh("umount", str(directory))


def left_behind(directory: Path) -> list[str]:
    """Return the mounts and loop devices below a directory that still stand.

    The kernel lets a device go when the last who looks at it does: that is waited for.
    """
    deadline = time.perf_counter() + 30
    while (found := _standing(directory)) and time.perf_counter() < deadline:
        time.sleep(0.1)
    return found


def _standing(directory: Path) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    devices = sh("losetup", "--noheadings", "--output", "BACK-FILE").split()
    return [one for one in (*mounts, *devices) if one.startswith(f"{directory}/")]
