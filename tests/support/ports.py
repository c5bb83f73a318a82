"""Ports of the loopback for servers that a test starts: claimed, so that two never get the same.

To bind port 0, close it and use the number is a race twice over: another test process may be
given the same number, and the kernel hands numbers of its ephemeral range to any connection.
These stand below that range, and each is claimed by an abstract Unix socket, which lives as
long as the claimant's process, belongs to its network namespace as ports do, and leaves no file.
Of one process the last `KEPT` claims stand: a run of all tests makes more than it may have
files open, and what was claimed so long ago is either listened on or not needed any more.
"""

import socket
from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Final

LOWEST: Final = 12000
HIGHEST: Final = 32000
"""Above the well-known ports, below those that the kernel takes for connections."""

KEPT: Final = 300
"""A process may have 1,024 files open on many machines."""

_claims: deque[socket.socket] = deque()


def claim(count: int, *, rng: Random | None = None) -> list[int]:
    """Return free ports that no other test process is given while this one lives."""
    return [claim_row(1, rng=rng) for _ in range(count)]


def claim_row(length: int, *, rng: Random | None = None) -> int:
    """Return the first of `length` consecutive ports, all claimed."""
    rng = rng or Random()
    while True:
        first = rng.randrange(LOWEST, HIGHEST - length)
        claims = [_claim(port) for port in range(first, first + length)]
        if all(claims):
            _keep(c for c in claims if c)
            return first
        for one in claims:
            if one:
                one.close()


def _keep(claims: Iterable[socket.socket]) -> None:
    _claims.extend(claims)
    while len(_claims) > KEPT:
        _claims.popleft().close()


def _claim(port: int) -> socket.socket | None:
    """Claim one port, unless another process has, or somebody listens on it."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0wherry-test-port-{port}")
        with socket.socket() as attempt:
            attempt.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return None
    return claim
