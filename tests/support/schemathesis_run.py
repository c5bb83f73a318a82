"""schemathesis against a running API server: a process of its own, the same requests for a seed.

It stays out of the tests' processes, so that its hypothesis settings and hooks touch nobody.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from apiserver_victim import Victim
from every_kind import row_of, samples

CHECKS: Final = (
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "answers_as_documented",
)
"""Not asked: whether all that a schema allows is accepted (validation says more than schemas), and
whether all that it forbids is refused (unknown fields are dropped, and null is nothing at all)."""
STREAMS: Final = ("--exclude-path-regex", "/(exec|attach|portforward|log|proxy)(/|$)")
"""Options that leave out what needs an agent, of which there is none."""
LONGEST_S: Final = 60
_CONFIG: Final = """\
[parameters]
"query.watch" = false                  # a watch ends when its time is over
[phases.coverage]
unexpected-methods = []
extra-data-sources.responses = false   # what comes back has times and uids
[phases.fuzzing]
extra-data-sources.responses = false
error-feedback.enabled = false
"""


class Schemathesis:
    """Runs it against one server, which gets one object of every kind to begin with.

    Args:
        victim: The server.
        directory: Where its files go.
    """

    def __init__(self, victim: Victim, directory: Path) -> None:
        self._victim = victim
        self._directory = directory
        self._url = f"https://127.0.0.1:{victim.port}"
        (directory / "schemathesis.toml").write_text(_CONFIG)
        (directory / "told.json").write_text(json.dumps(self._told()))

    def _told(self) -> dict[str, object]:
        by_collection = {}
        for sample in samples():
            kind = row_of(sample).kind
            code, body = self._victim.answer(
                "POST", kind.path("default" if kind.namespaced else ""), json.dumps(sample).encode()
            )
            assert code in (201, 409), body  # our own configuration is there from the beginning
            by_collection[kind.path("{namespace}" if kind.namespaced else "")] = sample
        files = self._victim.admin
        return {
            "url": self._url,
            "ca": str(files.ca),
            "cert": str(files.cert),
            "key": str(files.key),
            "samples": by_collection,
        }

    def run(
        self, document: str, *options: str, seed: int = 1, checks: Sequence[str] = CHECKS
    ) -> subprocess.CompletedProcess[str]:
        """Ask what a document describes; the exit code is 0 if all checks hold.

        Args:
            document: Its path, `/openapi/v2` or `/openapi/v3/...`.
            options: Of `schemathesis run`: what to select, phases, examples.
            seed: Of chance.
            checks: Of schemathesis, or our own.
        """
        files = self._victim.admin
        command = [
            *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli"),
            *("--config-file", str(self._directory / "schemathesis.toml")),
            *("run", f"{self._url}{document}", "--url", self._url),
            *("--header", "Accept: application/json", "--tls-verify", str(files.ca)),
            *("--request-cert", str(files.cert), "--request-cert-key", str(files.key)),
            *("--request-timeout", str(LONGEST_S), "--seed", str(seed), "--no-shrink"),
            *("--generation-database", "none", "--checks", ",".join(checks)),
            *("--continue-on-failure", "--suppress-health-check", "all"),
            *("--warnings", "off", "--no-color", *options),
        ]
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "WHERRY_SCHEMATHESIS": str(self._directory / "told.json"),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        return subprocess.run(
            command,
            cwd=self._directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
