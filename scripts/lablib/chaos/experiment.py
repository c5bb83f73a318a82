"""One experiment: load, a fault, the return to normal, the verdict.

Whatever happens in between, at the end every process of the lab runs again, every cable is
plugged in, and the experiment's namespace is gone.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from lablib import bringup, demo, network
from lablib.chaos.clients import Clients, Report
from lablib.chaos.verdict import Fault, Verdict, judge_writes, resumed_after
from lablib.chaos.writers import WRITERS, Ledger, Writer, read_back
from lablib.errors import LabError
from lablib.kubectl import Kubectl
from lablib.layout import Layout
from lablib.names import Host, Role
from lablib.processes import Processes, State
from lablib.steps import Steps
from lablib.waiting import CLOCK, until

WARM_UP_ACKS: Final = 40
WARM_UP_S: Final = 90.0
RESUME_S: Final = 60.0
SETTLE_S: Final = 3.0

P = ParamSpec("P")
T = TypeVar("T")


async def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call in a thread, so that the writers' clocks do not stand still."""
    return await asyncio.to_thread(call, *args, **kwargs)


@dataclass(slots=True)
class Experiment:
    """What a scenario works with."""

    layout: Layout
    kubectl: Kubectl
    processes: Processes
    namespace: str
    clients: Clients
    steps: Steps
    ledger: Ledger = field(default_factory=Ledger)
    verdict: Verdict = field(default_factory=Verdict)

    async def kill(self, host: Host, process: str) -> Fault:
        """SIGKILL a process; when."""
        before_s = CLOCK.monotonic()
        await aside(self.processes.kill, host, process)
        after_s = CLOCK.monotonic()
        self.steps.note(f"  killed {process} on {host.name}")
        return Fault(before_s, after_s)

    async def start(self, host: Host, process: str) -> None:
        """Start a dead process."""
        await aside(bringup.launch, self.layout, self.processes, [host], process)
        self.steps.note(f"  started {process} on {host.name}")

    async def wait(
        self,
        condition: Callable[[], T | None],
        what: str,
        *,
        timeout_s: float,
        interval_s: float = 0.2,
    ) -> T:
        """Wait until `condition` returns something true; see `lablib.waiting.until`.

        Raises:
            LabError: it does not in time.
        """
        return await aside(
            partial(until, condition, what, timeout_s=timeout_s, interval_s=interval_s)
        )

    async def resumption(self, fault: Fault) -> float:
        """Wait for an acknowledged write that was sent after the fault; seconds it took.

        Raises:
            LabError: none came within RESUME_S.
        """
        deadline = CLOCK.monotonic() + RESUME_S
        while (took_s := resumed_after(self.ledger.acks, fault)) is None:
            if CLOCK.monotonic() > deadline:
                raise LabError(f"writes did not resume within {RESUME_S:g} s")
            await asyncio.sleep(0.01)
        return took_s

    def node_host(self, name: str) -> Host:
        """The node of that name.

        Raises:
            LabError: there is no such node.
        """
        host = self.layout.host(name)
        if host.role is not Role.NODE:
            raise LabError(f"{name} is no node")
        return host


Scenario = Callable[[Experiment], Awaitable[None]]


async def run(layout: Layout, steps: Steps, scenario: Scenario) -> Verdict:
    """Put the lab under load, run the scenario, restore, judge what was written.

    Raises:
        LabError: the experiment itself could not be done, or the lab did not return to normal.
    """
    async with _prepared(layout, steps) as experiment:
        try:
            await _under_load(experiment, scenario)
        except BaseExceptionGroup as group:
            failed, rest = group.split(LabError)
            if failed is None or rest is not None:
                raise
            raise failed.exceptions[0] from None
        kept = await read_back(layout, experiment.namespace)
        judge_writes(experiment.verdict, experiment.ledger, kept.values)
        return experiment.verdict


async def _under_load(experiment: Experiment, scenario: Scenario) -> None:
    async with asyncio.TaskGroup() as group:
        writers = [
            group.create_task(
                Writer(experiment.layout, experiment.namespace, index, experiment.ledger).run()
            )
            for index in range(WRITERS)
        ]
        await _warm_up(experiment)
        await scenario(experiment)
        await asyncio.sleep(SETTLE_S)
        for writer in writers:
            writer.cancel()


async def _warm_up(experiment: Experiment) -> None:
    """Let the load flow before anything breaks: what fails now is no fault's doing."""
    deadline = CLOCK.monotonic() + WARM_UP_S
    while len(experiment.ledger.acks) < WARM_UP_ACKS:
        if CLOCK.monotonic() > deadline or experiment.ledger.refused:
            raise LabError(
                f"only {len(experiment.ledger.acks)} writes were acknowledged in {WARM_UP_S:g} s "
                "before anything was broken",
                details="\n".join(experiment.ledger.refused[:3]),
            )
        await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE_S)


@contextlib.asynccontextmanager
async def _prepared(layout: Layout, steps: Steps) -> AsyncIterator[Experiment]:
    processes = Processes(layout)
    _check_whole(layout, processes)
    kubectl = Kubectl.of(layout)
    namespace = f"chaos-{secrets.token_hex(3)}"
    nodes = [host.name for host in layout.of(Role.NODE)]
    experiment = Experiment(
        layout, kubectl, processes, namespace, Clients(kubectl, namespace, nodes), steps
    )
    try:
        with steps.step("load: writers through the API, a client pod on every node"):
            await aside(demo.deploy, kubectl)
            address = await aside(demo.cluster_ip, kubectl)
            await aside(kubectl, "create", "namespace", namespace)
            await aside(experiment.clients.start, address)
        yield experiment
    finally:
        await aside(restore, layout, processes, steps)
        await aside(kubectl.attempt, "delete", "namespace", namespace, "--wait=false")


def _check_whole(layout: Layout, processes: Processes) -> None:
    for host in layout.hosts:
        for process in host.processes(layout.runtime):
            processes.check(host, process)


def restore(layout: Layout, processes: Processes, steps: Steps) -> None:
    """Plug in every cable and start every process that is dead."""
    for host in layout.hosts:
        if network.is_cut(layout, host):
            network.heal(layout, host)
            steps.note(f"  healed {host.name}")
        for process in host.processes(layout.runtime):
            if processes.state(host, process)[1] is not State.RUNNING:
                bringup.launch(layout, processes, [host], process)
                steps.note(f"  started {process} on {host.name}")
    bringup.wait_for_nodes(layout, processes)


async def traffic(experiment: Experiment) -> list[Report]:
    """What the client pods counted since they started."""
    return await aside(experiment.clients.reports)


def pods_on(kubectl: Kubectl, node: str) -> dict[str, tuple[Any, ...]]:
    """Each demo pod of a node with what must not change while its agent or runtime is away."""
    return {
        item["metadata"]["name"]: (
            item["metadata"]["uid"],
            item["status"].get("podIP"),
            *(
                (status.get("containerID"), status.get("restartCount"))
                for status in item["status"].get("containerStatuses", [])
            ),
        )
        for item in kubectl.items("pods", "-n", demo.NAMESPACE, "-l", "app=echo")
        if item["spec"].get("nodeName") == node
    }
