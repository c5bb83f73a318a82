"""Handing out ClusterIPs, node ports and ports of health checks, each to one Service.

Every address and port in use has a key of its own:

    /registry/ranges/serviceips/10.96.7.1           -> namespace/name of the Service
    /registry/ranges/servicenodeports/30080         -> namespace/name of the Service

created in the *same transaction* as the Service (guarded by "does not exist yet") and deleted
in the transaction that deletes it or changes the field. So there is no window in which two
Services have one address, no repair loop, and nothing leaks when a process dies anywhere.
What is free is guessed from the feed; when the guess is stale, the guard fails and another
guess is made.

Who asks for nothing in particular is given something of the lower end of a range only when all
else is taken: that end is for those who choose, as Kubernetes documents it ("Avoiding
collisions" of ClusterIPs and of node ports).
"""

import ipaddress
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from wherry.api.errors import Cause, StatusError
from wherry.apiserver import refusal
from wherry.apiserver.plan import Guard, Lost
from wherry.apiserver.resources import Resource
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.service import is_checked, repeated_node_ports
from wherry.store.kv import Compare, DeleteRange, Event, KeyValue, Op, Put, Target

IP_PREFIX = b"/registry/ranges/serviceips/"
PORT_PREFIX = b"/registry/ranges/servicenodeports/"
_GUESSES = 64
_TAKEN = "provided port is already allocated"

Object = dict[str, Any]


