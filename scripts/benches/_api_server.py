"""One store (with fsync) and one API server as processes of their own, and clients of them."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import cpu_s, rss_mb
from ports import claim

from lablib.chaos.rest import Connection
from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import KeyPair, Subject
from wherry.pki.tls import TlsFiles, client_context
from wherry.process.clock import SystemClock

LOCALHOST = "127.0.0.1"
START_S = 30.0


class Servers:
    """Both processes. `cores` are those that they may use; `stop` also after a failed `start`."""

    def __init__(self, cores: set[int], workers: int = 1) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="wherry-bench-"))
        self._cores = cores
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.port, self._grpc_port = claim(2)
        self._files()
        self.tls = client_context(self._tls("admin"))
        self._workers = workers
        self.cold_start_s = 0.0

    def start(self) -> None:
        """Start both, and wait until they are ready.

        Raises:
            SystemExit: they are not, in time.
        """
        store = f"{self.directory}/store.sock"
        self._start("store", "--data-dir", f"{self.directory}/store", "--socket", store)
        began = time.perf_counter()
        self._start(
            *("apiserver", "--advertise-address", LOCALHOST, "--bind-address", LOCALHOST),
            *("--secure-port", str(self.port), "--grpc-port", str(self._grpc_port)),
            *("--store", f"unix://{store}", "--workers", str(self._workers)),
            *("--tls-cert-file", f"{self.directory}/apiserver.crt"),
            *("--tls-private-key-file", f"{self.directory}/apiserver.key"),
            *("--client-ca-file", f"{self.directory}/ca.crt"),
        )
        self._wait()
        self.cold_start_s = time.perf_counter() - began

    def connection(self) -> Connection:
        """Return a new keep-alive connection as administrator."""
        return Connection(LOCALHOST, self.port, self.tls, timeout_s=60)

    def cpu_s(self) -> float:
        """Return the CPU seconds that both have used, further workers included."""
        return sum(cpu_s(pid) for each in self._processes.values() for pid in _family(each.pid))

    def rss_mb(self) -> float:
        """Return the API server's resident memory."""
        return rss_mb(self._processes["apiserver"].pid)

    def stop(self) -> None:
        """End both and remove everything."""
        for process in reversed(self._processes.values()):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        shutil.rmtree(self.directory)

    def _files(self) -> None:
        now_s = SystemClock().now()
        ca = create_ca("bench", now_s=now_s)
        self._write("ca", ca)
        server = Subject("kube-apiserver", hosts=(LOCALHOST, "localhost"), server=True)
        self._write("apiserver", issue(ca, server, now_s=now_s))
        self._write("admin", issue(ca, Subject("admin", ("system:masters",)), now_s=now_s))

    def _write(self, name: str, pair: KeyPair) -> None:
        (self.directory / f"{name}.crt").write_bytes(pair.certificate)
        (self.directory / f"{name}.key").write_bytes(pair.key)

    def _tls(self, name: str) -> TlsFiles:
        directory = self.directory
        return TlsFiles(directory / f"{name}.crt", directory / f"{name}.key", directory / "ca.crt")

    def _start(self, name: str, *flags: str) -> None:
        pinned = ["taskset", "-c", ",".join(map(str, sorted(self._cores)))]
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*pinned, sys.executable, "-m", "wherry.cli", name, "--health-port", "0", *flags],
                stdout=log,
                stderr=log,
            )
        self._processes[name] = process

    def _wait(self) -> None:
        """Wait until all workers listen and /readyz answers 200 (nothing else runs yet)."""
        deadline = time.perf_counter() + START_S
        while time.perf_counter() < deadline:
            if _listeners(self.port) < self._workers:
                time.sleep(0.01)
                continue
            try:
                with (
                    socket.create_connection((LOCALHOST, self.port), timeout=1) as plain,
                    self.tls.wrap_socket(plain, server_hostname=LOCALHOST) as stream,
                ):
                    stream.sendall(b"GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n")
                    if b" 200 " in stream.recv(64):
                        return
            except OSError:
                time.sleep(0.01)
        raise SystemExit("not ready:\n" + (self.directory / "apiserver.log").read_text()[-2000:])


def _family(pid: int) -> list[int]:
    """Return a process and its children, of which only dead ones are in its own figures."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for children in tasks for child in children.read_text().split())]


def _listeners(port: int) -> int:
    """Return how many sockets listen on a port, one for each worker (SO_REUSEPORT; proc(5) tcp)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)
