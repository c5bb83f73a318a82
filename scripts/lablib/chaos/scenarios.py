"""The five experiments: what is broken, what must hold, how things return to normal."""

import asyncio
import json
import re
from functools import partial
from typing import Any, Final

from lablib import bringup, demo, kubectl, network
from lablib.chaos.experiment import Experiment, aside, pods_on, traffic
from lablib.chaos.verdict import Fault, judge_resumption, judge_traffic
from lablib.errors import LabError
from lablib.etcdctl import endpoint_status, leader
from lablib.layout import Layout
from lablib.names import MASTER_PROCESSES, Host, Role
from lablib.shell import in_netns, run
from lablib.waiting import CLOCK

P50_S: Final = 1.0
WORST_S: Final = 2.0
"""How soon writes resume when one of three masters dies: see the package's docstring."""

LEADER_S: Final = 90.0
NOTICED_S: Final = 180.0
RETURN_S: Final = 180.0
NEW_POD_S: Final = 180.0


async def kill_leader(experiment: Experiment, kills: int, *, whole: bool) -> None:
    """SIGKILL the store that leads (with `whole`, everything on its master), `kills` times."""
    outages_s: list[float] = []
    for _ in range(kills):
        host = await _settled_leader(experiment)
        dead = MASTER_PROCESSES if whole else ("store",)
        fault = await experiment.kill(host, "store")
        for process in dead[1:]:
            await experiment.kill(host, process)
        outages_s.append(await experiment.resumption(fault))
        experiment.steps.note(f"  writes resumed after {outages_s[-1]:.2f} s")
        for process in dead:
            await experiment.start(host, process)
    await _settled_leader(experiment)
    judge_resumption(experiment.verdict, outages_s, p50_s=P50_S, worst_s=WORST_S)
    judge_traffic(experiment.verdict, await traffic(experiment))


async def _settled_leader(experiment: Experiment) -> Host:
    """The leader, once every store answers again and there is one: the next kill finds a quorum."""
    layout = experiment.layout

    def settled() -> Host | None:
        stores = [endpoint_status(layout, host) for host in layout.of(Role.MASTER)]
        if any(status is None or not status.get("leader") for status in stores):
            return None
        return leader(layout)

    return await experiment.wait(settled, "all stores answering", timeout_s=LEADER_S)


async def kill_all_masters(experiment: Experiment, seconds: float) -> None:
    """SIGKILL every process of every master, wait, start them; then a new Deployment must run."""
    masters = experiment.layout.of(Role.MASTER)
    for process in reversed(MASTER_PROCESSES):
        for host in masters:
            await experiment.kill(host, process)
    experiment.steps.note(f"  all masters dead for {seconds:g} s")
    await asyncio.sleep(seconds)
    returned_s = CLOCK.monotonic()
    for process in MASTER_PROCESSES:
        for host in masters:
            await experiment.start(host, process)
    took_s = await experiment.resumption(Fault(returned_s, returned_s))
    experiment.verdict.say(f"writes resumed {took_s:.1f} s after the masters' start")
    with experiment.steps.step("every API server is ready, every node is Ready"):
        await aside(bringup.wait_for_apiservers, experiment.layout, experiment.processes)
        await aside(bringup.wait_for_nodes, experiment.layout, experiment.processes)
    await _new_deployment(experiment)
    judge_traffic(experiment.verdict, await traffic(experiment))


async def kill_on_node(experiment: Experiment, process: str, node: str, seconds: float) -> None:
    """SIGKILL the agent or containerd of a node, wait, start it: it must re-adopt its pods."""
    host = experiment.node_host(node)
    before = await aside(pods_on, experiment.kubectl, node)
    if not before:
        raise LabError(f"no demo pod runs on {node}: nothing would be tested")
    await experiment.kill(host, process)
    await asyncio.sleep(seconds)
    await experiment.start(host, process)
    with experiment.steps.step(f"{node} takes new pods again"):
        await _new_pod(experiment, node)
    await experiment.wait(
        lambda: node in kubectl.ready_nodes(experiment.layout),
        f"{node} being Ready",
        timeout_s=RETURN_S,
    )
    after = await aside(pods_on, experiment.kubectl, node)
    experiment.verdict.say(
        f"pods on {node}: {len(before)} before; {sum(after.get(n) == v for n, v in before.items())} "
        "of them kept uid, address, container and restart count"
    )
    experiment.verdict.demand(
        after == before, f"the pods on {node} are not the same: {before} became {after}"
    )
    judge_traffic(experiment.verdict, await traffic(experiment))


