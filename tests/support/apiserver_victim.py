"""A real `wherry apiserver` over a store in memory, to be attacked by tests."""

import contextlib
import json
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from apiserver_pki import TestPki
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ports import claim

from wherry.pki.tls import client_context
from wherry.process.clock import SystemClock

MAPS = "/api/v1/namespaces/default/configmaps"
START_S = 90.0
CLOCK = SystemClock()
PROMPT_S = 3.0  # an ordinary request takes milliseconds; machines that run tests may be loaded
TRIES = 3
"""A machine that pauses for seconds is slow once, a server that is held up again and again."""
pause = Event().wait


class Victim:
    """One API server process over a store in memory."""

    def __init__(self, directory: Path, *flags: str) -> None:
        pki = TestPki(directory)
        serving, admin = pki.files("kube-apiserver", server=True), pki.admin()
        self.port, grpc_port = claim(2)
        signing = directory / "sa.key"
        signing.write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        self.ca, self.admin = pki.ca, admin
        self.tls = client_context(admin)
        self.log = directory / "apiserver.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "wherry.cli", "apiserver", "--store", "memory://"),
                    *("--advertise-address", "127.0.0.1", "--bind-address", "127.0.0.1"),
                    *("--secure-port", str(self.port), "--grpc-port", str(grpc_port)),
                    *("--health-port", "0", "--tls-cert-file", str(serving.cert)),
                    *("--tls-private-key-file", str(serving.key)),
                    *("--client-ca-file", str(pki.ca)),
                    *("--service-account-signing-key-file", str(signing)),
                    *flags,
                ],
                stderr=log,
            )

    def plain(self) -> socket.socket:
        """Open a TCP connection and say nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def connect(self) -> ssl.SSLSocket:
        """Open a TLS connection as administrator."""
        return self.tls.wrap_socket(self.plain(), server_hostname="127.0.0.1")

    def send(self, data: bytes) -> list[tuple[int, bytes]]:
        """Send bytes on a new connection; return the answers until the server closes it."""
        with self.connect() as stream:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                stream.sendall(data)  # it may be refused before all is sent
            return list(answers(stream))

    def ask(
        self, method: str, path: str, body: bytes = b"", media: str = "application/json"
    ) -> int:
        """Make one ordinary request; return its code."""
        return self.answer(method, path, body, media)[0]

    def answer(
        self, method: str, path: str, body: bytes = b"", media: str = "application/json"
    ) -> tuple[int, bytes]:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        (answer,) = self.send(head.encode() + body)
        return answer

    def rss_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def settled_descriptors(self, at_most: int) -> int:
        """Return them once they are no more than that, or what they still are in the end."""
        deadline = CLOCK.monotonic() + 60
        while (now := self.descriptors()) > at_most and CLOCK.monotonic() < deadline:
            pause(0.2)
        return now

    def settled_mb(self, at_most: float) -> float:
        """Return memory once it is no more than that, or what it still is in the end."""
        deadline = CLOCK.monotonic() + 60
        while (now := self.rss_mb()) > at_most and CLOCK.monotonic() < deadline:
            pause(0.2)
        return now

    def log_has(self, words: str) -> None:
        """Wait until its log has these words."""
        deadline = CLOCK.monotonic() + 30
        while words not in self.log.read_text():
            assert CLOCK.monotonic() < deadline, words
            pause(0.1)

    def is_prompt(self) -> bool:
        """Tell whether somebody else is served as if nothing were the matter."""
        return any(self._was_prompt() for _ in range(TRIES))

    def _was_prompt(self) -> bool:
        began = CLOCK.monotonic()
        assert self.ask("GET", MAPS) == 200
        return CLOCK.monotonic() - began < PROMPT_S


def answers(stream: ssl.SSLSocket) -> Iterator[tuple[int, bytes]]:
    """Yield (code, body) of each answer with a length, until the end."""
    with stream.makefile("rb") as lines, contextlib.suppress(ConnectionError, ssl.SSLError):
        while first := lines.readline():
            length = 0
            while (line := lines.readline().lower()) not in (b"\r\n", b""):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            yield int(first.split()[1]), lines.read(length)


def status_of(body: bytes) -> tuple[str, str]:
    """Return reason and message of a Status, which `body` must be."""
    status = json.loads(body)
    assert (status["kind"], status["apiVersion"]) == ("Status", "v1")
    return status["reason"], status["message"]


@contextlib.contextmanager
def victim_in(directory: Path, *flags: str) -> Iterator[Victim]:
    """Run one with further flags, with as many descriptors as the system allows; it must live and log no bug."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    one = Victim(directory, *flags)
    try:
        deadline = CLOCK.monotonic() + START_S
        while CLOCK.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                # What every cluster has is made beside the doors: who is ready may not be there yet.
                if one.ask("GET", "/readyz") == one.ask("GET", MAPS.rpartition("/")[0]) == 200:
                    break
            pause(0.05)
        else:
            raise AssertionError(one.log.read_text()[-2000:])
        yield one
        assert one.process.poll() is None, "it died"
        bugs = one.log.read_text().partition("Traceback")
        assert not bugs[1], bugs[0][-500:] + bugs[2][:3000]
    finally:
        one.process.terminate()
        one.process.wait(60)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
