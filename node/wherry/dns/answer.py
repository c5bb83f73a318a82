"""What the cluster's zone answers: the Kubernetes DNS specification 1.1.0, as a pure function.

    web.default.svc.cluster.local              A      cluster IP, or all endpoints (headless)
                                               CNAME  ExternalName
    web-0.web.default.svc.cluster.local        A      the endpoint with that hostname
    10-244-1-3.web.default.svc.cluster.local   A      an endpoint without hostname
    _http._tcp.web.default.svc.cluster.local   SRV    port and target; per endpoint if headless
    10-244-1-3.default.pod.cluster.local       A      the address that the name spells
    dns-version.cluster.local                  TXT    1.1.0
    3.1.244.10.in-addr.arpa                    PTR    the service or endpoint of that address

A name that exists without the wanted type is answered with nothing (NODATA), which is not
"no such name" (NXDOMAIN): resolvers that ask for AAAA first give up on the latter. Both carry
the SOA, whose last number says how long the "no" may be remembered.

Names are tuples of lower-case labels, most specific first, without the root.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from wherry.dns.zone import EndpointRecord, PortRecord, ServiceRecord, Zone

Name = tuple[str, ...]
SPEC_VERSION = "1.1.0"


class Type(IntEnum):
    """Record types that the zone has or is asked for by name."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


class Rcode(IntEnum):
    """Outcome of a query (RFC 1035, 4.1.1)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Srv:
    """Data of an SRV record."""

    weight: int
    port: int
    target: Name


@dataclass(frozen=True, slots=True)
class Soa:
    """Data of the SOA record, as far as it varies; `minimum_s` bounds negative caching."""

    server: Name
    mailbox: Name
    minimum_s: int


Data = IPv4Address | Name | Srv | Soa | str


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record of class IN; a str as data is the text of a TXT record."""

    name: Name
    type: Type
    ttl_s: int
    data: Data


@dataclass(frozen=True, slots=True)
class Answer:
    """What to reply.

    Attributes:
        rcode: Outcome.
        records: The answer section.
        additional: Addresses of the names in `records`.
        authority: The SOA, where the answer is "no".
        chase: Where a CNAME leads: whoever sends the reply resolves it and adds what is there.
    """

    rcode: Rcode = Rcode.NOERROR
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    chase: Name | None = None


@dataclass(frozen=True, slots=True)
class Domain:
    """The zone's fixed facts: its name, its server's addresses, how long answers hold."""

    name: Name
    servers: tuple[IPv4Address, ...] = ()
    ttl_s: int = 5

    @property
    def soa(self) -> Record:
        """Return the zone's SOA record."""
        data = Soa(("ns", "dns", *self.name), ("hostmaster", *self.name), self.ttl_s)
        return Record(self.name, Type.SOA, self.ttl_s, data)


def name_of(text: str) -> Name:
    """Split `web.default.svc.` into labels."""
    return tuple(label.lower() for label in text.rstrip(".").split(".") if label)


def answer(name: Name, wanted: int, zone: Zone, domain: Domain) -> Answer | None:
    """Answer a question from the zone.

    Args:
        name: The name asked for.
        wanted: The type's number.
        zone: All Services.
        domain: The zone's fixed facts.

    Returns:
        None for a name that is not ours to answer: ask an upstream server.
    """
    if name[-len(domain.name) :] == domain.name:
        relative = name[: len(name) - len(domain.name)]
        return _select(wanted, _lookup(relative, zone, domain), zone, domain)
    if name[-2:] == ("in-addr", "arpa") and (found := _reverse(name, zone, domain)):
        return _select(wanted, found, zone, domain)
    return None


def _select(wanted: int, found: list[Record] | None, zone: Zone, domain: Domain) -> Answer:
    """Pick what was asked for out of everything that is there; None: no such name."""
    if found is None:
        return Answer(Rcode.NXDOMAIN, authority=(domain.soa,))
    alias = next((record for record in found if record.type is Type.CNAME), None)
    if alias is not None:
        chase = alias.data if wanted not in (Type.CNAME, Type.ANY) else None
        return Answer(records=(alias,), chase=chase if isinstance(chase, tuple) else None)
    chosen = tuple(r for r in found if r.type == wanted or wanted == Type.ANY)
    if not chosen:
        return Answer(authority=(domain.soa,))
    return Answer(records=chosen, additional=_targets(chosen, zone, domain))


