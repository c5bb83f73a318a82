"""A lab for tests: driven by scripts/lab and stock kubectl only, as a user would."""

import contextlib
import json
import os
import pty
import secrets
import select
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
LAB = ROOT / "scripts" / "lab"
UP_S = 900
CALL_S = 300

T = TypeVar("T")


def call(
    command: Sequence[str | Path], *, timeout_s: float = CALL_S, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is."""
    return subprocess.run(
        [str(part) for part in command],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def until(condition: Callable[[], T | None], what: str, *, timeout_s: float = 180) -> T:
    """Wait for a condition with a deadline."""
    deadline = time.perf_counter() + timeout_s
    while not (result := condition()):
        assert time.perf_counter() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.2)
    return result


def get(url: str, *, timeout_s: float = 30) -> str | None:
    """The body of a GET, None if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, OSError):
        return None


@dataclass(frozen=True)
class Lab:
    """A running lab."""

    name: str

    def __call__(self, *arguments: str | Path, timeout_s: float = CALL_S) -> str:
        """Run scripts/lab; it must succeed. Returns what it printed."""
        done = self.attempt(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, f"lab {arguments}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(
        self, *arguments: str | Path, timeout_s: float = CALL_S
    ) -> subprocess.CompletedProcess[str]:
        """Run scripts/lab; `--name` goes after the subcommand."""
        return call([LAB, arguments[0], "--name", self.name, *arguments[1:]], timeout_s=timeout_s)

    def chaos(self, experiment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run scripts/chaos/EXPERIMENT."""
        script = ROOT / "scripts" / "chaos" / experiment
        return call([script, "--name", self.name, *arguments], timeout_s=1800)

    @property
    def kubeconfig(self) -> str:
        """The path of the kubeconfig."""
        return self("kubeconfig").strip()


@contextlib.contextmanager
def running_lab(*arguments: str) -> Iterator[tuple[Lab, str]]:
    """A lab of its own name with what `up` printed; removed at the end, whatever happened."""
    lab = Lab(f"t{secrets.token_hex(3)}")
    try:
        printed = lab("up", *arguments, timeout_s=UP_S)
        yield lab, printed
    finally:
        done = lab.attempt("down")
        assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Kubectl:
    """One kubectl build in one namespace of a lab."""

    program: Path
    kubeconfig: str
    namespace: str

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        flags = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        return [str(self.program), *flags, *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_s: float = CALL_S) -> str:
        """Run it; it must succeed. Returns what it printed."""
        done = call(self.command(*arguments), stdin=stdin, timeout_s=timeout_s)
        assert done.returncode == 0, f"kubectl {arguments}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def printed(self, *arguments: str) -> str:
        """Run it, whatever comes of it; returns what it printed: for what may fail at first."""
        return call(self.command(*arguments)).stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it; it must fail. Returns what it said."""
        done = call(self.command(*arguments), stdin=stdin)
        assert done.returncode != 0, f"kubectl {arguments} succeeded:\n{done.stdout}"
        return done.stderr

    def json(self, *arguments: str) -> Any:
        """`get ... -o json`, decoded."""
        return json.loads(self("get", *arguments, "-o", "json"))

    @contextlib.contextmanager
    def following(self, *arguments: str) -> Iterator["Lines"]:
        """Run it in the background and read its lines as they come; ended with the block."""
        with subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            try:
                yield Lines(process.stdout.fileno())
            finally:
                process.kill()

    def in_terminal(self, *arguments: str, typed: str, timeout_s: float = 180) -> str:
        """Run it on a terminal of its own, type into it, return all that the screen showed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(self.program, self.command(*arguments))  # noqa: S606
        try:
            return _screen(terminal, typed, timeout_s)
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)


def _screen(terminal: int, typed: str, timeout_s: float) -> str:
    shown = b""
    deadline = time.perf_counter() + timeout_s
    while (left := deadline - time.perf_counter()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            break
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        shown += data
        if typed:  # the shell has said something: it is ready to read
            os.write(terminal, typed.encode())
            typed = ""
    return shown.decode(errors="replace")


class Lines:
    """Lines from a pipe, with a deadline."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._text = ""

    def wait_for(self, part: str, *, timeout_s: float = 180) -> str:
        """The first line that contains `part`."""
        deadline = time.perf_counter() + timeout_s
        while True:
            for line in self._text.splitlines():
                if part in line and self._text.partition(line)[2].startswith(("\n", "\r")):
                    return line
            left = deadline - time.perf_counter()
            ready = select.select([self._fd], [], [], max(left, 0))[0]
            data = os.read(self._fd, 4096) if ready else b""
            assert data, f"no line with {part!r} in:\n{self._text}"
            self._text += data.decode(errors="replace")
