"""`scripts/lab up`: from a bare machine to a cluster whose nodes are Ready.

Each step leaves a state that `down` can remove. A failed `up` leaves everything as it is, to
be looked at; the next `up` or `down` clears it away.
"""

import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import partial
from typing import Final

from pyroute2 import netns as namespaces

from lablib import components, containerd, kernel, kubectl, network, ranges, state, teardown
from lablib.errors import LabError
from lablib.images import build
from lablib.layout import APISERVER_PORT, SERVICE_CIDR, Layout
from lablib.names import Host, Role, Runtime, hosts
from lablib.processes import Processes, State
from lablib.shell import run
from lablib.steps import Steps
from lablib.waiting import until

READY_S: Final = 180.0
NODES_READY_S: Final = 180.0
CONTAINERD_S: Final = 90.0


def up(lab: str, masters: int, nodes: int, runtime: Runtime, steps: Steps) -> Layout:
    """Build the lab, start everything, wait until every node is Ready.

    Raises:
        LabError: a step failed, or the lab is up already.
    """
    hosts(masters, nodes, runtime)  # refuse a bad size before anything is touched
    with state.exclusive(f"lab-{lab}"):
        _clear(lab, steps)
        with steps.step("kernel: namespaces, veth, bridge, vxlan, overlayfs, iptables"):
            kernel.check()
        layout = _hosts(lab, masters, nodes, runtime, steps)
        try:
            _start(layout, steps)
        except BaseException:
            state.write(layout, state.Phase.FAILED)
            raise
        state.write(layout, state.Phase.UP)
    return layout


def _clear(lab: str, steps: Steps) -> None:
    record = state.read(lab)
    if record is not None and record.phase is state.Phase.UP and _is_whole(record):
        raise LabError(
            f"lab {lab!r} is up already",
            f"use it (scripts/lab status --name {lab}), or first: scripts/lab down --name {lab}",
        )
    if teardown.leftovers(lab):
        with steps.step(f"clear away what is left of an earlier lab {lab!r}"):
            teardown.destroy(lab)


def _is_whole(record: state.Record) -> bool:
    """Whether nothing of the lab has died by itself (what `lab kill` killed is meant to be dead)."""
    if record.boot != state.boot_id():
        return False
    layout = record.layout
    processes = Processes(layout)
    return all(
        processes.state(host, process)[1] in (State.RUNNING, State.KILLED)
        for host in layout.hosts
        for process in host.processes(layout.runtime)
    )


def _hosts(lab: str, masters: int, nodes: int, runtime: Runtime, steps: Steps) -> Layout:
    with steps.step(f"hosts: {masters} masters, {nodes} nodes"), state.exclusive("ranges"):
        chosen = ranges.choose(lab, network.routed_networks())
        layout = Layout(lab, chosen, masters, nodes, runtime)
        state.write(layout, state.Phase.STARTING)
        try:
            network.create(layout)
        except BaseException:
            teardown.destroy(lab)
            raise
    steps.note(f"  underlay {layout.network}, this machine is {layout.root_address} there")
    return layout


def _start(layout: Layout, steps: Steps) -> None:
    processes = Processes(layout)
    with steps.step("keys and certificates (wherry init)"):
        _init(layout)
    if layout.runtime is Runtime.CRI:
        with steps.step("images from Debian packages: nginx, python, busybox, pause"):
            fill_registry(layout)
        with steps.step(f"image registry on {layout.registry}, containerd on every node"):
            _start_runtime(layout, processes)
    for process in ("store", "apiserver", "scheduler", "controller-manager"):
        with steps.step(f"{process} on {_names(layout.of(Role.MASTER))}"):
            launch(layout, processes, layout.of(Role.MASTER), process)
            if process == "apiserver":
                wait_for_apiservers(layout, processes)
    for process in ("overlay", "agent", "proxy", "dns"):
        at = [h for h in layout.of(Role.NODE) if process in h.processes(layout.runtime)]
        if at:
            with steps.step(f"{process} on {_names(at)}"):
                launch(layout, processes, at, process)
    if layout.nodes:
        with steps.step("every node is Ready"):
            wait_for_nodes(layout, processes)


