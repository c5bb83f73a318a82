"""The lab's machinery without a cluster: hosts, cables, processes, and that nothing stays."""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lablib import kernel, network, ranges, state, teardown
from lablib.errors import LabError
from lablib.layout import RUN, Layout
from lablib.names import Host, Role, Runtime
from lablib.processes import Identity, Processes, State, identify, is_alive, send
from lablib.shell import attempt, in_netns
from lablib.waiting import until

pytestmark = pytest.mark.netns


@pytest.fixture
def layout() -> Iterator[Layout]:
    """Two hosts on a bridge, nothing running in them."""
    name = f"u{secrets.token_hex(3)}"
    with state.exclusive("ranges"):
        made = Layout(name, ranges.choose(name, network.routed_networks()), 1, 1, Runtime.HOLLOW)
        state.write(made, state.Phase.STARTING)
        try:
            network.create(made)
        except BaseException:
            teardown.destroy(name)
            raise
    try:
        yield made
    finally:
        teardown.destroy(name)


def reaches(layout: Layout, source: Host, target: Host) -> bool:
    return attempt(in_netns(layout.netns(source), ping(layout, target))).returncode == 0


def ping(layout: Layout, target: Host) -> list[str]:
    return ["ping", "-c1", "-W1", str(layout.address(target))]


def pair(layout: Layout) -> tuple[Host, Host]:
    return layout.of(Role.MASTER)[0], layout.of(Role.NODE)[0]


def test_this_kernel_carries_a_lab() -> None:
    kernel.check()


def test_hosts_reach_each_other_and_are_reached_from_the_root_namespace(layout: Layout) -> None:
    master, node = pair(layout)
    until(lambda: reaches(layout, master, node), "an answer", timeout_s=60)
    from_root = ping(layout, node)
    until(lambda: attempt(from_root).returncode == 0, "an answer", timeout_s=60)


def test_a_cut_host_keeps_its_routes_and_comes_back(layout: Layout) -> None:
    master, node = pair(layout)
    before = attempt(["ip", "-n", layout.netns(node), "route"]).stdout.replace(" linkdown", "")
    network.cut(layout, node)
    assert network.is_cut(layout, node)
    assert not reaches(layout, master, node)
    after = attempt(["ip", "-n", layout.netns(node), "route"]).stdout.replace(" linkdown", "")
    assert after == before
    network.heal(layout, node)
    assert not network.is_cut(layout, node)
    until(lambda: reaches(layout, master, node), "an answer", timeout_s=60)


def test_another_lab_takes_another_range(layout: Layout) -> None:
    taken = network.routed_networks()
    assert layout.network in taken
    assert not ranges.choose(layout.lab, taken).overlaps(layout.network)


def test_a_killed_process_stays_dead_until_it_is_started(layout: Layout) -> None:
    _, node = pair(layout)
    processes = Processes(layout)
    assert processes.state(node, "agent") == (None, State.STOPPED)
    first = processes.start(node, "agent", ["sleep", "1000"])
    assert processes.state(node, "agent") == (first.pid, State.RUNNING)
    with pytest.raises(LabError, match="is running already"):
        processes.start(node, "agent", ["sleep", "1000"])
    assert processes.kill(node, "agent") == first.pid
    assert processes.state(node, "agent") == (None, State.KILLED)
    with pytest.raises(LabError, match="is not running"):
        processes.kill(node, "agent")
    second = processes.start(node, "agent", ["sleep", "1000"])
    assert second != first
    assert processes.state(node, "agent") == (second.pid, State.RUNNING)


def test_a_process_that_dies_by_itself_is_dead_and_its_last_words_are_shown(layout: Layout) -> None:
    _, node = pair(layout)
    processes = Processes(layout)
    told = layout.data / "told"  # to end: who ends at once may be gone before it is known
    dying = f"until [ -e {told} ]; do sleep 0.05; done; echo no such flag; exit 2"
    started = processes.start(node, "agent", ["sh", "-c", dying])
    told.touch()
    until(lambda: not is_alive(started), "its end", timeout_s=60)
    assert processes.state(node, "agent") == (None, State.DEAD)
    with pytest.raises(LabError, match="agent on node-1 is dead") as failed:
        processes.check(node, "agent")
    assert "no such flag" in failed.value.details


def test_a_reused_pid_is_somebody_else() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        try:
            real = identify(child.pid)
            assert real is not None
            earlier = Identity(real.pid, real.started - 1)
            assert not is_alive(earlier)
            assert not send(earlier, signal.SIGKILL)
            assert child.poll() is None
            assert send(real, signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
        finally:
            child.kill()
    assert identify(child.pid) is None


def test_a_taken_port_is_named_with_its_holder(layout: Layout) -> None:
    master, _ = pair(layout)
    assert network.listener(layout, master, 6443) is None
    listen = "import socket,time; s=socket.create_server(('', 6443)); time.sleep(1000)"
    held = Processes(layout).start(master, "apiserver", ["python3", "-c", listen])
    # `ss` looks at processes before it looks at sockets: the holder of a new one is "somebody".
    holder = f"python3 (pid {held.pid})"
    until(lambda: network.listener(layout, master, 6443) == holder, holder, timeout_s=60)


def test_down_removes_a_lab_that_was_left_in_the_middle(layout: Layout) -> None:
    """Processes nobody remembers, mounts, cgroups, a lost state file: all of it goes."""
    _, node = pair(layout)
    orphan = Processes(layout).start(node, "agent", ["sleep", "1000"])
    (layout.run_of(node) / "agent.pid").unlink()
    mount = layout.data / "pods" / "a b" / "volume"  # the space is a trap in mountinfo
    mount.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mount], check=True)
    tops = [path for path in Path("/sys/fs/cgroup").glob("*") if (path / "cgroup.procs").exists()]
    group = tops[0] / f"wherry/{layout.lab}/node-1/kubepods"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(str(orphan.pid))
    state.path(layout.lab).unlink()
    assert teardown.leftovers(layout.lab)
    teardown.destroy(layout.lab)
    assert teardown.leftovers(layout.lab) == []
    assert not is_alive(orphan)
    assert not mount.exists()
    assert not group.exists()
    teardown.destroy(layout.lab)  # and once more is harmless


def test_a_lab_of_before_a_reboot_is_not_up(layout: Layout) -> None:
    assert state.running(layout.lab) == layout
    record = state.path(layout.lab)
    record.write_text(record.read_text().replace(state.boot_id(), "another-boot"))
    with pytest.raises(LabError, match="did not survive the reboot"):
        state.running(layout.lab)


def test_a_lock_is_held_by_one_and_leaves_no_file() -> None:
    name = f"test-{secrets.token_hex(3)}"
    file = RUN / f".{name}.lock"
    inside: list[int] = []

    def work(number: int) -> None:
        with state.exclusive(name):
            inside.append(number)
            assert len(inside) == 1
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert not file.exists()
