"""From a component to a process: uvloop, logs, signals, exit codes.

SIGTERM and SIGINT cancel `main`; it drains in its `finally` blocks, for at most `DRAIN_S`.
Exit codes: 0 asked to stop, 1 a bug (with its traceback in the log), 2 a configuration that
cannot work (one line that says what to do).
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Final

import uvloop

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError
from wherry.process import log as logs
from wherry.process.clock import SystemClock
from wherry.process.health import Health

log = logging.getLogger(__name__)
DRAIN_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """Flags that every process has; `health_port` 0 serves no health."""

    name: str
    log_level: str = "info"
    log_format: str = "text"
    health_port: int = 0


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process gives its component."""

    clock: Clock
    rng: Random
    health: Health


def run(main: Callable[[Runtime], Awaitable[None]], options: ProcessOptions) -> None:
    """Run `main` until it ends or the process is asked to stop; exits the interpreter."""
    logs.setup(options.log_level, options.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_supervise(main, options))
    sys.exit(code)


async def _supervise(main: Callable[[Runtime], Awaitable[None]], options: ProcessOptions) -> int:
    runtime = Runtime(SystemClock(), SystemRandom(), Health())
    task = asyncio.ensure_future(_serve(main, runtime, options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, loop, task, number)
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")
    except BaseException as error:  # noqa: BLE001  # the last frame: nobody is left to tell
        return _explain(options.name, error)
    return 0


def _stop(loop: asyncio.AbstractEventLoop, task: "asyncio.Future[None]", number: int) -> None:
    log.info("stopping", extra={"signal": signal.Signals(number).name})
    task.cancel()
    loop.call_later(DRAIN_S, _give_up)


def _give_up() -> None:
    log.error("did not drain in %.0f s", DRAIN_S)
    sys.stderr.flush()
    signal.raise_signal(signal.SIGKILL)


def _explain(name: str, error: BaseException) -> int:
    """Print what ended the process; a configuration error is the user's, the rest is ours."""
    causes = list(_leaves(error))
    if all(isinstance(cause, ConfigError) for cause in causes):
        for said in dict.fromkeys(map(str, causes)):
            sys.stderr.write(f"wherry {name}: {said}\n")
        return 2
    if len(causes) == 1 and isinstance(causes[0], KeyboardInterrupt | SystemExit):
        raise causes[0]
    log.critical("crashed", exc_info=error)
    return 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what is inside groups of exceptions: tasks may fail for the same reason together."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


async def _serve(
    main: Callable[[Runtime], Awaitable[None]], runtime: Runtime, options: ProcessOptions
) -> None:
    if not options.health_port:
        await main(runtime)
        return
    try:
        server = await runtime.health.serve(options.health_port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on 127.0.0.1:{options.health_port}: {os.strerror(error.errno or 0)}; "
            "is another one running? choose another --health-port"
        ) from error
    async with server:
        await main(runtime)