def launch(layout: Layout, processes: Processes, at: Sequence[Host], process: str) -> None:
    """Start one process on several hosts.

    Raises:
        LabError: it runs already, a port it needs is taken, or it ended at once.
    """
    for host in at:
        processes.check_dead(host, process)
        check_ports(layout, host, process)
        processes.start(host, process, components.command(layout, host, process))


def check_ports(layout: Layout, host: Host, process: str) -> None:
    """Make sure that nobody else has the ports of `process`.

    Raises:
        LabError: somebody has; named.
    """
    for port in components.tcp_ports(layout, host, process):
        holder = network.listener(layout, host, port)
        if holder is not None:
            raise LabError(
                f"port {port} on {host.name}, which {process} needs, is taken by {holder}",
                "end that process, then try again",
            )


def _init(layout: Layout) -> None:
    command = [components.PYTHON, "-m", "wherry.cli", "init", "--dir", str(layout.data)]
    for role, flag in ((Role.MASTER, "--master"), (Role.NODE, "--node")):
        for host in layout.of(role):
            command += [flag, f"{host.name}={layout.address(host)}"]
    if layout.runtime is Runtime.HOLLOW:
        command.append("--hollow")
    layout.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    run([*command, "--service-cidr", str(SERVICE_CIDR)])
    for host in layout.hosts:
        layout.run_of(host).mkdir(parents=True, exist_ok=True)
        directory = layout.data_of(host)
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("pki", "tokens.csv"):
            (directory / name).symlink_to(layout.data / name)


def fill_registry(layout: Layout) -> None:
    """Give the lab a registry that holds all images.

    Raises:
        LabError: they cannot be made.
    """
    storage = components.registry_storage(layout)
    shutil.copytree(build.cached_storage(), storage)
    components.registry_config(layout).write_text(
        build.render_registry_config(storage, layout.registry)
    )


def _start_runtime(layout: Layout, processes: Processes) -> None:
    launch(layout, processes, layout.of(Role.REGISTRY), "registry")
    for host in layout.of(Role.NODE):
        containerd.write_files(layout, host)
    launch(layout, processes, layout.of(Role.NODE), "containerd")
    for host in layout.of(Role.NODE):
        socket = layout.containerd_socket(host)
        until(
            socket.is_socket,
            f"the start of containerd on {host.name}",
            timeout_s=CONTAINERD_S,
            alive=partial(processes.check, host, "containerd"),
            details=partial(processes.tail, host, "containerd"),
        )


def wait_for_apiservers(layout: Layout, processes: Processes) -> None:
    """Wait until the API server of every master is ready.

    Raises:
        LabError: one is not, or it or its store died.
    """
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    masters = layout.of(Role.MASTER)

    def alive() -> None:
        for master in masters:
            processes.check(master, "store")
            processes.check(master, "apiserver")

    for host in masters:
        url = f"https://{layout.address(host)}:{APISERVER_PORT}/readyz"
        until(
            partial(answers, url, context),
            f"the API server on {host.name} being ready",
            timeout_s=READY_S,
            alive=alive,
            details=partial(_tails, processes, host, ("store", "apiserver")),
        )


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether a GET of `url` is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ready(layout: Layout, host: Host, process: str) -> bool:
    """Whether a process of Wherry's own says that it is ready (on its host's loopback)."""
    port = components.planned(layout, host)[process].health_port
    namespaces.pushns(layout.netns(host))
    try:
        return answers(f"http://127.0.0.1:{port}/readyz")
    finally:
        namespaces.popns()


def wait_for_nodes(layout: Layout, processes: Processes) -> None:
    """Wait until every node is Ready.

    Raises:
        LabError: one is not; the reason is in its conditions.
    """
    nodes = layout.of(Role.NODE)
    names = {host.name for host in nodes}

    def alive() -> None:
        for host in nodes:
            for process in host.processes(layout.runtime):
                processes.check(host, process)

    until(
        lambda: names <= kubectl.ready_nodes(layout),
        "every node being Ready",
        timeout_s=NODES_READY_S,
        interval_s=0.3,
        advice=f"see the logs in {layout.data / 'log'}",
        alive=alive,
        details=partial(_tails, processes, nodes[0], ("overlay", "agent")),
    )


def _tails(processes: Processes, host: Host, names: Sequence[str]) -> str:
    return "\n".join(processes.tail(host, name) for name in names)


def _names(at: Sequence[Host]) -> str:
    return ", ".join(host.name for host in at)
