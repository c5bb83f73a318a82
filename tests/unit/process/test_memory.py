"""What `wherry.process.memory` asks of the C library, seen from outside by page faults."""

import subprocess
import sys

import pytest

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
