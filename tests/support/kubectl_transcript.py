"""Transcripts of kubectl sessions: what is typed, and what must be printed.

    $ run web --image=nginx
    pod/web created
    $ get pod web                                 # until
    NAME   READY   STATUS    RESTARTS   AGE
    web    1/1     Running   0          *
    $ get pod none                                # exit 1
    ! Error from server (NotFound): pods "none" not found
    $ wait --for=create pod/web                   # 1.31+

A line after a command is looked for in what it printed, in order; other lines may stand between.
Runs of blanks are one blank, `*` stands for anything, a name in braces for a value of the test
(`{node}`). `! ` begins a line of standard error, `~ ` one that must *not* appear in either.
After `#`: `exit N` is the exit code (0), `until` repeats the command until it is so, `1.31+`
and `1.20-1.28` are the builds that it is typed into, `< NAME` what it reads from its standard
input. Builds for which the answer differs have the command twice.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

Version = tuple[int, int]
OLDEST: Final[Version] = (1, 0)
NEWEST: Final[Version] = (9, 99)
_RANGE: Final = re.compile(r"(\d+)\.(\d+)(?:(\+)|-(\d+)\.(\d+))?")


@dataclass(frozen=True)
class Output:
    """What a command did."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass
class Step:
    """One command with what is expected of it."""

    typed: str
    code: int = 0
    until: bool = False
    builds: tuple[Version, Version] = (OLDEST, NEWEST)
    stdin: str = ""
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> list[str]:
        """The words after `kubectl`."""
        return shlex.split(self.typed)

    def missing(self, output: Output) -> str:
        """Return what is wrong with the output, "" if nothing is."""
        if output.code != self.code:
            return f"the exit code is {output.code}, not {self.code}"
        for expected, written in ((self.out, output.out), (self.err, output.err)):
            if (line := _first_missing(expected, written)) is not None:
                return f"no line {line!r}"
        both = f"{output.out}\n{output.err}"
        for line in self.absent:
            if _first_missing([line], both) is None:
                return f"there is a line {line!r}"
        return ""


def parse(text: str, values: Mapping[str, str] | None = None) -> Iterator[Step]:
    """Read a transcript.

    Raises:
        ValueError: a line cannot be read.
    """
    step: Step | None = None
    for raw in text.strip("\n").splitlines():
        line = raw.strip()
        for name, value in (values or {}).items():
            line = line.replace(f"{{{name}}}", value)
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = _step(line[2:])
        elif line and step is None:
            raise ValueError(f"{line!r} comes before any command")
        elif line and step is not None:
            mark, rest = line[:2], line[2:]
            {"! ": step.err, "~ ": step.absent}.get(mark, step.out).append(
                rest if mark in ("! ", "~ ") else line
            )
    if step is not None:
        yield step


def _step(line: str) -> Step:
    typed, _, notes = line.partition(" # ")
    step = Step(typed.strip())
    for note in filter(None, (n.strip() for n in notes.split(","))):
        if note.startswith("exit "):
            step.code = int(note.removeprefix("exit "))
        elif note == "until":
            step.until = True
        elif note.startswith("< "):
            step.stdin = note.removeprefix("< ")
        else:
            step.builds = _builds(note)
    return step


def _builds(note: str) -> tuple[Version, Version]:
    match = _RANGE.fullmatch(note)
    if match is None:
        raise ValueError(f"cannot read the note {note!r}")
    first = (int(match[1]), int(match[2]))
    if match[3]:
        return first, NEWEST
    return first, (int(match[4]), int(match[5])) if match[4] else first


def _first_missing(expected: list[str], written: str) -> str | None:
    lines = iter([" ".join(line.split()) for line in written.splitlines()])
    for line in expected:
        pattern = re.compile(".*".join(map(re.escape, " ".join(line.split()).split("*"))))
        if not any(pattern.fullmatch(found) for found in lines):
            return line
    return None
