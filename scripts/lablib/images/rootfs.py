"""A file system tree in memory: laid over by Debian packages, written out as an image layer.

Nothing here touches the disk or the clock: the same packages give the same bytes, and so the
same digest, on every machine.
"""

import io
import stat
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

USR_MERGED: Final = ("bin", "lib", "lib32", "lib64", "sbin")
"""Debian 12 has these as links into usr/; its packages still name files by the old paths."""

LEFT_OUT: Final = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/menu",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/audit",
    "usr/lib/python3.11/test",
    "usr/lib/python3.11/idlelib",
    "etc/init.d",
    "etc/logrotate.d",
    "usr/lib/systemd",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or link; `mode` holds the permission bits only."""

    kind: bytes
    mode: int = 0o755
    data: bytes = b""
    target: str = ""


@dataclass(slots=True)
class Rootfs:
    """Paths (relative, no leading slash) and what is there."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and its parents; one that is there keeps its mode."""
        parent = str(PurePosixPath(path).parent)
        if parent != ".":
            self.directory(parent)
        self.entries.setdefault(path, Entry(tarfile.DIRTYPE, mode))

    def file(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file, over whatever is there."""
        self._add(
            path, Entry(tarfile.REGTYPE, mode, data.encode() if isinstance(data, str) else data)
        )

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, unless something is there."""
        if path not in self.entries:
            self._add(path, Entry(tarfile.SYMTYPE, 0o777, target=target))

    def unpack(self, archive: bytes) -> None:
        """Lay a package's file system (a tar archive) over this tree."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                path = _merged(member.name)
                if path is None:
                    continue
                mode = stat.S_IMODE(member.mode)
                if member.isdir():
                    self.directory(path, mode)
                elif member.isfile():
                    content = tar.extractfile(member)
                    self.file(path, content.read() if content else b"", mode)
                elif member.issym():
                    self._add(path, Entry(tarfile.SYMTYPE, 0o777, target=member.linkname))
                elif member.islnk():
                    target = _merged(member.linkname)
                    if target is not None and target in self.entries:
                        self._add(path, replace(self.entries[target]))

    def pack(self) -> bytes:
        """The tree as an uncompressed tar: sorted, owned by root, at the beginning of time."""
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path in sorted(self.entries):
                entry = self.entries[path]
                info = tarfile.TarInfo(path)
                info.type, info.mode, info.linkname = entry.kind, entry.mode, entry.target
                info.size = len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
        return output.getvalue()

    def _add(self, path: str, entry: Entry) -> None:
        parent = str(PurePosixPath(path).parent)
        if parent != ".":
            self.directory(parent)
        self.entries[path] = entry


def _merged(name: str) -> str | None:
    """The path in a merged-/usr tree; None for what images do not need."""
    path = name.removeprefix("./").strip("/")
    if path in ("", "."):
        return None
    if path.split("/", 1)[0] in USR_MERGED:
        path = f"usr/{path}"
    if any(path == out or path.startswith(f"{out}/") for out in LEFT_OUT):
        return None
    return path
