"""The kernel's connection tracking table, by netlink.

The dump is read to its end before anything is deleted: pyroute2's generator does not live
through a deletion on the same socket.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from pyroute2 import NFCTSocket
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from wherry.host.thread import HostError, HostThread
from wherry.proxy.stale import Flow

_UDP: Final = 17
_ENOENT: Final = 2


class Conntrack(Protocol):
    """UDP entries of the host. Every method raises `HostError`."""

    async def udp_flows(self) -> list[Flow]:
        """Return all entries."""
        ...

    async def delete(self, flows: Iterable[Flow]) -> None:
        """Delete entries; one that is gone is no error."""
        ...


class NetlinkConntrack:
    """The table of the host that `host` runs on."""

    def __init__(self, host: HostThread) -> None:
        self._host = host

    async def udp_flows(self) -> list[Flow]:
        """Dump the table and keep what is UDP over IPv4."""
        return await self._host.call(_guarded, _dump)

    async def delete(self, flows: Iterable[Flow]) -> None:
        """Delete one by one."""
        await self._host.call(_guarded, _delete, tuple(flows))


class FakeConntrack:
    """A table in memory."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []

    async def udp_flows(self) -> list[Flow]:
        """Return a copy."""
        return list(self.flows)

    async def delete(self, flows: Iterable[Flow]) -> None:
        """Remove the entries."""
        gone = set(flows)
        self.flows = [flow for flow in self.flows if flow not in gone]


def _guarded(function: Any, *args: Any) -> Any:
    try:
        with NFCTSocket() as table:
            return function(table, *args)
    except (NetlinkError, OSError) as error:
        raise HostError(f"conntrack: {error}") from error


def _dump(table: Any) -> list[Flow]:
    found = []
    for entry in list(table.dump()):
        asked, answer = _tuple(entry, "CTA_TUPLE_ORIG"), _tuple(entry, "CTA_TUPLE_REPLY")
        if asked is not None and answer is not None:
            source, source_port, destination, destination_port = asked
            found.append(
                Flow(source, source_port, destination, destination_port, answer[0], answer[1])
            )
    return found


def _tuple(entry: Any, name: str) -> tuple[str, int, str, int] | None:
    """Return (source, port, destination, port) of a UDP entry over IPv4, else None."""
    part = entry.get_attr(name)
    ports = part.get_attr("CTA_TUPLE_PROTO")
    addresses = part.get_attr("CTA_TUPLE_IP")
    if ports.get_attr("CTA_PROTO_NUM") != _UDP or not addresses.get_attr("CTA_IP_V4_SRC"):
        return None
    return (
        addresses.get_attr("CTA_IP_V4_SRC"),
        ports.get_attr("CTA_PROTO_SRC_PORT"),
        addresses.get_attr("CTA_IP_V4_DST"),
        ports.get_attr("CTA_PROTO_DST_PORT"),
    )


def _delete(table: Any, flows: tuple[Flow, ...]) -> None:
    for flow in flows:
        which = NFCTAttrTuple(
            saddr=flow.source,
            daddr=flow.destination,
            proto=_UDP,
            sport=flow.source_port,
            dport=flow.destination_port,
        )
        try:
            table.entry("del", tuple_orig=which)
        except NetlinkError as error:
            if error.code != _ENOENT:
                raise
