"""mount(2) and umount(2), for tmpfs volumes; the one place that calls them."""

import ctypes
import ctypes.util
import os
from pathlib import Path
from typing import Final, Protocol

from wherry.agent.projection import MountError

_NOSUID: Final = 2
_NODEV: Final = 4
_DETACH: Final = 2


class Mounter(Protocol):
    """Mounts tmpfs."""

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        """Mount a tmpfs on `path` unless one is there; size 0 is the kernel's default."""
        ...

    def unmount(self, path: Path) -> None:
        """Unmount `path` if something is mounted there."""
        ...


class LinuxMounter:
    """The kernel's mounts."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        """Mount a tmpfs."""
        path.mkdir(parents=True, exist_ok=True)
        if path.is_mount():
            return
        options = f"size={size_bytes}" if size_bytes else ""
        result = self._libc.mount(
            b"tmpfs", os.fsencode(path), b"tmpfs", _NOSUID | _NODEV, options.encode()
        )
        if result != 0:
            raise MountError(f"mount of tmpfs on {path}: {os.strerror(ctypes.get_errno())}")

    def unmount(self, path: Path) -> None:
        """Unmount, at the latest when the last user is gone."""
        if path.is_mount() and self._libc.umount2(os.fsencode(path), _DETACH) != 0:
            raise MountError(f"umount of {path}: {os.strerror(ctypes.get_errno())}")
