"""`scripts/lab status`: what runs where."""

from collections.abc import Iterator
from dataclasses import dataclass

from lablib import network
from lablib.layout import Layout
from lablib.processes import Processes, State


@dataclass(frozen=True, slots=True)
class Row:
    """One process; `pid` is None unless it runs."""

    host: str
    process: str
    pid: int | None
    state: str


def rows(layout: Layout) -> Iterator[Row]:
    """The state of every process; of a host whose cable is pulled, that too."""
    processes = Processes(layout)
    for host in layout.hosts:
        cut = " (host is cut)" if network.is_cut(layout, host) else ""
        for process in host.processes(layout.runtime):
            pid, state = processes.state(host, process)
            yield Row(host.name, process, pid, f"{state}{cut}")


def render(found: list[Row]) -> str:
    """The rows as text with aligned columns: HOST PROCESS PID STATE."""
    cells = [("HOST", "PROCESS", "PID", "STATE")]
    cells += [(r.host, r.process, "-" if r.pid is None else str(r.pid), r.state) for r in found]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in cells
    )


def is_running(found: list[Row]) -> bool:
    """Whether anything runs at all."""
    return any(row.state.startswith(State.RUNNING) for row in found)
