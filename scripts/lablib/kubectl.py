"""Stock kubectl: the builds that this machine has, and calls of one of them.

The lab always has Debian's 1.20: from the package where it can be installed, unpacked into
the cache where another vendor's `kubectl` package is in its way.
"""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lablib.images import debian
from lablib.layout import CACHE, Layout
from lablib.shell import attempt, run

PACKAGE: Final = "kubernetes-client"
CALL_S: Final = 90.0


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """One kubectl: (major, minor) and where it is."""

    version: tuple[int, int]
    path: Path

    @property
    def label(self) -> str:
        """Its version as people write it: 1.20."""
        return ".".join(map(str, self.version))


def builds(cache: Path = CACHE) -> list[Build]:
    """Every build on this machine, oldest first, one for each version.

    A `kubectl` on the PATH may be a dispatcher that runs the build of the server's version;
    the builds lie beside it as kubectl.1.NN, and are taken instead.
    """
    candidates = [debian_build(cache), *others()]
    by_version: dict[tuple[int, int], Build] = {}
    for path in candidates:
        version = _version(path)
        if version is not None:
            by_version.setdefault(version, Build(version, path))
    return sorted(by_version.values())


def others() -> list[Path]:
    """The programs of the builds that are not Debian's; found without running them."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    real = Path(found).resolve()
    return sorted(real.parent.glob("kubectl.1.*")) or [real]


@functools.cache  # asked for before every call
def debian_build(cache: Path = CACHE) -> Path:
    """Debian's kubectl; fetched and unpacked if the package is not installed.

    Raises:
        LabError: it cannot be fetched.
    """
    installed = Path("/usr/bin/kubectl")
    if _owner(installed) == PACKAGE:
        return installed
    unpacked = cache / "tools" / PACKAGE
    program = unpacked / "usr/bin/kubectl"
    if not program.exists():
        versions = debian.candidates([PACKAGE])
        package = debian.download(versions, cache / "debs")[PACKAGE]
        fresh = unpacked.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        run(["dpkg-deb", "--extract", str(package), str(fresh)])
        shutil.rmtree(unpacked, ignore_errors=True)
        fresh.rename(unpacked)
    return program


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Calls one build against one cluster."""

    program: Path
    kubeconfig: Path

    @classmethod
    def of(cls, layout: Layout) -> "Kubectl":
        """Debian's build against the lab."""
        return cls(debian_build(), layout.kubeconfig)

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_s: float = CALL_S) -> str:
        """Run it and return what it printed.

        Raises:
            LabError: it failed.
        """
        return run(self.command(*arguments), stdin=stdin, timeout_s=timeout_s)

    def attempt(
        self, *arguments: str, stdin: str | None = None, timeout_s: float = CALL_S
    ) -> subprocess.CompletedProcess[str]:
        """Run it; its exit code is the caller's to judge."""
        return attempt(self.command(*arguments), stdin=stdin, timeout_s=timeout_s)

    def items(self, *arguments: str) -> list[Any]:
        """The objects that `kubectl get ARGUMENTS` finds."""
        answer = json.loads(self("get", *arguments, "--output=json"))
        items: list[Any] = answer["items"]
        return items


def ready_nodes(layout: Layout) -> frozenset[str]:
    """The names of the nodes that are Ready, and not kept free of pods any more for not being it."""
    return frozenset(
        node["metadata"]["name"]
        for node in Kubectl.of(layout).items("nodes")
        if has_condition(node, "Ready") and not _is_kept_free(node)
    )


def wait_ready(kubectl: Kubectl, pods: Sequence[str], namespace: str, timeout_s: float) -> str:
    """Wait until pods are ready; what kubectl printed.

    Raises:
        LabError: they are not, or are not known yet: kubectl asks a cache, so of new pods that
            is no failure yet.
    """
    names = [f"pod/{name}" for name in pods]
    return kubectl(
        *("wait", "--for=condition=Ready", *names, "-n", namespace, f"--timeout={timeout_s:g}s"),
        timeout_s=timeout_s + 10,
    )


def _is_kept_free(node: Any) -> bool:
    """Whether the cluster itself taints a node; it takes that away after the node is Ready."""
    taints: Sequence[Any] = node["spec"].get("taints", [])
    return any(taint["key"].startswith("node.kubernetes.io/") for taint in taints)


def has_condition(item: Any, kind: str) -> bool:
    """Whether an object's condition of that type is true."""
    conditions: Sequence[Any] = item.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _owner(path: Path) -> str | None:
    done = attempt(["dpkg-query", "--search", str(path)])
    return done.stdout.partition(":")[0] if done.returncode == 0 else None


def _version(program: Path) -> tuple[int, int] | None:
    done = attempt([str(program), "version", "--client", "--output=json"])
    try:
        text: str = json.loads(done.stdout)["clientVersion"]["gitVersion"]
    except (ValueError, KeyError):
        return None
    match = re.match(r"v(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None
