"""Run the programs of the system: no shell, all output kept, a failure says its last words."""

import subprocess
from collections.abc import Mapping, Sequence

from lablib.errors import LabError


def run(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    advice: str = "",
) -> str:
    """Run `command` and return its standard output.

    Raises:
        LabError: it failed, is not there, or took longer than `timeout_s`.
    """
    done = attempt(command, stdin=stdin, env=env, timeout_s=timeout_s, advice=advice)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        reason = said.splitlines()[-1] if said else f"exit code {done.returncode}"
        details = said if "\n" in said else ""
        raise LabError(f"`{' '.join(command[:6])}`: {reason}", advice, details)
    return done.stdout


def attempt(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    advice: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `command`; its exit code is the caller's to judge.

    Raises:
        LabError: it is not there, or took longer than `timeout_s`.
    """
    try:
        return subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=env,
            timeout=timeout_s,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as missing:
        raise LabError(
            f"the program {command[0]!r} is missing", advice or "run scripts/packages lab"
        ) from missing
    except subprocess.TimeoutExpired as late:
        raise LabError(
            f"`{' '.join(command[:6])}` did not end within {timeout_s:g} s", advice
        ) from late


def in_netns(netns: str, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in a network namespace.

    `nsenter --net`, not `ip netns exec`: that one also remounts /sys, and containerd would
    find no cgroups.
    """
    return ["nsenter", f"--net=/run/netns/{netns}", "--", *command]
