"""`machine.yaml`: what `wherry join` found out, as defaults of `wherry up` on the same directory. Pure.

Its keys are flags of `wherry up`. It is written last: where it is, joining was complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from wherry.cli.layout import Host

FILE_NAME = "machine.yaml"
_HEAD = "# Written by 'wherry join': defaults of 'wherry up --data-dir' with this directory.\n"


@dataclass(frozen=True, slots=True)
class JoinedMachine:
    """A node: who it is, and the gRPC doors (HOST:PORT) of its masters."""

    host: Host
    apiservers: tuple[str, ...]


def format_machine(machine: JoinedMachine) -> bytes:
    """Write the file."""
    values = {
        "role": ["node"],
        "runtime": "cri",
        "name": machine.host.name,
        "address": machine.host.address,
        "apiserver": list(machine.apiservers),
    }
    return (_HEAD + yaml.safe_dump(values, sort_keys=False)).encode()


def parse_machine(data: bytes) -> JoinedMachine | None:
    """Read the file; None where it is not there (b"") or is not ours."""
    try:
        values: Any = yaml.safe_load(data)
    except yaml.YAMLError:
        return None
    if not isinstance(values, dict):
        return None
    doors = values.get("apiserver")
    if not values.get("name") or not values.get("address") or not isinstance(doors, list):
        return None
    return JoinedMachine(Host(str(values["name"]), str(values["address"])), tuple(map(str, doors)))


def doors(addresses: Sequence[str], port: int, *, first: str) -> tuple[str, ...]:
    """Return the gRPC doors of the masters at `addresses`, that at `first` leading.

    Where no addresses are published (a master on loopback) `first` is all there is.
    """
    ordered = sorted(set(addresses), key=lambda a: (a != first, a)) or [first]
    return tuple(f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for a in ordered)
