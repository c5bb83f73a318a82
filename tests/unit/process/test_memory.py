"""What `wherry.process.memory` asks of the C library, seen from outside by page faults."""

import gc
import subprocess
import sys
import weakref

import pytest

from wherry.process.memory import Turnover

PROGRAM = """
import resource
from wherry.process.memory import keep_freed
if {kept}:
    keep_freed({kept})
def fill():
    blocks = [bytes(4 << 20) + b"x" for _ in range(4)]
for _ in range(3):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept: int) -> int:
    program = PROGRAM.format(kept=kept)
    return int(subprocess.check_output([sys.executable, "-c", program], timeout=300))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_memory_that_is_kept_is_not_faulted_in_again() -> None:
    assert faults(kept=64 << 20) < faults(kept=0) / 10


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_was_let_go_is_given_back_once_it_is_much_circles_too() -> None:
    turnover = Turnover(100)
    gc.disable()
    try:
        circle = weakref.ref(Circle())
        turnover.let_go(99)
        turnover.sweep()
        assert circle() is not None
        turnover.let_go(1)
        turnover.sweep()
        assert circle() is None
    finally:
        gc.enable()


def test_what_ends_soon_after_much_is_given_back_later_and_nothing_after_that() -> None:
    turnover = Turnover(100)
    gc.disable()
    try:
        turnover.let_go(100)
        turnover.sweep()
        rest = weakref.ref(Circle())
        sweeps = 0
        while rest() is not None:
            turnover.sweep()
            sweeps += 1
        assert sweeps > 10, "a handshake lasts so many seconds"
        after = weakref.ref(Circle())
        for _ in range(100):
            turnover.sweep()
        assert after() is not None
    finally:
        gc.enable()