def _targets(records: Iterable[Record], zone: Zone, domain: Domain) -> tuple[Record, ...]:
    """Return the addresses of SRV targets, so that nobody has to ask again."""
    targets = dict.fromkeys(r.data.target for r in records if isinstance(r.data, Srv))
    found: list[Record] = []
    for target in targets:
        relative = target[: len(target) - len(domain.name)]
        found += [r for r in _lookup(relative, zone, domain) or () if r.type is Type.A]
    return tuple(found)


def _lookup(name: Name, zone: Zone, domain: Domain) -> list[Record] | None:
    """Return all records of a name relative to the zone; None where there is no such name."""
    full = (*name, *domain.name)
    found: list[Record] | None = None
    match name:
        case ():
            server = ("ns", "dns", *domain.name)
            found = [domain.soa, Record(full, Type.NS, domain.ttl_s, server)]
        case ("dns-version",):
            found = [Record(full, Type.TXT, domain.ttl_s, SPEC_VERSION)]
        case ("ns", "dns"):
            found = [Record(full, Type.A, domain.ttl_s, address) for address in domain.servers]
        case ("dns",) | ("svc",) | ("pod",) | (_, "pod"):
            found = []
        case (spelled, _, "pod") if address := _spelled(spelled):
            found = [Record(full, Type.A, domain.ttl_s, address)]
        case (namespace, "svc") if zone.has_namespace(namespace):
            found = []
        case (*rest, service, namespace, "svc") if record := zone.get(namespace, service):
            found = _service(tuple(rest), full, record, domain)
    return found


def _spelled(label: str) -> IPv4Address | None:
    try:
        return IPv4Address(label.replace("-", "."))
    except ValueError:
        return None


def _service(rest: Name, full: Name, service: ServiceRecord, domain: Domain) -> list[Record] | None:
    """Return the records below a Service's name; `rest` is what stands before it."""
    match rest:
        case ():
            return _service_itself(full, service, domain)
        case (protocol,) if protocol.startswith("_"):
            there = any(f"_{port.protocol}" == protocol for port, _ in _ports(service))
            return [] if there else None
        case (label,):
            those = [endpoint for endpoint in service.endpoints if endpoint.label == label]
            return _addresses(full, those, domain) or None
        case (port_name, protocol) if port_name.startswith("_") and protocol.startswith("_"):
            found = [
                (port, endpoint)
                for port, endpoint in _ports(service)
                if (f"_{port.name}", f"_{port.protocol}") == (port_name, protocol) and port.name
            ]
            return _srv(full, found, service, domain) or None
        case _:
            return None


def _service_itself(full: Name, service: ServiceRecord, domain: Domain) -> list[Record]:
    if service.external_name:
        return [Record(full, Type.CNAME, domain.ttl_s, name_of(service.external_name))]
    services = _srv(full, list(_ports(service)), service, domain)
    if service.headless:
        return [*_addresses(full, service.endpoints, domain), *services]
    address = IPv4Address(service.cluster_ip)
    return [Record(full, Type.A, domain.ttl_s, address), *services]


def _addresses(full: Name, endpoints: Iterable[EndpointRecord], domain: Domain) -> list[Record]:
    unique = dict.fromkeys(endpoint.address for endpoint in endpoints)
    return [Record(full, Type.A, domain.ttl_s, IPv4Address(a)) for a in unique]


def _ports(service: ServiceRecord) -> list[tuple[PortRecord, EndpointRecord | None]]:
    """Return each port with the endpoint that has it: None stands for the cluster IP."""
    if service.headless:
        return [(port, endpoint) for endpoint in service.endpoints for port in endpoint.ports]
    return [(port, None) for port in service.ports]


def _srv(
    full: Name,
    ports: list[tuple[PortRecord, EndpointRecord | None]],
    service: ServiceRecord,
    domain: Domain,
) -> list[Record]:
    base = (service.name, service.namespace, "svc", *domain.name)
    weight = 100 // len(ports) if ports else 0
    return [
        Record(
            full,
            Type.SRV,
            domain.ttl_s,
            Srv(weight, port.port, (endpoint.label, *base) if endpoint else base),
        )
        for port, endpoint in ports
    ]


def _reverse(name: Name, zone: Zone, domain: Domain) -> list[Record]:
    """Return the PTR records of an address; none where the address is not of this cluster."""
    try:
        address = str(IPv4Address(".".join(reversed(name[:-2]))))
    except ValueError:
        return []
    names: list[Name] = []
    for service in zone.by_address(address):
        base = (service.name, service.namespace, "svc", *domain.name)
        if service.cluster_ip == address:
            names = [base]
            break
        names += [(e.label, *base) for e in service.endpoints if e.address == address]
    return [Record(name, Type.PTR, domain.ttl_s, target) for target in names]
