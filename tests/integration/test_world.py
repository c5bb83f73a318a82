"""One world: the whole cluster under virtual time, broken at random moments (DESIGN: one world).

A story runs in a process of its own, because only `PYTHONHASHSEED=0` makes it replay; what it
prints when a promise is broken ends with the command that replays it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
LIMIT_S = 1800


def tell(*arguments: str) -> str:
    roots = [SUPPORT, *(ROOT / r for r in ("proto", "master", "node", "overlay"))]
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(map(str, roots))}
    told = subprocess.run(
        [sys.executable, str(SUPPORT / "world_rollout.py"), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert told.returncode == 0, f"{told.stdout}\n{told.stderr[-4000:]}"
    return told.stdout


@pytest.mark.parametrize("seeds", ["1-10", "11-20", "21-30"])
def test_a_rollout_keeps_its_promises_while_masters_die(seeds: str) -> None:
    assert len(tell(seeds).splitlines()) == 10


@pytest.mark.parametrize("seeds", ["1-10", "11-20"])
def test_a_rollout_converges_while_nodes_die_too(seeds: str) -> None:
    assert len(tell(seeds, "--nodes-die").splitlines()) == 10


def test_a_seed_tells_the_same_story_in_another_process() -> None:
    first = tell("7", "--nodes-die", "--trace")
    assert first.count("kill") > 5
    assert tell("7", "--nodes-die", "--trace") == first
