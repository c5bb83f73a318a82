"""The example of the native door, as a user runs it, against a cluster that really makes the pods."""

import subprocess
import sys
from pathlib import Path

import pytest
from hollow_cluster import HollowCluster

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpc_client.py"


def example(hollow: HollowCluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    identity = {"--ca": "ca.crt", "--cert": "admin.crt", "--key": "admin.key"}
    files = [part for flag, name in identity.items() for part in (flag, str(hollow.pki(name)))]
    command = [sys.executable, str(EXAMPLE), "--endpoint", hollow.grpc, *files, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_deployment_over_grpc(hollow: HollowCluster, namespace: str) -> None:
    done = example(hollow, "--namespace", namespace, "--replicas", "3", "--delete")
    assert done.returncode == 0, done.stderr
    assert "hello-grpc: 3 pods are ready" in done.stdout
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/hello-grpc"
    assert hollow.ask(path)[0] == 404


def test_a_namespace_that_does_not_exist(hollow: HollowCluster) -> None:
    done = example(hollow, "--namespace", "none")
    assert done.returncode == 1
    assert 'namespaces "none" not found' in done.stderr
    assert "Traceback" not in done.stderr
