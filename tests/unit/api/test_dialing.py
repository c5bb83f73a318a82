"""Why no connection could be made, in Go's words."""

import errno
import ssl

import pytest

from wherry.api.dialing import dial_failure

FAILURES = [
    (TimeoutError(), "i/o timeout"),
    (TimeoutError(errno.ETIMEDOUT, "Connect call failed"), "connect: connection timed out"),
    (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"),
        "connect: connection refused",
    ),
    (OSError(errno.EHOSTUNREACH, "x"), "connect: no route to host"),
    (OSError("Multiple exceptions"), "Multiple exceptions"),
    (OverflowError("port must be 0-65535."), "port must be 0-65535."),
    (EOFError(), "EOFError"),
]


@pytest.mark.parametrize(("error", "words"), FAILURES)
def test_failures(error: Exception, words: str) -> None:
    assert dial_failure(error) == words


def test_a_handshake_that_fails() -> None:
    assert dial_failure(ssl.SSLError(1, "[SSL] wrong version number")).startswith("tls: ")
