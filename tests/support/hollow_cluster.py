"""A whole hollow cluster for tests: `wherry up --runtime hollow --ephemeral`, as a user starts it.

Real processes on real sockets of the loopback, in memory, three hollow nodes, ready in about
two seconds. One is started for each test session (xdist: for each worker) and shared; tests keep
apart by namespaces.
"""

import contextlib
import json
import random
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ports import claim_row

from wherry.cli.plan import PORTS, ports_from

NODES: Final = 3
UP_S: Final = 180.0
DOWN_S: Final = 180.0
READY: Final = "the cluster is ready at"
BUSY: Final = "is another cluster running here?"
_ATTEMPTS: Final = 5
_LOG_TAIL: Final = 40

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, *, timeout_s: float = 180) -> T:
    """Return the condition's first true value; wait for it with a deadline."""
    deadline = time.perf_counter() + timeout_s
    while not (result := condition()):
        assert time.perf_counter() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.05)
    return result


@dataclass(frozen=True)
class HollowCluster:
    """A running cluster: where its files are and where it listens."""

    directory: Path
    first_port: int
    pid: int

    @property
    def ports(self) -> dict[str, int]:
        """Ports by name, as in `wherry.cli.plan.PORTS`."""
        return ports_from(self.first_port)

    @property
    def server(self) -> str:
        """The URL of the REST door."""
        return f"https://127.0.0.1:{self.ports['secure']}"

    @property
    def grpc(self) -> str:
        """HOST:PORT of the gRPC door."""
        return f"127.0.0.1:{self.ports['grpc']}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "admin.kubeconfig"

    def pki(self, name: str) -> Path:
        """Return a file of the cluster's PKI: `admin.crt`."""
        return self.directory / "pki" / name

    def tls(self, user: str | None = "admin") -> ssl.SSLContext:
        """Return a client's context: of an identity of the cluster, or None: of nobody."""
        context = ssl.create_default_context(cafile=str(self.pki("ca.crt")))
        if user is not None:
            context.load_cert_chain(self.pki(f"{user}.crt"), self.pki(f"{user}.key"))
        return context

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        user: str | None = "admin",
    ) -> tuple[int, Any]:
        """Send one plain HTTP request and return the status and the decoded JSON.

        `body` may be bytes, sent as they are; anything else is sent as JSON.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, method=method)  # noqa: S310
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.tls(user)) as answer:  # noqa: S310
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def metrics(self, process: str) -> str:
        """Return a process's /metrics."""
        url = f"http://127.0.0.1:{self.ports[f'{process}-health']}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            text: str = answer.read().decode()
            return text

    def logs(self) -> dict[str, str]:
        """Return the end of each process's log, by file name."""
        files = [self.directory / "up.log", *sorted((self.directory / "logs").glob("*.log"))]
        return {f.name: _tail(f) for f in files if f.exists()}


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-_LOG_TAIL:])


def first_port(rng: random.Random | None = None) -> int:
    """Return the first of as many consecutive free ports as a cluster needs."""
    return claim_row(len(PORTS), rng=rng)


def command(directory: Path, first_port: int, *more: str) -> list[str]:
    """Return the command line after `wherry`."""
    flags = ["--runtime", "hollow", "--nodes", str(NODES), "--ephemeral"]
    return ["up", *flags, "--data-dir", str(directory), "--ports-from", str(first_port), *more]


@contextlib.contextmanager
def hollow_cluster(
    directory: Path,
    *more: str,
    python: Sequence[str] = (sys.executable,),
    environment: Mapping[str, str] | None = None,
) -> Iterator[HollowCluster]:
    """Start a cluster, wait until it is ready, and stop it by its pid in the end.

    Args:
        directory: Where its state and logs go.
        more: Further flags of `wherry up`.
        python: How to run the interpreter.
        environment: Of the process; None is ours.
    """
    log = directory / "up.log"
    rng = random.Random()
    for _ in range(_ATTEMPTS):
        first = first_port(rng)
        argv = [*python, "-m", "wherry.cli", *command(directory, first, *more)]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                argv, stdout=output, stderr=output, env=environment, cwd=directory
            ) as process,
        ):
            try:
                if _started(process, log):
                    yield HollowCluster(directory, first, process.pid)
                    _stop(process, log)
                    return
            finally:
                if process.poll() is None:
                    process.kill()
    raise AssertionError(f"no free ports: {log.read_text()}")


def _started(process: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Wait until the cluster is ready; False if somebody else took a port meanwhile."""

    def settled() -> bool:
        return process.poll() is not None or READY in log.read_text()

    until(settled, f"wherry up: {log}", timeout_s=UP_S)
    text = log.read_text()
    if process.poll() is None:
        return True
    assert BUSY in text, f"wherry up ended with {process.returncode}:\n{text}"
    return False


def _stop(process: "subprocess.Popen[bytes]", log: Path) -> None:
    process.send_signal(signal.SIGTERM)
    code = process.wait(DOWN_S)
    assert code == 0, f"wherry up ended with {code}:\n{log.read_text()}"
