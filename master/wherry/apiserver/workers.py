"""More than one process behind one pair of ports: `--workers N`.

The first worker is the process itself; it keeps N - 1 siblings running, which have the same
flags. All of them listen on the same ports (SO_REUSEPORT): the kernel gives each new
connection to one of them. Nothing is shared but the store, as among masters: every worker
has caches of its own, and a read waits until its cache has what was written elsewhere.
"""

import sys
from collections.abc import Sequence
from random import Random

from wherry.process.supervisor import Child, Supervisor

SIBLING = "--sibling"


def siblings(arguments: Sequence[str], count: int, *, rng: Random) -> Supervisor:
    """Return what keeps `count` further processes with these command line arguments running."""
    argv = [sys.executable, "-m", "wherry.cli", *arguments, SIBLING, "--health-port", "0"]
    return Supervisor(
        [Child(f"worker-{number + 2}", argv, log_file=None) for number in range(count)], rng=rng
    )
