"""Certificates and their keys on disk, replaced so that a crash at any line leaves a usable pair.

    NAME.key.next    made first: the key of the certificate that is being asked for
    NAME.crt.next    the certificate, when it came
    NAME.key         then both take the places of the old ones,
    NAME.crt         the key first

`settle` finishes what was interrupted; it is called before a pair is used or renewed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from wherry.pki.certificates import create_key, names
from wherry.pki.request import belongs, signed_by
from wherry.pki.subject import Subject
from wherry.process.files import atomic_write, sync_directory

PRIVATE = 0o600


class Write(Protocol):
    """`wherry.process.files.atomic_write`."""

    def __call__(self, path: Path, data: bytes, *, mode: int = 0o644) -> None:
        """Replace a file as a whole."""
        ...


class Pairs:
    """The pairs in one directory.

    Args:
        directory: Where they are; it is made with the first file.
        write: Writes a file.
        rename: Gives a file its final name.
    """

    def __init__(
        self,
        directory: Path,
        *,
        write: Write = atomic_write,
        rename: Callable[[Path, Path], object] = Path.replace,
    ) -> None:
        self.directory = directory
        self._write = write
        self._rename = rename

    def path(self, name: str, end: str) -> Path:
        """Return the path of NAME.END."""
        return self.directory / f"{name}.{end}"

    def read(self, name: str, end: str = "crt") -> bytes:
        """Return a file's content, b"" where it is not there."""
        try:
            return self.path(name, end).read_bytes()
        except FileNotFoundError:
            return b""

    def good(self, name: str, subject: Subject, ca: bytes, *, now_s: float) -> bool:
        """Tell whether there is a pair that says what `subject` does and can be used now."""
        certificate = self.read(name)
        return (
            bool(certificate)
            and belongs(certificate, self.read(name, "key"))
            and signed_by(certificate, ca, now_s=now_s)
            and names(certificate, subject, now_s=now_s, left_days=0)
        )

    def next_key(self, name: str) -> bytes:
        """Return the key to ask for a certificate with; the same one until it came."""
        key = self.read(name, "key.next")
        if not key:
            key = create_key()
            self._write(self.path(name, "key.next"), key, mode=PRIVATE)
        return key

    def install(self, name: str, certificate: bytes) -> None:
        """Put the certificate that came for `next_key` in place, with its key."""
        self._write(self.path(name, "crt.next"), certificate)
        self.settle(name)

    def settle(self, name: str) -> None:
        """Finish an interrupted `install`; do nothing where there was none."""
        certificate = self.read(name, "crt.next")
        if not certificate:
            return
        if belongs(certificate, self.read(name, "key.next")):
            self._rename(self.path(name, "key.next"), self.path(name, "key"))
        if belongs(certificate, self.read(name, "key")):
            self._rename(self.path(name, "crt.next"), self.path(name, "crt"))
        else:
            self.path(name, "crt.next").unlink(missing_ok=True)
        sync_directory(self.directory)
