"""One seed is one run: alone, after others, and in a process that orders its hashes otherwise.

What is compared is a hash of every message between members and every frame between members and
clients, with its time: a run that differs anywhere differs there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from store_fuzz import Plan, fuzz

_SUPPORT = Path(__file__).parents[2] / "support"
_SEEDS = (7, 1153, 11)
_PROGRAM = """
import gc, json, sys
from store_fuzz import Plan, fuzz
gc.set_threshold(int(sys.argv[1]))
print(json.dumps([fuzz(Plan(int(seed))).trace for seed in sys.argv[2:]]))
"""


def elsewhere(hash_seed: str, gc_threshold: int, *seeds: int) -> list[tuple[str, ...]]:
    """Run seeds one after the other in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(gc_threshold), *map(str, seeds)],
        env={**os.environ, "PYTHONPATH": str(_SUPPORT), "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return [tuple(trace) for trace in json.loads(done.stdout)]


def test_a_seed_is_one_run_wherever_and_after_whatever_it_runs() -> None:
    alone = elsewhere("1", 700, _SEEDS[-1])
    (*_, after_others) = elsewhere("2", 50, *_SEEDS)
    here = fuzz(Plan(_SEEDS[-1])).trace
    assert here
    assert alone == [after_others] == [here]


def test_another_seed_is_another_run() -> None:
    assert fuzz(Plan(1, faults=())).trace != fuzz(Plan(2, faults=())).trace
