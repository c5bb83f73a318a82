"""The experiments of scripts/chaos on the shared lab, with fewer kills to save time."""

import pytest
from lab_cluster import Lab

pytestmark = pytest.mark.cluster

EXPERIMENTS = {
    "kill_leader": ("--kills", "3"),
    "kill_agent": ("--seconds", "5"),
    "kill_containerd": ("--seconds", "5"),
    "kill_all_masters": ("--seconds", "15"),
    "cut_node": (),
}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_failure_contract_holds(lab: Lab, experiment: str) -> None:
    done = lab.chaos(experiment, *EXPERIMENTS[experiment])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acknowledged and gone: 0" in done.stdout
    assert "the failure contract holds" in done.stdout
    assert {line.split()[-1] for line in lab("status").splitlines()[1:]} == {"running"}


def test_a_killed_process_stays_dead_until_started(lab: Lab) -> None:
    def state() -> str:
        rows = (line.split() for line in lab("status").splitlines())
        return next(row[3] for row in rows if row[:2] == ["node-2", "dns"])

    assert state() == "running"
    assert "killed dns on node-2" in lab("kill", "node-2", "dns")
    try:
        assert state() == "killed"
        assert lab.attempt("kill", "node-2", "dns").returncode != 0
    finally:
        lab("start", "node-2", "dns")
    assert state() == "running"
