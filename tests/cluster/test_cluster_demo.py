"""`up` proves that the cluster works; the command line says what it should."""

import re
from typing import Any

import pytest
from lab_cluster import Lab

pytestmark = pytest.mark.cluster

PROCESSES = {
    *(f"master-{i} {p}" for i in (1, 2, 3) for p in ("store", "apiserver")),
    *(f"master-{i} {p}" for i in (1, 2, 3) for p in ("scheduler", "controller-manager")),
    *(f"node-{i} {p}" for i in (1, 2) for p in ("agent", "overlay", "proxy", "dns", "containerd")),
    "registry registry",
}


def test_up_ends_with_the_proof(cluster: Any) -> None:
    printed = cluster.printed
    assert len(re.findall(r"^  pod echo-\S+  10\.244\.\d+\.\d+  on node-[12]$", printed, re.M)) == 4
    peer = re.search(
        r"another host: (\S+) \(node-1\) asked (\S+) \(node-2\).* peer (\S+)$", printed, re.M
    )
    assert peer is not None
    assert peer[1] == peer[3]
    assert len(re.findall(r"Service 10\.\S+ asked \d+ times from node-[12]", printed)) == 2
    assert (
        len(re.findall(r"name echo\.demo\.svc\.cluster\.local .* on node-[12]: 10\.", printed)) == 2
    )


def test_status_names_every_process_once(lab: Lab) -> None:
    header, *rows = [line.split() for line in lab("status").splitlines()]
    assert header == ["HOST", "PROCESS", "PID", "STATE"]
    assert {f"{host} {process}" for host, process, _, _ in rows} == PROCESSES
    assert len(rows) == len(PROCESSES)
    assert {state for *_, state in rows} == {"running"}


def test_status_of_no_lab_fails_and_says_how_to_start_one(lab: Lab) -> None:
    done = Lab("tnone").attempt("status")
    assert done.returncode != 0
    assert "no lab 'tnone' is up" in done.stderr
    assert "scripts/lab up" in done.stderr


def test_a_second_up_is_refused_while_the_lab_is_whole(lab: Lab) -> None:
    done = lab.attempt("up")
    assert done.returncode != 0
    assert "is up already" in done.stderr


def test_exec_runs_on_the_host_and_passes_the_exit_code_on(lab: Lab) -> None:
    assert "flannel.1" in lab("exec", "node-1", "--", "ip", "-brief", "link")
    assert lab.attempt("exec", "node-1", "--", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("exec", "node-9", "--", "true"), "no host 'node-9'"),
        (("kill", "node-1", "store"), "runs no process 'store'"),
        (("start", "node-1", "agent"), "is running already"),
    ],
)
def test_mistakes_are_named(lab: Lab, arguments: tuple[str, ...], said: str) -> None:
    done = lab.attempt(*arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
