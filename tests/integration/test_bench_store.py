"""`scripts/bench store` runs from end to end; its figures are not looked at."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


def test_every_part_of_the_bench_measures_something(tmp_path: Path) -> None:
    report, plot = tmp_path / "report.json", tmp_path / "plot.png"
    subprocess.run(
        [ROOT / "scripts/bench", "store", "--quick", "--json", report, "--plot", plot],
        check=True,
        timeout=900,
        env={**os.environ, "WHERRY_ENV": "dev"},
    )
    lines = json.loads(report.read_text())
    assert {"line", "value", "unit", "goal", "holds"} == set(lines[0])
    words = "\n".join(one["line"] for one in lines)
    for part in ("put 1 KB", "linearizable get", "serializable", "list of 500", "watch,", "idle"):
        assert part in words
    for part in ("failover", "hand-over", "memory", "disk", "restart", "catches up"):
        assert part in words
    assert plot.read_bytes().startswith(b"\x89PNG")
