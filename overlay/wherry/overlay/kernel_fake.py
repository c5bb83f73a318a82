"""A kernel in memory, with the manners of the real one: tests and the simulated world."""

from collections.abc import Iterable
from typing import Any

from wherry.host.thread import HostError
from wherry.overlay.diff import Fdb, Neigh, Op, Put, Route, Tables
from wherry.overlay.plan import Bridge, Underlay, Vxlan


class FakeKernel:
    """A kernel in memory; `ops` is what was applied, for tests to look at."""

    def __init__(self, underlay: Underlay) -> None:
        self.facts = underlay
        self.bridge: Bridge | None = None
        self.vxlan: Vxlan | None = None
        self.tables = Tables({}, {}, {})
        self.forwarding = False
        self.ops: list[Op] = []
        self.broken = False

    async def underlay(self, interface: str, public_ip: str) -> Underlay:
        """Return the facts that the test gave."""
        self._check()
        if public_ip not in ("", str(self.facts.address.ip)):
            raise HostError(f"no underlay: {public_ip}")
        if interface not in ("", self.facts.interface):
            raise HostError(f"no interface {interface}")
        return self.facts

    async def prepare(self) -> None:
        """Remember that it was asked for."""
        self.forwarding = True

    async def ensure_bridge(self, bridge: Bridge) -> None:
        """Remember the bridge."""
        self._check()
        self.bridge = bridge

    async def ensure_vxlan(self, vxlan: Vxlan) -> None:
        """Remember the device; one that must be made anew loses its entries."""
        self._check()
        old = self.vxlan
        if old is None or (old.vni, old.port, old.local) != (vxlan.vni, vxlan.port, vxlan.local):
            self._drop_tunnel()
        self.vxlan = vxlan

    async def remove_vxlan(self, name: str) -> None:
        """Forget the device and its entries."""
        if self.vxlan is not None and self.vxlan.name == name:
            self.vxlan = None
            self._drop_tunnel()

    async def read(self, underlay: Underlay, vxlan: Vxlan | None) -> Tables:
        """Return a copy of the tables."""
        self._check(underlay, vxlan)
        now = self.tables
        return Tables(dict(now.fdb), dict(now.neigh), dict(now.routes))

    async def apply(self, ops: Iterable[Op], underlay: Underlay, vxlan: Vxlan | None) -> None:
        """Put and delete as the kernel would."""
        self._check(underlay, vxlan)
        for op in ops:
            self.ops.append(op)
            table, key = self._place(op)
            if isinstance(op, Put):
                table[key] = op.entry
            else:
                table.pop(key, None)

    def _place(self, op: Op) -> tuple[dict[Any, Any], Any]:
        match op.entry:
            case Fdb(mac=mac):
                return self.tables.fdb, mac
            case Neigh(ip=ip):
                return self.tables.neigh, ip
            case Route(dst=dst):
                return self.tables.routes, dst

    def _drop_tunnel(self) -> None:
        direct = {dst: r for dst, r in self.tables.routes.items() if r.direct}
        self.tables = Tables({}, {}, direct)

    def _check(self, underlay: Underlay | None = None, vxlan: Vxlan | None = None) -> None:
        if self.broken:
            raise HostError("netlink: broken")
        for device, mine in ((underlay, self.facts), (vxlan, self.vxlan)):
            if device is not None and device != mine:
                raise HostError(f"no such device: {device}")
