"""The Vagrantfile's provisioning scripts, run for real on two namespace machines.

Each machine has its own files where provisioning writes, its own processes and network, and
no systemd, which the scripts find out by themselves. Images come from a lab's registry.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import ROOT, Kubectl, until
from lab_machine import Machine, running_machine

from lablib import bringup, network, ranges, state, teardown
from lablib.kubectl import debian_build, has_condition
from lablib.layout import Layout
from lablib.names import Host, Role, Runtime
from lablib.processes import Processes

pytestmark = pytest.mark.cluster

LAB = "provision"


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """The cables and the registry of a lab, and nothing else of it."""
    teardown.destroy(LAB)
    with state.exclusive("ranges"):
        made = Layout(LAB, ranges.choose(LAB, network.routed_networks()), 1, 1, Runtime.CRI)
        state.write(made, state.Phase.STARTING)
        network.create(made)
    try:
        made.data.mkdir(parents=True)
        bringup.fill_registry(made)
        bringup.launch(made, Processes(made), made.of(Role.REGISTRY), "registry")
        yield made
    finally:
        teardown.destroy(LAB)


def provision(machine: Machine, layout: Layout, host: Host, script: str, **settings: str) -> str:
    done = machine.run(
        ROOT / "scripts" / "provision" / script,
        env={
            "WHERRY_NAME": host.name,
            "WHERRY_ADDRESS": str(layout.address(host)),
            "WHERRY_MIRROR": layout.registry,
            **settings,
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_master_and_node_make_a_cluster(layout: Layout, tmp_path: Path) -> None:
    (master,) = layout.of(Role.MASTER)
    (node,) = layout.of(Role.NODE)
    with (
        running_machine(layout.netns(master), tmp_path / "master") as first,
        running_machine(layout.netns(node), tmp_path / "node") as second,
    ):
        printed = provision(first, layout, master, "master.sh")
        assert "ready" in printed
        assert "runs already" in provision(first, layout, master, "master.sh")
        token = first.path("/var/lib/wherry/join.token").read_text().strip()
        provision(
            second,
            layout,
            node,
            "node.sh",
            WHERRY_MASTER=str(layout.address(master)),
            WHERRY_TOKEN=token,
        )
        kubectl = Kubectl(
            debian_build(), str(first.path("/var/lib/wherry/admin.kubeconfig")), "default"
        )
        until(lambda: ready(kubectl) == {"master-1", "node-1"}, "two Ready nodes")
        kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
        kubectl("rollout", "status", "deployment/web", "--timeout=280s")
        pods = kubectl.json("pods")["items"]
        assert {pod["spec"]["nodeName"] for pod in pods} == {"master-1", "node-1"}


def ready(kubectl: Kubectl) -> set[str]:
    """Who is Ready, and not tainted any more for not being it: pods spread over these."""
    return {
        node["metadata"]["name"]
        for node in kubectl.json("nodes")["items"]
        if has_condition(node, "Ready") and not node["spec"].get("taints")
    }


def test_a_node_without_a_master_is_told_what_is_missing(layout: Layout, tmp_path: Path) -> None:
    (node,) = layout.of(Role.NODE)
    with running_machine(layout.netns(node), tmp_path / "node") as machine:
        done = machine.run(ROOT / "scripts" / "provision" / "node.sh")
        assert done.returncode != 0
        assert "set WHERRY_MASTER" in done.stderr
