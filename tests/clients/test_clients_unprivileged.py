"""`wherry up --runtime hollow` as nobody: no root, no capabilities, only what an installation gives."""

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hollow_cluster import HollowCluster, hollow_cluster, until

pytestmark = pytest.mark.integration

NOBODY = 65534
ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / name for name in ("proto", "master", "node", "overlay")]


def as_nobody(*command: str) -> list[str]:
    """Return the command with all privileges dropped; as it is where there are none."""
    if os.geteuid() != 0:
        return list(command)
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["setpriv", *ids, "--bounding-set=-all", "--no-new-privs", *command]


TRIAL = """
import subprocess, sys
import uvloop, grpc, msgspec, wherry.cli.main
subprocess.run([sys.executable, "-c", ""], check=True)
"""
"""It starts others of its kind: setpriv itself could start what nobody may."""


def _works(command: Sequence[str], environment: dict[str, str]) -> bool:
    tried = [*as_nobody(*command), "-c", TRIAL]
    try:
        done = subprocess.run(
            tried, env=environment, cwd="/", capture_output=True, timeout=300, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def python(environment: dict[str, str]) -> list[str]:
    """Return an interpreter that nobody may run: ours, or the system's of the same version."""
    system = f"/usr/bin/python{sysconfig.get_python_version()}"
    for program in (sys.executable, system):
        if _works([program], environment):
            return [program]
    pytest.skip(f"nobody may run neither {sys.executable} nor {system} with our packages")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that nobody can reach and owns: pytest's own are private to us."""
    path = Path(tempfile.mkdtemp(prefix="wherry-nobody-"))
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux's setpriv is not there")
def test_a_cluster_of_nobodys(directory: Path) -> None:
    packages = [*site.getsitepackages(), *map(str, SOURCES)]
    environment = {
        "HOME": str(directory),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ":".join(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = as_nobody(*python(environment))
    with hollow_cluster(directory, python=command, environment=environment) as cluster:
        _pods_run(cluster)
        owner = (cluster.directory / "admin.kubeconfig").stat()
        assert (owner.st_uid, owner.st_mode & 0o077) == (_uid(), 0)


def _uid() -> int:
    return NOBODY if os.geteuid() == 0 else os.geteuid()


def _pods_run(cluster: HollowCluster) -> None:
    labels = {"app": "web"}
    container = {"name": "c", "image": "nginx:1"}
    body = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert cluster.ask(path, method="POST", body=body)[0] == 201
    until(
        lambda: cluster.ask(f"{path}/web")[1]["status"].get("readyReplicas") == 3,
        "three ready replicas",
    )
