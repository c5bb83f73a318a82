"""The command lines of scripts/chaos/*: `scripts/lab chaos EXPERIMENT`."""

import asyncio
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import click

from lablib import state
from lablib.chaos import scenarios
from lablib.chaos.experiment import Scenario, run
from lablib.errors import LabError
from lablib.layout import Layout
from lablib.names import Role, validate_lab
from lablib.steps import Steps, consoles

Function = Callable[..., Scenario]


@click.group(hidden=True)
def chaos() -> None:
    """Break one thing of a running lab under load; fails if the failure contract is broken."""


def _experiment(name: str) -> Callable[[Function], click.Command]:
    """A command that runs the scenario which the function returns."""

    def decorate(function: Function) -> click.Command:
        @click.option("--name", "lab", default="lab", show_default=True, help="Which lab.")
        @wraps(function)
        def call(lab: str, **flags: Any) -> None:
            layout = state.running(validate_lab(lab))
            _conduct(layout, function(layout, **flags))

        return chaos.command(name, context_settings={"show_default": True})(call)

    return decorate


def _conduct(layout: Layout, scenario: Scenario) -> None:
    out, _ = consoles()
    steps = Steps(out)
    verdict = asyncio.run(run(layout, steps, scenario))
    for line in verdict.lines:
        steps.note(line)
    if verdict.broken:
        raise LabError("the failure contract is broken", details="\n".join(verdict.broken))
    steps.note(f"the failure contract holds ({steps.elapsed_s:.0f} s)")


@_experiment("kill_leader")
@click.option("--kills", type=click.IntRange(1, 100), default=10, help="How often.")
@click.option("--whole", is_flag=True, help="Kill all processes of the leading master.")
def kill_leader(_layout: Layout, kills: int, *, whole: bool) -> Scenario:
    """SIGKILL the store that leads, again and again."""
    return partial(scenarios.kill_leader, kills=kills, whole=whole)


@_experiment("kill_all_masters")
@click.option("--seconds", type=click.FloatRange(1, 600), default=30, help="How long dead.")
def kill_all_masters(_layout: Layout, seconds: float) -> Scenario:
    """SIGKILL every process of every master; start them again."""
    return partial(scenarios.kill_all_masters, seconds=seconds)


@_experiment("kill_agent")
@click.option("--node", default="node-1", help="Whose agent.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=10, help="How long dead.")
def kill_agent(_layout: Layout, node: str, seconds: float) -> Scenario:
    """SIGKILL a node's agent; start it again."""
    return partial(scenarios.kill_on_node, process="agent", node=node, seconds=seconds)


@_experiment("kill_containerd")
@click.option("--node", default="node-1", help="Whose containerd.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=10, help="How long dead.")
def kill_containerd(_layout: Layout, node: str, seconds: float) -> Scenario:
    """SIGKILL a node's containerd; start it again."""
    return partial(scenarios.kill_on_node, process="containerd", node=node, seconds=seconds)


@_experiment("cut_node")
@click.option("--node", default=None, help="Which one.  [default: the last]", show_default=False)
def cut_node(layout: Layout, node: str | None) -> Scenario:
    """Pull a node's network cable until the cluster has noticed; plug it in again."""
    return partial(scenarios.cut_node, node=node or layout.of(Role.NODE)[-1].name)
