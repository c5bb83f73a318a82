"""Stock kubectl against a hollow cluster: every build that this machine has, and its sessions."""

import contextlib
import functools
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hollow_cluster import HollowCluster
from kubectl_transcript import Output, Step, Version, parse

from lablib.errors import LabError
from lablib.kubectl import builds
from lablib.layout import CACHE

VERSIONS: Final = tuple((1, minor) for minor in (20, *range(27, 34)))
CALL_S: Final = 240.0
UNTIL_S: Final = 180.0
_EDITOR: Final = "sed -i s/nginx:1$/nginx:9/"
"""What `kubectl edit` does: another image, as a person would type it."""
WEB: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "nginx:1", ports: [{containerPort: 80}]}
"""
"""A Deployment that most stories begin with."""


def label(version: Version) -> str:
    """Return `1.33`."""
    return ".".join(map(str, version))


every_build = pytest.mark.parametrize("build", VERSIONS, ids=label)
newest = pytest.mark.parametrize("build", VERSIONS[-1:], ids=label)
both_ends = pytest.mark.parametrize("build", [VERSIONS[0], VERSIONS[1], VERSIONS[-1]], ids=label)
"""The oldest, the last that reads OpenAPI v2, and the newest: the three ways a kubectl asks."""


@functools.cache
def _programs() -> dict[Version, Path]:
    cache = CACHE if os.access(CACHE.parent, os.W_OK) else Path.home() / ".cache" / "wherry"
    return {build.version: build.path for build in builds(cache)}


def program(build: Version) -> Path:
    """Return a build's program; skips the test where this machine does not have it."""
    try:
        found = _programs().get(build)
    except (LabError, OSError) as error:
        pytest.skip(f"Debian's kubectl cannot be fetched: {error}")
    if found is None:
        pytest.skip(f"there is no kubectl {label(build)} on this machine")
    return found


@dataclass(frozen=True)
class Session:
    """One build in one namespace of a cluster."""

    build: Version
    program: Path
    cluster: HollowCluster
    home: Path
    namespace: str
    directory: Path | None = None
    """Where commands run, if not at home."""

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        flags = [f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}"]
        return [str(self.program), *flags, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment: a home of its own (caches), an editor that edits, and no zone."""
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "KUBE_EDITOR": _EDITOR,
            "TERM": "dumb",
            "TZ": "UTC",
        }

    def attempt(self, *arguments: str, stdin: str = "") -> Output:
        """Run it to its end, whatever that is."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=CALL_S,
            check=False,
            env=self.environment,
            cwd=self.directory or self.home,
        )
        return Output(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run it; it must succeed. Returns what it printed."""
        output = self.attempt(*arguments, stdin=stdin)
        assert output.code == 0, f"kubectl {arguments}: {output}"
        return output.out

    def json(self, *arguments: str) -> Any:
        """Return `get ... -o json`, decoded."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def play(self, transcript: str, files: Mapping[str, str] | None = None, **values: str) -> None:
        """Type the commands of a transcript and compare what is printed."""
        values = {"namespace": self.namespace, **values}
        self._perform_all(parse(transcript, values), files or {})

    def play_exactly(self, story: str, *, directory: Path, **values: str) -> None:
        """Play a story of the table in a directory: nothing else may be printed."""
        values = {"namespace": self.namespace, **values}
        there = replace(self, directory=directory)
        there._perform_all(parse(story, values, exact_for=self.build), {})

    def _perform_all(self, steps: Iterable[Step], files: Mapping[str, str]) -> None:
        for step in steps:
            if step.builds[0] <= self.build <= step.builds[1]:
                self._perform(step, files.get(step.stdin, ""))

    def _perform(self, step: Step, stdin: str) -> None:
        deadline = time.perf_counter() + (UNTIL_S if step.until else 0)
        while True:
            output = self.attempt(*step.arguments, stdin=stdin)
            problem = step.missing(output)
            if not problem:
                return
            if time.perf_counter() > deadline:
                shown = f"kubectl {label(self.build)} {step.typed}"
                pytest.fail(f"{shown}: {problem}\n{output}", pytrace=False)
            time.sleep(0.1)

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run it in the background, its standard output a pipe; ended with the block."""
        with subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextlib.contextmanager
def session(
    build: Version, cluster: HollowCluster, home: Path, *, namespace: str = ""
) -> Iterator[Session]:
    """A session in a new namespace, which goes in the end; or in one that there is."""
    path = program(build)
    made = namespace or f"t-{label(build).replace('.', '-')}-{secrets.token_hex(3)}"
    found = Session(build, path, cluster, home, made)
    if namespace:
        yield found
        return
    status, answer = cluster.ask(
        "/api/v1/namespaces", method="POST", body={"metadata": {"name": made}}
    )
    assert status == 201, answer
    try:
        yield found
    finally:
        cluster.ask(f"/api/v1/namespaces/{made}", method="DELETE")
