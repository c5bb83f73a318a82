"""Keep a set of child processes running: start in order, restart with back-off, stop in reverse.

    STARTING --ready--> RUNNING --exit--> WAITING --delay--> STARTING
    any --stop asked--> STOPPED

A child that ends with code 2 before it ever served was configured wrongly: that ends the
supervisor too, with the child's last line. A child that lived for `HEALTHY_S` has earned a fresh back-off. Each child writes to a log
file of its own, or to where the supervisor writes. The supervisor survives nothing itself: if it is killed, its children get
SIGTERM from the kernel (parent-death signal), so that nothing is left behind.
"""

import asyncio
import ctypes
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import IO, Any, Final, Literal

from wherry.api.errors import ConfigError
from wherry.client.backoff import Backoff

log = logging.getLogger(__name__)
HEALTHY_S: Final = 10.0
STOP_S: Final = 20.0
READY_S: Final = 60.0
CONFIG_CODE: Final = 2
"""Exit code of a process whose configuration cannot work (`wherry.process.run`)."""
_PR_SET_PDEATHSIG: Final = 1


class State(StrEnum):
    """Where a child is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Child:
    """What to run; `ready` answers whether it serves, None means as soon as it runs."""

    name: str
    argv: Sequence[str]
    log_file: Path | None
    """Where it writes; None: where we do."""
    ready: Callable[[], Awaitable[bool]] | None = None
    after: Sequence[str] = ()
    """Names of children that must have been ready once before this one starts."""
    env: Mapping[str, str] | None = None


@dataclass(slots=True)
class _Life:
    state: State = State.STARTING
    pid: int = 0
    restarts: int = 0
    ready_once: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs `children` until cancelled."""

    def __init__(self, children: Sequence[Child], *, rng: Random) -> None:
        self._children = children
        self._rng = rng
        self._lives = {child.name: _Life() for child in children}
        self._stopping = asyncio.Event()

    def states(self) -> dict[str, tuple[State, int, int]]:
        """Return (state, pid, restarts) of each child."""
        return {name: (life.state, life.pid, life.restarts) for name, life in self._lives.items()}

    async def ready(self) -> None:
        """Wait until every child has been ready once."""
        for life in self._lives.values():
            await life.ready_once.wait()

    async def run(self) -> None:
        """Start everything, keep it running, and on cancellation stop it in reverse order.

        Raises:
            ConfigError: a child cannot run as it was configured; the others were stopped.
        """
        stop = {child.name: asyncio.Event() for child in self._children}
        async with asyncio.TaskGroup() as group:
            keepers = {
                child.name: group.create_task(self._keep(child, stop[child.name]), name=child.name)
                for child in self._children
            }
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                for child in reversed(self._children):
                    stop[child.name].set()
                    await asyncio.shield(asyncio.wait([keepers[child.name]]))

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        life = self._lives[child.name]
        backoff = Backoff(self._rng, first_s=0.2, most_s=30.0)
        loop = asyncio.get_running_loop()
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await _first(stopped, self._predecessors(child))
            while not stop.is_set():
                life.state = State.STARTING
                began_s = loop.time()
                code = await self._run_once(child, life, stopped)
                if stop.is_set():
                    break
                if code == CONFIG_CODE and not life.ready_once.is_set():
                    raise ConfigError(_last_line(child.log_file))
                if loop.time() - began_s > HEALTHY_S:
                    backoff.reset()
                delay_s = backoff.next_s()
                life.restarts += 1
                life.state = State.WAITING
                log.warning(
                    "process ended; starting it again",
                    extra={"child": child.name, "code": code, "in_s": round(delay_s, 1)},
                )
                await _first(stopped, asyncio.sleep(delay_s))
        finally:
            life.state = State.STOPPED
            stopped.cancel()

    async def _predecessors(self, child: Child) -> None:
        for name in child.after:
            await self._lives[name].ready_once.wait()

    async def _run_once(
        self, child: Child, life: _Life, stopped: "asyncio.Task[Literal[True]]"
    ) -> int | None:
        with _output(child.log_file) as output:
            process = await asyncio.create_subprocess_exec(
                *child.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=child.env,
                preexec_fn=_die_with_parent,
                start_new_session=True,  # Ctrl-C is for the supervisor alone
            )
        life.pid = process.pid
        probe = asyncio.ensure_future(self._probe(child, life))
        exited = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait([stopped, exited], return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                process.terminate()
                await asyncio.wait([exited], timeout=STOP_S)
            if not exited.done():
                log.error("process does not stop; killing it", extra={"child": child.name})
                process.kill()
            return await exited
        except asyncio.CancelledError:
            process.terminate()
            await asyncio.shield(asyncio.wait([exited], timeout=STOP_S))
            raise
        finally:
            probe.cancel()

    async def _probe(self, child: Child, life: _Life) -> None:
        while child.ready is not None and not await child.ready():  # noqa: ASYNC110  # another process tells nobody
            await asyncio.sleep(0.05)
        life.state = State.RUNNING
        life.ready_once.set()
        log.info("running", extra={"child": child.name, "pid": life.pid})


def _output(path: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _last_line(path: Path | None) -> str:
    if path is None:
        return "see above"
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see {path}"


async def _first(
    stopped: "asyncio.Task[Literal[True]]", other: Coroutine[Any, Any, object]
) -> None:
    """Wait for either; cancel the other one."""
    task = asyncio.ensure_future(other)
    try:
        await asyncio.wait([stopped, task], return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
