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

The table of commands (`tests/clients/kubectl`) is read with `exact`: the lines are all that is
printed, in both outputs, with their indentation; only blank lines and the width of columns do not
count. What changes from run to run has a name: `<age>`, `<date>`, `<hash>`, `<ip>`, `<n>`
(digits), `<time>`, `<uid>`; `...` stands for any number of lines. `[1.31+] ` before a line is for these
builds alone. Lines that begin with `## ` are comments.
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
_SOME_BUILDS: Final = re.compile(r"\[(1\.\d[^\]\s]*)\] ")
_VARIES: Final = {
    "*": ".*",
    "<age>": r"(?:\d+[smhdy])+",
    "<date>": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000",
    "<hash>": "[a-z0-9]+",
    "<ip>": r"\d+\.\d+\.\d+\.\d+",
    "<n>": r"\d+",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "<uid>": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_VARYING: Final = re.compile("|".join(map(re.escape, _VARIES)))
_ANY_LINES: Final = "..."


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
    exact: bool = False

    @property
    def arguments(self) -> list[str]:
        """The words after `kubectl`."""
        return shlex.split(self.typed)

    def missing(self, output: Output) -> str:
        """Return what is wrong with the output, "" if nothing is."""
        if output.code != self.code:
            return f"the exit code is {output.code}, not {self.code}"
        for expected, written in ((self.out, output.out), (self.err, output.err)):
            if self.exact:
                if difference := _difference(expected, written):
                    return difference
            elif (line := _first_missing(expected, written)) is not None:
                return f"no line {line!r}"
        both = f"{output.out}\n{output.err}"
        for line in self.absent:
            if _first_missing([line], both) is None:
                return f"there is a line {line!r}"
        return ""


def parse(
    text: str, values: Mapping[str, str] | None = None, *, exact_for: Version | None = None
) -> Iterator[Step]:
    """Read a transcript.

    Args:
        text: The transcript.
        values: What stands for the names in braces.
        exact_for: The build that types it, for the table of commands; None reads a loose one.

    Raises:
        ValueError: a line cannot be read.
    """
    step: Step | None = None
    for raw in text.strip("\n").splitlines():
        line = raw.rstrip() if exact_for else raw.strip()
        for name, value in (values or {}).items():
            line = line.replace(f"{{{name}}}", value)
        if exact_for:
            for_me = _for_build(line, exact_for)
            if for_me is None:
                continue
            line = for_me
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = _step(line[2:])
            step.exact = exact_for is not None
        elif line and step is None:
            raise ValueError(f"{line!r} comes before any command")
        elif line and step is not None:
            mark, rest = line[:2], line[2:]
            {"! ": step.err, "~ ": step.absent}.get(mark, step.out).append(
                rest if mark in ("! ", "~ ") else line
            )
    if step is not None:
        yield step


def _for_build(line: str, build: Version) -> str | None:
    """Return a line of the table without its mark, None for comments and other builds' lines."""
    if line == "##" or line.startswith("## "):
        return None
    match = _SOME_BUILDS.match(line)
    if match is None:
        return line
    first, last = _builds(match[1])
    return line[match.end() :] if first <= build <= last else None


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
        pattern = _pattern(" ".join(line.split()))
        if not any(pattern.fullmatch(found) for found in lines):
            return line
    return None


def _pattern(line: str) -> re.Pattern[str]:
    fixed = map(re.escape, _VARYING.split(line))
    varying = [_VARIES[name] for name in _VARYING.findall(line)] + [""]
    return re.compile("".join(a + b for a, b in zip(fixed, varying, strict=True)))


def _columns(line: str) -> str:
    """Return a line with its indentation, and one blank between its words."""
    return line[: len(line) - len(line.lstrip())] + " ".join(line.split())


def _difference(expected: list[str], written: str) -> str:
    """Return where the output is not what is expected, "" if it is, to the last line."""
    lines = [_columns(line) for line in written.splitlines() if line.strip()]
    at, skip = 0, False
    for line in expected:
        if line == _ANY_LINES:
            skip = True
            continue
        pattern = _pattern(_columns(line))
        found = (n for n in range(at, len(lines)) if pattern.fullmatch(lines[n]))
        place = next(found, None) if skip else at
        if place is None or place >= len(lines) or not pattern.fullmatch(lines[place]):
            printed = repr(lines[at]) if at < len(lines) else "nothing more"
            return f"line {at + 1} should be {line!r} but is {printed}"
        at, skip = place + 1, False
    return "" if skip or at == len(lines) else f"there is a line {lines[at]!r} too many"
