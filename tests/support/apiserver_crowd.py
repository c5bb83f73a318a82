"""Thousands of TLS clients that connect and then say nothing, in processes of their own.

A process opens its share one handshake after the other, which bounds the rate by itself, and
keeps all of them until it is told to let go. Ports suffice because a crowd comes from several
addresses of 127.0.0.0/8.
"""

import contextlib
import select
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_EACH = 2_000
"""Connections from one address; the kernel has some 28,000 ports for each."""
_TIMEOUT_S = 120.0


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
    if request:
        stream.sendall(request)
        stream.recv(65536)
    return stream


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
    for number in range(int(count)):
        address = f"127.0.{n}.{number // _EACH + 1}"
        try:
            streams.append(_open(int(port), tls, address, bytes.fromhex(request)))
        except OSError as error:
            print(f"refused:{error.errno}", end=" ")
    print("assembled", flush=True)
    sys.stdin.readline()
    print(*map(_fate, streams))


if __name__ == "__main__":
    _main(*sys.argv[1:])
