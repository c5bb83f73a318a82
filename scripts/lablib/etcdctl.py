"""etcdctl against the lab's stores."""

import json
from collections.abc import Sequence
from typing import Any

from lablib.layout import CLIENT_PORT, Layout
from lablib.names import Host, Role
from lablib.shell import attempt


def etcdctl_command(
    layout: Layout, arguments: Sequence[str], at: Sequence[Host] | None = None
) -> list[str]:
    """The command line, with the administrator's certificate, for the stores of all masters."""
    masters = layout.of(Role.MASTER) if at is None else at
    return [
        "etcdctl",
        "--endpoints",
        ",".join(f"https://{layout.address(host)}:{CLIENT_PORT}" for host in masters),
        *("--cacert", str(layout.pki / "ca.crt")),
        *("--cert", str(layout.pki / "admin.crt")),
        *("--key", str(layout.pki / "admin.key")),
        *arguments,
    ]


def leader(layout: Layout) -> Host | None:
    """The master whose store says that it leads; None while there is none."""
    for host in layout.of(Role.MASTER):
        status = endpoint_status(layout, host)
        if status is not None and status.get("leader") == status["header"]["member_id"]:
            return host
    return None


def endpoint_status(layout: Layout, host: Host) -> Any | None:
    """What the store of one master says of itself; None if it does not answer."""
    done = attempt(
        etcdctl_command(
            layout,
            ["--command-timeout=1s", "--dial-timeout=1s", "endpoint", "status", "-w", "json"],
            [host],
        ),
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
        timeout_s=30,
    )
    if done.returncode != 0:
        return None
    try:
        return json.loads(done.stdout)[0]["Status"]
    except (ValueError, KeyError, IndexError):
        return None
