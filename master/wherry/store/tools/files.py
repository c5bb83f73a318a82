"""A member's directory, opened for reading only: nothing is created, changed or locked."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherry.api.errors import ConfigError


class ReadOnly:
    """`Reader` on a directory."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ConfigError(f"{path} is no directory")
        self.path = path

    def names(self) -> list[str]:
        """See `Reader`."""
        return sorted(each.name for each in self.path.iterdir() if each.name != "LOCK")

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        """See `Reader`."""
        with (self.path / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def size(self, name: str) -> int:
        """See `Reader`."""
        return (self.path / name).stat().st_size

    def changed_at(self, name: str) -> float:
        """Return when the file was last written, in seconds since 1970."""
        return (self.path / name).stat().st_mtime


def in_use(path: Path) -> bool:
    """Whether a store process has this directory now."""
    try:
        fd = os.open(path / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep every store process from using this directory, which exists, meanwhile.

    Raises:
        ConfigError: one uses it.
    """
    fd = os.open(path / "LOCK", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"{path} is in use by a store process: stop it first") from error
    else:
        yield
    finally:
        os.close(fd)
