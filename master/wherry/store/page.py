"""The newest revision, where processes of the same machine see it without asking.

A store that is its cluster's only voter need not ask anybody what was acknowledged last: it
was it. It writes the revision into a page of memory, a file beside its socket, *before*
whoever made a change hears of it. An API server on the same machine looks there.

      0    8    who writes: its process id
      8    8    the revision; 0: it has to be asked

That is linearizable (ADR 9) because a reader looks at the page after the question arose, and
only while the connection to the very process that writes it is open and quiet: a store that
died has closed it, and until then no other had its place.
"""

import contextlib
import mmap
import os
import select
import socket
import struct
from pathlib import Path
from typing import Final

from wherry.api.errors import ConfigError

_SIZE: Final = mmap.PAGESIZE
_WRITER, _REVISION = 0, 1  # words of eight bytes, each read and written at once
_PEER: Final = struct.Struct("3i")  # ucred of socket(7): pid, uid, gid


def page_beside(path: str | Path) -> Path:
    """Return where the page of the store with this socket is."""
    return Path(f"{path}.revision")


class RevisionPage:
    """The writer's side; nothing is published at first.

    Raises:
        ConfigError: there cannot be such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.unlink(missing_ok=True)  # who has mapped an old one keeps it
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _SIZE)  # or a full disk would kill the process later
                self._map = mmap.mmap(fd, _SIZE)
            finally:
                os.close(fd)
        except OSError as error:
            raise ConfigError(f"cannot create {path}: {error.strerror}") from error
        self._words = memoryview(self._map).cast("Q")
        self._words[_WRITER] = os.getpid()

    def publish(self, revision: int) -> None:
        """Say that nothing newer was acknowledged; 0: that is not known here."""
        self._words[_REVISION] = revision

    def close(self) -> None:
        """Publish nothing any more."""
        self.publish(0)
        self._words.release()
        self._map.close()
        self._path.unlink(missing_ok=True)


class RevisionView:
    """The reader's side, bound to one connection."""

    def __init__(self, mapped: mmap.mmap, fd: int) -> None:
        self._map = mapped
        self._words = memoryview(mapped).cast("Q")
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLRDHUP)

    def revision(self) -> int:
        """Return the revision; 0 if it has to be asked, or the connection is not quiet."""
        if self._poll.poll(0):
            return 0
        return self._words[_REVISION]

    def close(self) -> None:
        """Let go of page and connection."""
        self._words.release()
        self._map.close()
        os.close(self._fd)


def view_page(path: Path, fd: int) -> RevisionView | None:
    """Return the page of the store that a connected Unix socket leads to, None if it has none."""
    with contextlib.ExitStack() as stack:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, file)
            mapped = mmap.mmap(file, _SIZE, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # none, or an empty file
            return None
        with socket.socket(fileno=os.dup(fd)) as peer:
            told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        if int.from_bytes(mapped[:8], "little") != _PEER.unpack(told)[0]:
            mapped.close()
            return None
        # A descriptor of our own: the number of one that was closed may be another connection's.
        return RevisionView(mapped, os.dup(fd))
