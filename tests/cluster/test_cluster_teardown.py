"""`down` leaves nothing; a half-dead lab is cleared away; labs stand side by side."""

import os
import signal
from pathlib import Path

import pytest
from lab_cluster import UP_S, Lab, call, running_lab, until

from lablib import teardown
from lablib.layout import CACHE

pytestmark = pytest.mark.cluster

SMALL = ("--masters", "1", "--nodes", "1")


def traces() -> dict[str, set[str]]:
    """What of a lab could stay on this machine, by kind."""
    processes = call(["ps", "-e", "-o", "pid=,args="]).stdout.splitlines()
    return {
        "namespaces": set(call(["ip", "netns", "list"]).stdout.split()),
        "devices": {p.name for p in Path("/sys/class/net").iterdir()},
        "routes": set(call(["ip", "route"]).stdout.splitlines()),
        # Without comments and counters: they say when, and how often.
        "rules": {r for r in call(["iptables-save"]).stdout.splitlines() if r.startswith("-A")},
        "mounts": {
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        },
        "processes": {line for line in processes if "/wherry/" in line},
        "cgroups": {str(p) for p in Path("/sys/fs/cgroup").glob("**/wherry/*")},
        "cni": {str(p) for p in Path("/var/lib/cni/results").glob("*")},
        "shims": {str(p) for p in Path("/run/containerd/s").glob("*")},
    }


def belonging(kinds: dict[str, set[str]], lab: str) -> dict[str, set[str]]:
    return {kind: {entry for entry in entries if lab in entry} for kind, entries in kinds.items()}


def test_down_leaves_nothing_and_labs_stand_side_by_side(lab: Lab) -> None:
    before = traces()
    with running_lab(*SMALL) as (other, _):
        during = belonging(traces(), other.name)
        for kind in ("namespaces", "devices", "routes", "mounts", "processes"):
            assert during[kind], kind
        assert "running" in lab("status")
    after = traces()
    assert not any(belonging(after, other.name).values())
    assert teardown.leftovers(other.name) == []
    # These carry no lab's name: the shared lab's own may have changed, so only growth counts.
    assert after["rules"] <= before["rules"]
    assert len(after["shims"] - before["shims"]) == 0
    assert len(after["cni"] - before["cni"]) == 0
    assert (CACHE / "registry").is_dir()  # what was built once stays built


def test_a_half_dead_lab_is_cleared_away_by_the_next_up() -> None:
    with running_lab(*SMALL, "--no-demo") as (small, _):
        rows = [line.split() for line in small("status").splitlines()]
        (pid,) = [row[2] for row in rows if row[1] == "containerd"]
        os.kill(int(pid), signal.SIGKILL)  # not by `lab kill`: nobody asked for it
        until(lambda: "dead" in small("status"), "a dead process")
        printed = small("up", *SMALL, "--no-demo", timeout_s=UP_S)
        assert "clear away what is left" in printed
        assert "dead" not in small("status")


def test_a_hollow_lab_needs_no_containers() -> None:
    with running_lab("--masters", "1", "--nodes", "2", "--runtime", "hollow") as (hollow, _):
        assert "containerd" not in hollow("status")
        nodes = hollow("kubectl", "--", "get", "nodes").splitlines()
        assert [line.split()[1] for line in nodes[1:]] == ["Ready", "Ready"]
