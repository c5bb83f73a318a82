"""What the cluster's zone knows: one record per Service, made from it and its EndpointSlices.

Records are small and complete, so that they are also what is written to disk: a DNS process
that starts while every master is dead answers from them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

import msgspec

from wherry.api.objects import Endpoint, EndpointSlice, Service

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
Key = tuple[str, str]
"""Namespace and name of a Service."""


class PortRecord(msgspec.Struct, frozen=True):
    """A named or unnamed port; `protocol` in lower case."""

    name: str
    protocol: str
    port: int


class EndpointRecord(msgspec.Struct, frozen=True):
    """A ready endpoint; `label` is its hostname, or its address with dashes."""

    address: str
    label: str
    ports: tuple[PortRecord, ...] = ()


class ServiceRecord(msgspec.Struct, frozen=True):
    """A Service as DNS sees it: `cluster_ip` and `external_name` are "" where there is none."""

    namespace: str
    name: str
    cluster_ip: str = ""
    external_name: str = ""
    ports: tuple[PortRecord, ...] = ()
    endpoints: tuple[EndpointRecord, ...] = ()

    @property
    def key(self) -> Key:
        """Return namespace and name."""
        return self.namespace, self.name

    @property
    def headless(self) -> bool:
        """Tell whether the name stands for the endpoints themselves."""
        return not self.cluster_ip and not self.external_name


def service_record(service: Service, slices: Iterable[EndpointSlice]) -> ServiceRecord:
    """Make the record of a Service and the EndpointSlices that carry its name."""
    spec, meta = service.spec, service.metadata
    if spec.type == "ExternalName":
        return ServiceRecord(meta.namespace, meta.name, external_name=spec.external_name)
    return ServiceRecord(
        namespace=meta.namespace,
        name=meta.name,
        cluster_ip=spec.cluster_ip if _is_ipv4(spec.cluster_ip) else "",
        ports=tuple(PortRecord(p.name, p.protocol.lower(), p.port) for p in spec.ports),
        endpoints=tuple(sorted(_endpoints(slices), key=lambda e: (e.address, e.label))),
    )


def _endpoints(slices: Iterable[EndpointSlice]) -> Iterator[EndpointRecord]:
    """Merge slices: an endpoint may stand in several, with other ports in each."""
    ports: dict[tuple[str, str], list[PortRecord]] = {}
    for one in slices:
        if one.address_type != "IPv4":
            continue
        its_ports = [
            PortRecord(p.name or "", (p.protocol or "TCP").lower(), p.port)
            for p in one.ports
            if p.port is not None
        ]
        for endpoint in one.endpoints:
            if endpoint.conditions.ready is not False:
                for address in endpoint.addresses:
                    ports.setdefault((address, _label(endpoint, address)), []).extend(its_ports)
    for (address, label), found in ports.items():
        yield EndpointRecord(address, label, tuple(dict.fromkeys(found)))


def _label(endpoint: Endpoint, address: str) -> str:
    return (endpoint.hostname or address.replace(".", "-")).lower()


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


class Zone:
    """All records, found by name and by address."""

    def __init__(self, records: Iterable[ServiceRecord] = ()) -> None:
        self._records: dict[Key, ServiceRecord] = {}
        self._namespaces: Counter[str] = Counter()
        self._by_address: dict[str, set[Key]] = {}
        for record in records:
            self.put(record)

    def put(self, record: ServiceRecord) -> None:
        """Add the record, or replace the one of the same Service."""
        self.remove(record.key)
        self._records[record.key] = record
        self._namespaces[record.namespace] += 1
        for address in _addresses(record):
            self._by_address.setdefault(address, set()).add(record.key)

    def remove(self, key: Key) -> None:
        """Forget a Service; one that is unknown is no error."""
        record = self._records.pop(key, None)
        if record is None:
            return
        self._namespaces[record.namespace] -= 1
        for address in _addresses(record):
            self._by_address[address].discard(key)
            if not self._by_address[address]:
                del self._by_address[address]

    def get(self, namespace: str, name: str) -> ServiceRecord | None:
        """Return the record of a Service."""
        return self._records.get((namespace, name))

    def has_namespace(self, namespace: str) -> bool:
        """Tell whether any Service lives there."""
        return self._namespaces[namespace] > 0

    def by_address(self, address: str) -> list[ServiceRecord]:
        """Return the Services that have this cluster IP or endpoint, sorted."""
        return [self._records[key] for key in sorted(self._by_address.get(address, ()))]

    def records(self) -> list[ServiceRecord]:
        """Return all records, sorted."""
        return [self._records[key] for key in sorted(self._records)]


def _addresses(record: ServiceRecord) -> set[str]:
    return {record.cluster_ip, *(e.address for e in record.endpoints)} - {""}
