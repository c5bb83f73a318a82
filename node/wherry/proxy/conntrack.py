"""The kernel's connection tracking table, by netlink.

The dump is read to its end before anything is deleted: pyroute2's generator does not live
through a deletion on the same socket.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from pyroute2 import NFCTSocket
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import IPS_SEEN_REPLY, NFCTAttrTuple

from wherry.host.thread import HostError, HostThread
from wherry.proxy.stale import Flow

_NUMBERS: Final = {"udp": 17, "tcp": 6}
PROTOCOLS: Final = tuple(_NUMBERS)
_ENOENT: Final = 2


class Conntrack(Protocol):
    """Entries of the host. Every method raises `HostError`."""

    async def read(self, protocol: str) -> list[Flow]:
        """Return a protocol's entries: all of `udp`, and of `tcp` those that nobody answered."""
        ...

    async def delete(self, flows: Iterable[Flow]) -> None:
        """Delete entries; one that is gone is no error."""
        ...


class NetlinkConntrack:
    """The table of the host that `host` runs on."""

    def __init__(self, host: HostThread) -> None:
        self._host = host

    async def read(self, protocol: str) -> list[Flow]:
        """Dump that part of the table, IPv4's."""
        return await self._host.call(_guarded, _dump, protocol)

    async def delete(self, flows: Iterable[Flow]) -> None:
        """Delete one by one."""
        await self._host.call(_guarded, _delete, tuple(flows))


class FakeConntrack:
    """A table in memory."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []

    async def read(self, protocol: str) -> list[Flow]:
        """Return a copy."""
        return [flow for flow in self.flows if flow.protocol == protocol]

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


def _dump(table: Any, protocol: str) -> list[Flow]:
    # The kernel filters (a busy host has many connections that stand); one older than Linux 5.15
    # does not, so the answers are looked at too.
    if protocol == "udp":
        entries = list(table.dump(tuple_orig=NFCTAttrTuple(proto=_NUMBERS["udp"])))
    else:
        half_open = table.dump(status=0, status_mask=IPS_SEEN_REPLY)
        entries = [e for e in list(half_open) if not e.get_attr("CTA_STATUS") & IPS_SEEN_REPLY]
    found = (_flow(entry, protocol) for entry in entries)
    return [flow for flow in found if flow is not None]


def _flow(entry: Any, protocol: str) -> Flow | None:
    """Return an entry of that protocol over IPv4, None for any other."""
    asked, answer = (
        _tuple(entry, name, protocol) for name in ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY")
    )
    if asked is None or answer is None:
        return None
    return Flow(protocol, *asked, answer[0], answer[1])


def _tuple(entry: Any, name: str, protocol: str) -> tuple[str, int, str, int] | None:
    """Return (source, port, destination, port)."""
    part = entry.get_attr(name)
    ports = part.get_attr("CTA_TUPLE_PROTO")
    addresses = part.get_attr("CTA_TUPLE_IP")
    number = ports.get_attr("CTA_PROTO_NUM")
    if number != _NUMBERS[protocol] or not addresses.get_attr("CTA_IP_V4_SRC"):
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
            proto=_NUMBERS[flow.protocol],
            sport=flow.source_port,
            dport=flow.destination_port,
        )
        try:
            table.entry("del", tuple_orig=which)
        except NetlinkError as error:
            if error.code != _ENOENT:
                raise
