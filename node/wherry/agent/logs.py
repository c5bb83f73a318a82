"""Container log files as containerd writes them: read, follow, rotate.

A line is `2026-01-01T00:00:00.000000000Z stdout F text`; tag P marks a part of a line that goes
on in the next record. One file an attempt, `<container>/<attempt>.log`; a rotated one is
renamed to `<attempt>.log.<date>`, the runtime is told to reopen, and five are kept.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherry.api.times import parse_time

POLL_S: Final = 0.2
"""How often a followed file is looked at; an inode that changed means: rotated."""
CHUNK: Final = 64 * 1024
MOST_LOG_BYTES: Final = 10 * 1024 * 1024
MOST_LOG_FILES: Final = 5


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is wanted; -1 means all."""

    follow: bool = False
    tail_lines: int = -1
    since: float = 0.0
    timestamps: bool = False
    limit_bytes: int = -1
    stream: str = ""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of the file: time as written, stream, whether the line ends here, text."""

    time: bytes
    stream: bytes
    full: bool
    text: bytes


def parse_record(line: bytes) -> LogRecord | None:
    """Read one record; None if it is not one (a file cut short by a crash)."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    return LogRecord(parts[0], parts[1], parts[2] == b"F", parts[3])


def format_record(record: LogRecord, *, timestamps: bool, begins: bool = True) -> bytes:
    """Return what a client sees of a record; a time only where a line begins."""
    stamp = record.time + b" " if timestamps and begins else b""
    return stamp + record.text + (b"\n" if record.full else b"")


def tail_offset(path: Path, lines: int) -> int:
    """Return where the last `lines` lines of a file begin, reading it from its end.

    Parts of one line (tag P) count as one.
    """
    if lines < 0:
        return 0
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        end = position = file.tell()
        if lines == 0:
            return end
        found = 0
        rest = b""
        while position > 0:
            step = min(CHUNK, position)
            position -= step
            file.seek(position)
            block = file.read(step) + rest
            pieces = block.split(b"\n")
            rest = pieces[0]
            offset = position + len(block)
            for piece in reversed(pieces[1:]):
                offset -= len(piece)
                if piece and (record := parse_record(piece)) is not None and record.full:
                    found += 1
                    if found > lines:
                        return offset + len(piece) + 1
                offset -= 1
        first = parse_record(rest)
        if first is not None and first.full and found >= lines:
            return len(rest) + 1
        return 0


def rotated(path: Path) -> list[Path]:
    """Return the files rotated from `path`, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.*"))


def read_lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    """Return the whole lines from `offset`, at most a chunk's worth, and where they end."""
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(CHUNK)
        end = block.rfind(b"\n")
        if end < 0 and len(block) == CHUNK:
            block += file.readline()
            end = len(block) - 1
    return block[: end + 1].splitlines(keepends=True), offset + end + 1


def tail_of_log(path: Path, lines: int, limit_bytes: int) -> str:
    """Return the end of a log as text: at most so many lines and bytes."""
    try:
        offset = tail_offset(path, lines)
        found, offset = read_lines(path, offset)
        text = b"".join(
            format_record(r, timestamps=False) for line in found if (r := parse_record(line))
        )
    except OSError:
        return ""
    return text[-limit_bytes:].decode(errors="replace")


class _Selection:
    """Turns records into output by the options, and counts the bytes."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._open: set[bytes] = set()

    @property
    def full(self) -> bool:
        """Tell whether limitBytes is used up."""
        return self._left == 0

    def take(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in lines:
            record = parse_record(line)
            if record is None or self.full or not self._wanted(record):
                continue
            begins = record.stream not in self._open
            (self._open.discard if record.full else self._open.add)(record.stream)
            text = format_record(record, timestamps=self._options.timestamps, begins=begins)
            if self._left >= 0:
                text = text[: self._left]
                self._left -= len(text)
            yield text

    def _wanted(self, record: LogRecord) -> bool:
        if self._options.stream and record.stream.decode() != self._options.stream:
            return False
        return not self._options.since or _at(record) >= self._options.since


def select(lines: list[bytes], options: LogOptions) -> tuple[bytes, bool]:
    """Return what is wanted of a log in memory, and whether limitBytes is used up by it."""
    tail = lines if options.tail_lines < 0 else lines[max(len(lines) - options.tail_lines, 0) :]
    selection = _Selection(options)
    return b"".join(selection.take(tail)), selection.full


def _at(record: LogRecord) -> float:
    try:
        return parse_time(record.time.decode())
    except ValueError:
        return 0.0


async def read_log(
    path: Path, options: LogOptions, running: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """Yield a log; with `follow` until the container has ended and all is read.

    Args:
        path: The current file.
        options: What is wanted.
        running: Tells whether the container may still write.

    Raises:
        FileNotFoundError: there is no such log.
    """
    selection = _Selection(options)
    files = [path] if options.tail_lines >= 0 else [*rotated(path), path]
    offset = await asyncio.to_thread(tail_offset, path, options.tail_lines)
    for file in files[:-1]:
        position = 0
        while True:
            lines, after = await asyncio.to_thread(read_lines, file, position)
            if after == position:
                break
            position = after
            for text in selection.take(lines):
                yield text
    inode = _inode(path)
    while not selection.full:
        alive = await running() if options.follow else False
        lines, offset = await asyncio.to_thread(read_lines, path, offset)
        block = b"".join(selection.take(lines))
        if block:
            yield block
        if lines:
            continue
        current = _inode(path)
        if current not in (0, inode):  # rotated: go on at the start of the new file
            inode, offset = current, 0
        elif not alive:
            return
        else:
            await asyncio.sleep(POLL_S)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:  # between rename and reopen
        return 0


def due_for_rotation(path: Path) -> bool:
    """Tell whether a log has outgrown its bound."""
    try:
        return path.stat().st_size > MOST_LOG_BYTES
    except OSError:
        return False


def rotate(path: Path, stamp: str) -> None:
    """Rename a log away and delete the oldest beyond what is kept; then have it reopened."""
    path.rename(path.with_name(f"{path.name}.{stamp}"))
    for old in rotated(path)[: -(MOST_LOG_FILES - 1)]:
        old.unlink(missing_ok=True)