class Taken:
    """The names below one prefix, kept up to date by the feed (a `Follower`)."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    @property
    def prefix(self) -> bytes:
        """The keys that are followed."""
        return self._prefix

    def owns(self, key: bytes) -> bool:
        """Take every key below the prefix."""
        return key.startswith(self._prefix)

    def reset(self, kvs: Iterable[KeyValue], revision: int) -> None:  # noqa: ARG002
        """Begin anew."""
        self._names = {kv.key[len(self._prefix) :].decode() for kv in kvs}

    def follow(self, events: Sequence[Event], revision: int) -> None:  # noqa: ARG002
        """Apply changes."""
        for event in events:
            name = event.kv.key[len(self._prefix) :].decode()
            if event.deleted:
                self._names.discard(name)
            else:
                self._names.add(name)


@dataclass(slots=True)
class Allocation:
    """What a transaction that writes a Service must check and do besides."""

    guards: list[Guard] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)


class ServiceAllocator:
    """Fills `clusterIP`, `clusterIPs`, `nodePort` and `healthCheckNodePort`; keeps the keys in step."""

    def __init__(
        self,
        resource: Resource,
        *,
        cidr: str,
        node_ports: tuple[int, int],
        reserved: Sequence[str],
        rng: random.Random,
    ) -> None:
        """Build an allocator.

        Args:
            resource: The row of Service, for messages.
            cidr: The range of ClusterIPs; its first and last address are never used.
            node_ports: First and last node port.
            reserved: Addresses that are only given to who asks for them by name.
            rng: Chooses among what is free.
        """
        self._resource = resource
        self._network = ipaddress.ip_network(cidr)
        self._node_ports = node_ports
        self._reserved = frozenset(reserved)
        self._rng = rng
        self.ips = Taken(IP_PREFIX)
        self.ports = Taken(PORT_PREFIX)

    def allocate(self, new: Object, old: Object | None) -> Allocation:
        """Fill in what is missing and claim what is new, release what `new` no longer has.

        Raises:
            InvalidError: what was asked for is taken or out of range.
            InternalError: nothing is free, or the port of a health check is taken.
        """
        allocation = Allocation()
        had_ips, had_ports = held(old)
        was = old["spec"] if old is not None else {}
        spec = new["spec"]
        if spec.get("type") != "ExternalName":
            self._cluster_ip(new, had_ips, allocation)
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            self._ports(new, old, allocation)
        if is_checked(spec) and not (is_checked(was) and was.get("healthCheckNodePort")):
            self._health_check(new, allocation)
        has_ips, has_ports = held(new)
        self._release(had_ips - has_ips, had_ports - has_ports, allocation)
        return allocation

    def release(self, old: Object) -> list[Op]:
        """Return what frees everything that a Service holds."""
        allocation = Allocation()
        self._release(*held(old), allocation)
        return allocation.ops

    def _release(self, ips: set[str], ports: set[int], allocation: Allocation) -> None:
        allocation.ops += [DeleteRange(IP_PREFIX + ip.encode()) for ip in sorted(ips)]
        allocation.ops += [DeleteRange(b"%b%d" % (PORT_PREFIX, port)) for port in sorted(ports)]

    # -- addresses --------------------------------------------------------------------------

    def _cluster_ip(self, new: Object, had: set[str], allocation: Allocation) -> None:
        spec = new["spec"]
        asked = spec.get("clusterIP", "")
        if asked == "None" or asked in had:
            return
        if asked:
            self._check_ip(new, asked)
            address = asked
            lost: Lost | None = partial(self._ip_taken, new, asked)
        else:
            address, lost = self._free_ip(), None
        spec["clusterIP"], spec["clusterIPs"] = address, [address]
        self._claim(new, IP_PREFIX + address.encode(), lost, allocation)

    def _check_ip(self, new: Object, asked: str) -> None:
        if ipaddress.ip_address(asked) in self._network:
            return
        detail = f"failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. The range of valid IPs is {self._network}"
        raise self._invalid(new, fields.invalid("spec.clusterIPs", [asked], detail))

    def _ip_taken(self, new: Object, asked: str) -> StatusError:
        detail = f"failed to allocate IP {asked}: provided IP is already allocated"
        return self._invalid(new, fields.invalid("spec.clusterIPs", [asked], detail))

    def _free_ip(self) -> str:
        end = self._network.num_addresses - 1
        first = 1 + band(end - 1, least=16, part=16, most=256)
        for _ in range(_GUESSES):
            address = str(self._network[self._rng.randrange(first, end)])
            if self._is_free(address):
                return address
        start = self._rng.randrange(end - first)
        upper = (first + (start + offset) % (end - first) for offset in range(end - first))
        for number in chain(upper, range(1, first)):
            address = str(self._network[number])
            if self._is_free(address):
                return address
        raise _full("serviceIP")

    def _is_free(self, address: str) -> bool:
        return address not in self.ips and address not in self._reserved

    # -- node ports -------------------------------------------------------------------------

    def _ports(self, new: Object, old: Object | None, allocation: Allocation) -> None:
        """Claim node ports. Ports of one number, as of DNS, are made with one node port.

        Source: service REST storage, `initNodePorts` and `updateNodePorts`.
        """
        spec, had = new["spec"], _numbers(old["spec"] if old is not None else {})
        given = [port for port in spec.get("ports", ()) if port.get("nodePort")]
        shared = {port["port"]: port["nodePort"] for port in reversed(given) if old is None}
        balanced = spec.get("type") == "LoadBalancer"
        wanted = not balanced or spec.get("allocateLoadBalancerNodePorts", True)
        claimed: set[int] = set()
        mine = _numbers(spec) | {spec.get("healthCheckNodePort", 0)}
        for index, port in enumerate(spec.get("ports", ())):
            if not (port.get("nodePort") or wanted):
                continue
            asked = port["nodePort"] = port.get("nodePort") or shared.get(port["port"], 0)
            if asked in had or asked in claimed:
                continue  # one number may serve TCP and UDP of one Service
            lost: Lost | None = None
            if asked:
                self._check_port(new, index, asked)
                lost = partial(self._port_taken, new, index, asked)
            else:
                asked = self._free_port(mine, "nodePort")
                mine.add(asked)
            port["nodePort"] = asked
            if old is None:
                shared.setdefault(port["port"], asked)
            claimed.add(asked)
            self._claim(new, b"%b%d" % (PORT_PREFIX, asked), lost, allocation)
        if causes := repeated_node_ports(spec):
            raise refusal.invalid(self._resource, new["metadata"]["name"], causes)

    def _check_port(self, new: Object, index: int, asked: int) -> None:
        if why := self._outside(asked):
            raise self._invalid(new, fields.invalid(f"spec.ports[{index}].nodePort", asked, why))

    def _outside(self, port: int) -> str:
        first, last = self._node_ports
        if first <= port <= last:
            return ""
        return (
            f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        )

    def _port_taken(self, new: Object, index: int, asked: int) -> StatusError:
        return self._invalid(new, fields.invalid(f"spec.ports[{index}].nodePort", asked, _TAKEN))

    def _health_check(self, new: Object, allocation: Allocation) -> None:
        """Claim the port at which nodes tell a load balancer whether they have a pod of the Service.

        It is no port of the Service's own, also of none that this write takes or gives back.
        Source: service REST storage, `allocHealthCheckNodePort`.
        """
        spec = new["spec"]
        asked = spec.get("healthCheckNodePort", 0)
        lost: Lost | None = None
        if asked:
            why = self._outside(asked) or (_TAKEN if asked in _numbers(spec) else "")
            if why:
                raise _no_health_check(asked, why)
            lost = partial(_no_health_check, asked, _TAKEN)
        else:
            asked = self._free_port(_numbers(spec), "HealthCheck NodePort 0")
            spec["healthCheckNodePort"] = asked
        self._claim(new, b"%b%d" % (PORT_PREFIX, asked), lost, allocation)

    def _free_port(self, mine: set[int], what: str) -> int:
        first, last = self._node_ports
        free = [p for p in range(first, last + 1) if str(p) not in self.ports and p not in mine]
        if not free:
            raise _full(what)
        chosen = first + band(last + 1 - first, least=16, part=32, most=128)
        return self._rng.choice([p for p in free if p >= chosen] or free)

    # -- both -------------------------------------------------------------------------------

    def _claim(self, new: Object, key: bytes, lost: Lost | None, allocation: Allocation) -> None:
        meta = new["metadata"]
        owner = f"{meta.get('namespace', '')}/{meta['name']}".encode()
        allocation.guards.append(Guard(Compare(key, Target.CREATE, "=", 0), lost))
        allocation.ops.append(Put(key, owner))

    def _invalid(self, new: Object, cause: Cause) -> StatusError:
        return refusal.invalid(self._resource, new["metadata"]["name"], [cause])


def band(size: int, *, least: int, part: int, most: int) -> int:
    """Return how many, from the lower end of a range, are for those who choose; 0 if it is small."""
    return 0 if size <= least else min(max(least, size // part), most)


def held(service: Object | None) -> tuple[set[str], set[int]]:
    """Return the addresses and node ports that a stored Service holds."""
    if service is None:
        return set(), set()
    spec = service.get("spec", {})
    ips = {ip for ip in spec.get("clusterIPs", ()) if ip and ip != "None"}
    if spec.get("type") == "ExternalName":
        ips = set()
    checked = spec.get("healthCheckNodePort", 0)
    return ips, _numbers(spec) | ({checked} if checked else set())


def _numbers(spec: Object) -> set[int]:
    """Return the node ports of a Service's ports."""
    return {p["nodePort"] for p in spec.get("ports", ()) if p.get("nodePort")}


def _no_health_check(port: int, why: str) -> StatusError:
    return refusal.internal(f"failed to allocate requested HealthCheck NodePort {port}: {why}")


def _full(what: str) -> StatusError:
    return refusal.internal(f"failed to allocate a {what}: range is full")
