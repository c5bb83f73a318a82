"""Small whole files that a node process leaves for others, or for its next life."""

from pathlib import Path
from typing import Protocol

from wherry.host.thread import HostError
from wherry.process.files import atomic_write


class File(Protocol):
    """One file that is read and replaced as a whole."""

    def load(self) -> bytes | None:
        """Return the content, or None where there is none to read."""
        ...

    def save(self, data: bytes) -> None:
        """Replace the content, all or nothing.

        Raises:
            HostError: it cannot be written.
        """
        ...


class MemoryFile:
    """A file that lives as long as this object: tests and the simulated world."""

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data

    def load(self) -> bytes | None:
        """Return the content."""
        return self.data

    def save(self, data: bytes) -> None:
        """Keep `data`."""
        self.data = data


class DiskFile:
    """A file replaced by rename: a crash, and a reader, meet the old content or the new."""

    def __init__(self, path: Path, *, mode: int = 0o600) -> None:
        self.path = path
        self._mode = mode

    def load(self) -> bytes | None:
        """Return the content; what cannot be read counts as none, for it is only a cache."""
        try:
            return self.path.read_bytes()
        except OSError:
            return None

    def save(self, data: bytes) -> None:
        """Write beside the file, sync, rename; makes the directory where it is missing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path, data, mode=self._mode)
        except OSError as error:
            raise HostError(f"cannot write {self.path}: {error.strerror}") from error
