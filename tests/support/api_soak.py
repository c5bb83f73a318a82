"""Guided fuzzing of what reads strangers' bytes: `scripts/soak api [TARGET...] [--seconds N]`.

Needs atheris (libFuzzer for Python), which is not among the project's dependencies: install it
beside them. Each target runs in a process of its own under libFuzzer's own bounds (10 s and
1 GB for one input); what it finds is written to --findings and makes the command fail.
"""

import argparse
import importlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).parent.parent / "unit" / "apiserver_data" / "kubectl_bodies.json"
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1")


def fuzz(target: str, arguments: list[str]) -> None:
    """Run one target in this process; libFuzzer ends it."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["wherry", "json", "yaml"]):
        targets = importlib.import_module("api_fuzz").TARGETS
    atheris.Setup([sys.argv[0], *arguments], targets[target])
    atheris.Fuzz()


def run(target: str, seconds: int, findings: Path) -> bool:
    """Run one target in a child; tell whether it found nothing."""
    from api_fuzz import seeds  # the children instrument it while importing it

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(target, RECORDED)):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        command = [
            *(sys.executable, __file__, "--child", target, corpus, *LIMITS),
            *(f"-max_total_time={seconds}", f"-artifact_prefix={findings}/{target}-"),
        ]
        child = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    stats = dict(
        line.removeprefix("stat::").split(":", 1)
        for line in child.stderr.splitlines()
        if line.startswith("stat::")
    )
    runs = stats.get("number_of_executed_units", "?").strip()
    peak = stats.get("peak_rss_mb", "?").strip()
    print(
        f"{target:18} {runs:>10} runs, peak {peak} MB: {'ok' if not child.returncode else 'FAILED'}"
    )
    if child.returncode:
        print(child.stderr[-4000:])
    return child.returncode == 0


def main() -> int:
    """Run the targets one after another."""
    if sys.argv[1:2] == ["--child"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    from api_fuzz import TARGETS

    parser = argparse.ArgumentParser(prog="scripts/soak api", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    asked = parser.parse_args()
    if unknown := set(asked.targets) - TARGETS.keys():
        parser.error(f"unknown target: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: .venv/bin/pip install atheris")
    asked.findings.mkdir(parents=True, exist_ok=True)
    results = [run(one, asked.seconds, asked.findings) for one in asked.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