async def cut_node(experiment: Experiment, node: str) -> None:
    """Cut a node off until the cluster has noticed, then plug it in again.

    Before the cluster notices, requests that the Service sends to the lost pods fail; that is
    told, not judged. Afterwards not one may, and names never may, from the other nodes.
    """
    host = experiment.node_host(node)
    lost = await aside(pods_on, experiment.kubectl, node)
    addresses = {pod[1] for pod in lost.values()}
    cut_s, began = CLOCK.now(), CLOCK.monotonic()
    await aside(network.cut, experiment.layout, host)
    experiment.steps.note(f"  cut {node}")
    with experiment.steps.step(f"{node} is NotReady and the Service has forgotten its pods"):
        await experiment.wait(
            lambda: (
                node not in kubectl.ready_nodes(experiment.layout)
                and not (addresses & _endpoints(experiment))
            ),
            f"the cluster noticing that {node} is gone",
            timeout_s=NOTICED_S,
        )
        noticed = CLOCK.monotonic()
        await experiment.wait(
            lambda: not (addresses & _balanced(experiment.layout, besides=host)),
            "the other nodes' proxies hearing of it",
            timeout_s=NOTICED_S,
        )
    noticed_s, heard = CLOCK.now(), CLOCK.monotonic()
    experiment.verdict.say(
        f"noticed after {noticed - began:.1f} s, by the proxies {heard - noticed:.1f} s later"
    )
    await asyncio.sleep(10)
    healed_s = CLOCK.now()
    await aside(network.heal, experiment.layout, host)
    experiment.steps.note(f"  healed {node}")
    with experiment.steps.step(f"{node} is Ready again and the demo is whole"):
        await _demo_again(experiment)
    reports = [r for r in await traffic(experiment) if r.node != node]
    if not reports:
        raise LabError("no other node has a client: cut_node needs two nodes")
    experiment.verdict.say("while nobody had noticed (failed requests are told, not judged):")
    judge_traffic(experiment.verdict, [r.between(cut_s, noticed_s) for r in reports], allowed=True)
    experiment.verdict.say("from then on:")
    judge_traffic(experiment.verdict, [r.between(noticed_s, healed_s) for r in reports])


def _endpoints(experiment: Experiment) -> set[str]:
    """The addresses behind the Service that are ready."""
    (endpoints,) = [
        item
        for item in experiment.kubectl.items("endpoints", "-n", demo.NAMESPACE)
        if item["metadata"]["name"] == demo.SERVICE
    ]
    subsets: list[Any] = endpoints.get("subsets") or []
    return {a["ip"] for subset in subsets for a in subset.get("addresses") or []}


def _balanced(layout: Layout, *, besides: Host) -> set[str]:
    """The addresses to which the nodes' kernels send what is meant for a Service."""
    tables = [
        run(in_netns(layout.netns(host), ["iptables-save", "-t", "nat"]))
        for host in layout.of(Role.NODE)
        if host != besides
    ]
    return {found for table in tables for found in re.findall(r"--to-destination ([0-9.]+)", table)}


async def _demo_again(experiment: Experiment) -> None:
    """Wait until the whole proof of the demo holds again."""
    layout = experiment.layout
    await aside(bringup.wait_for_nodes, layout, experiment.processes)
    await experiment.wait(
        lambda: demo.check(layout), "the demo's proof", timeout_s=RETURN_S, interval_s=1
    )


async def _new_deployment(experiment: Experiment) -> None:
    """Create a Deployment and wait until it runs."""
    with experiment.steps.step("a new Deployment runs"):
        manifest = json.dumps(_deployment(experiment.namespace))
        await aside(experiment.kubectl, "apply", "-f", "-", stdin=manifest)
        await aside(
            partial(
                experiment.kubectl,
                *("rollout", "status", "deployment/after", "-n", experiment.namespace),
                f"--timeout={NEW_POD_S:g}s",
                timeout_s=NEW_POD_S + 10,
            )
        )


async def _new_pod(experiment: Experiment, node: str) -> None:
    """Create a pod on that very node and wait until it is ready."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "after", "namespace": experiment.namespace},
        "spec": {**_pod_spec(), "nodeName": node},
    }
    await aside(experiment.kubectl, "apply", "-f", "-", stdin=json.dumps(pod))
    await experiment.wait(
        partial(kubectl.wait_ready, experiment.kubectl, ["after"], experiment.namespace, NEW_POD_S),
        f"a new pod on {node} being ready",
        timeout_s=NEW_POD_S,
    )


def _deployment(namespace: str) -> dict[str, Any]:
    labels = {"app": "after"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "after", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec()},
        },
    }


def _pod_spec() -> dict[str, Any]:
    sleeper = {"name": "sleep", "image": "busybox", "command": ["sleep", "3600"]}
    return {"terminationGracePeriodSeconds": 0, "containers": [sleeper]}
