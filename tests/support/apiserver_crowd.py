"""Thousands of TLS clients that connect and then say nothing, in processes of their own.

A process opens its share one handshake after the other, which bounds the rate by itself, and
keeps all of them until it is told to let go: who asked something asks it again now and then, as
a server ends what is idle for minutes, and on a busy machine so many handshakes take as long.
Ports suffice because a crowd comes from several addresses of 127.0.0.0/8.
"""

import contextlib
import select
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

_EACH = 2_000
"""Connections from one address; the kernel has some 28,000 ports for each."""
_TIMEOUT_S = 120.0
_AGAIN_S = 90.0
"""How long nobody asks again: half of what a server lets a client be idle who has asked."""
_AT_ONCE = 10
"""How many ask again before the next one connects: on a slow machine there is always somebody."""


class Crowd:
    """One process full of connections from 127.0.N.1 and its neighbours."""

    def __init__(self, port: int, ca: Path, count: int, *, n: int, request: bytes = b"") -> None:
        """Begin to connect; each sends `request`, if any, and reads what it gets for it."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(port), str(ca), str(count), str(n), request.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self._out = self._process.stdout

    def assembled(self) -> bool:
        """Tell whether all have connected, without waiting for it."""
        assert self._process.poll() is None, "the crowd has died"
        return bool(select.select([self._out], [], [], 0)[0])

    def disperse(self) -> Counter[str]:
        """Close all; return how many were `open` until then, `closed` by the server, `told` why."""
        out, _ = self._process.communicate("go\n", timeout=_TIMEOUT_S)
        return Counter(out.split())

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def crowds(
    port: int, ca: Path, count: int, *, processes: int = 2, request: bytes = b""
) -> Iterator[list[Crowd]]:
    """Run so many connections in so many processes, and none afterwards."""
    share = count // processes
    some = [Crowd(port, ca, share, n=n + 1, request=request) for n in range(processes)]
    try:
        yield some
    finally:
        for one in some:
            one.kill()


def _open(port: int, tls: ssl.SSLContext, address: str, request: bytes) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S, (address, 0))
    stream = tls.wrap_socket(plain, server_hostname="127.0.0.1")
    _ask(stream, request)
    return stream


def _ask(stream: ssl.SSLSocket, request: bytes) -> None:
    if request:
        stream.sendall(request)
        stream.recv(65536)


class _Fresh:
    """Connections, the one that asked last at the end."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._asked: deque[tuple[float, ssl.SSLSocket]] = deque()

    def add(self, stream: ssl.SSLSocket) -> None:
        self._asked.append((time.perf_counter(), stream))

    def keep(self) -> None:
        """Have some ask again who asked long ago; whoever was cut is left as he is."""
        for _ in range(_AT_ONCE if self._request else 0):
            if not self._asked or time.perf_counter() - self._asked[0][0] < _AGAIN_S:
                return
            _, stream = self._asked.popleft()
            with contextlib.suppress(OSError):
                _ask(stream, self._request)
                self.add(stream)


def _fate(stream: ssl.SSLSocket) -> str:
    """Tell what has become of a connection."""
    stream.setblocking(False)
    try:
        said = stream.recv(65536)
    except ssl.SSLWantReadError:
        return "open"
    except OSError:
        return "reset"
    return "told" if said.startswith(b"HTTP/1.1 429 ") else "closed"


def _main(port: str, ca: str, count: str, n: str, request: str) -> None:
    tls = ssl.create_default_context(cafile=ca)
    streams = []
    fresh = _Fresh(bytes.fromhex(request))
    for number in range(int(count)):
        address = f"127.0.{n}.{number // _EACH + 1}"
        try:
            streams.append(_open(int(port), tls, address, bytes.fromhex(request)))
        except OSError as error:
            print(f"refused:{error.errno}", end=" ")
        else:
            fresh.add(streams[-1])
        fresh.keep()
    print("assembled", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        fresh.keep()
    print(*map(_fate, streams))


if __name__ == "__main__":
    _main(*sys.argv[1:])
