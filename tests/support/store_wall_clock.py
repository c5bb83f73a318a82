"""Run `wherry` with a wall clock that a test sets: seconds in a file are added to the real one.

    python store_wall_clock.py FILE store --name m1 ...

CLOCK_REALTIME has no namespace and a test must not set the machine's, so it is replaced where
Python reads it; CLOCK_MONOTONIC stays, as it does when an administrator sets a clock.
"""

import runpy
import sys
import time
from pathlib import Path

_real = time.time  # noqa: TID251  # this file stands in for it


def _shifted() -> float:
    return _real() + float(_offset.read_text() or "0")


_offset = Path(sys.argv[1])
time.time = _shifted  # noqa: TID251
sys.argv = ["wherry", *sys.argv[2:]]
runpy.run_module("wherry.cli", run_name="__main__")
