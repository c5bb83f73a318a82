"""All of our OpenAPI documents by schemathesis: `scripts/soak openapi [DOCUMENT...] [--examples N]`.

Each document is asked of a server of its own: every case that its schemas suggest, and so many by
chance for each operation. The whole of it takes hours; what is found makes the command fail, with
the requests as curl commands.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from apiserver_victim import victim_in
from schemathesis_run import STREAMS, Schemathesis

V2 = "/openapi/v2"


def documents() -> list[str]:
    """Return the paths of all documents, v2 last: it is as long as all others together."""
    with tempfile.TemporaryDirectory() as directory, victim_in(Path(directory)) as victim:
        root = json.loads(victim.answer("GET", "/openapi/v3")[1])["paths"]
    return [*(f"/openapi/v3/{path}" for path in root), V2]


def soak(document: str, asked: argparse.Namespace) -> bool:
    """Ask one document; tell whether nothing was found."""
    with tempfile.TemporaryDirectory() as directory, victim_in(Path(directory)) as victim:
        options = ("--max-examples", str(asked.examples), *STREAMS, *asked.options.split())
        done = Schemathesis(victim, Path(directory)).run(document, *options, seed=asked.seed)
    made = re.search(r"(\d+) generated", done.stdout)
    verdict = "FAILED" if done.returncode else "ok"
    print(f"{document:60} {made[1] if made else 0:>8} requests: {verdict}", flush=True)
    if done.returncode:
        print(done.stdout[-20_000:])
    return done.returncode == 0


def main() -> int:
    """Ask one document after another."""
    parser = argparse.ArgumentParser(prog="scripts/soak openapi", description=__doc__)
    parser.add_argument("documents", nargs="*", metavar="DOCUMENT", help="/openapi/v3/apis/apps/v1")
    parser.add_argument("--examples", type=int, default=100, help="by chance, for each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", default="", help="more of schemathesis' own, e.g. '-w 2'")
    asked = parser.parse_args()
    results = [soak(one, asked) for one in asked.documents or documents()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
