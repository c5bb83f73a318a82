"""From portals to iptables rules: a pure function, in the shape that kube-proxy made known.

    nat PREROUTING, OUTPUT -> KUBE-SERVICES
        cluster IP          -> KUBE-SVC-x (policy Cluster) or KUBE-SVL-x (Local)
        external IP         -> KUBE-EXT-x
        any local address   -> KUBE-NODEPORTS -> KUBE-EXT-x
    KUBE-EXT-x   marks for masquerade and goes to KUBE-SVC-x;
                 with policy Local keeps the client's address and goes to KUBE-SVL-x
    KUBE-SVC-x   picks a KUBE-SEP-y: the one remembered for this client, else at random
    KUBE-SEP-y   marks if the endpoint talks to itself (hairpin), DNAT
    nat POSTROUTING -> KUBE-POSTROUTING   masquerades what is marked 0x4000

    filter: REJECT for a portal without endpoints, DROP where policy Local finds none here,
            ACCEPT for what was marked or belongs to a connection

Names end in a hash of what they stand for, kube-proxy's own, so that they are the same on
every node and after every restart, and nobody has to remember them. Every rule is in the
form in which `iptables-save` prints it; see `wherry.host.ruleset`.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wherry.host.ruleset import Chain, Jump, Rule, RuleSet
from wherry.proxy.portal import Backend, Portal

MARK = "0x4000"
OWNED_CHAINS = ("KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-SVL-")
"""Prefixes of the chains that come and go with Services."""

_MARK_MASQ = "KUBE-MARK-MASQ"
_REJECT = "REJECT --reject-with icmp-port-unreachable"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules depend on besides Services.

    Attributes:
        cluster_cidr: The pod network: traffic from elsewhere to a cluster IP is masqueraded.
            "" where it is not known; then only traffic to external addresses is.
        localnet: Node ports answer on 127.0.0.1 too (needs `route_localnet`).
    """

    cluster_cidr: str = ""
    localnet: bool = False


def chain_name(prefix: str, *parts: str) -> str:
    """Return kube-proxy's name: the prefix and 16 characters of base32(sha256(parts))."""
    digest = hashlib.sha256("".join(parts).encode()).digest()
    return f"{prefix}-{base64.b32encode(digest).decode()[:16]}"


def render(portals: Iterable[Portal], facts: Facts) -> RuleSet:
    """Return all rules of the proxy for these portals."""
    tables = _Tables(facts)
    for portal in portals:
        tables.add(portal)
    return RuleSet(tables.chains(), _jumps(facts))


class _Tables:
    """The rule set under construction: four chains that all portals share, and their own."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._own: dict[Chain, tuple[Rule, ...]] = {}
        self._services: list[Rule] = []
        self._node_ports: list[Rule] = []
        self._filter_services: list[Rule] = []
        self._filter_external: list[Rule] = []

    def add(self, portal: Portal) -> None:
        """Add a portal's rules."""
        names = _Names(portal)
        self._add_internal(portal, names)
        if portal.external:
            self._add_external(portal, names)
        used: set[Backend] = set()
        if portal.cluster and (portal.external or not portal.internal_local):
            self._own[Chain("nat", names.svc)] = self._spread(portal, names, portal.cluster)
            used.update(portal.cluster)
        if portal.local and (portal.internal_local or (portal.external and portal.external_local)):
            self._own[Chain("nat", names.svl)] = self._spread(portal, names, portal.local)
            used.update(portal.local)
        for backend in used:
            self._own[Chain("nat", names.sep(backend))] = _endpoint(portal, names, backend)

    def _add_internal(self, portal: Portal, names: "_Names") -> None:
        match = _match(portal, f"{portal.name} cluster IP")
        where = f"-d {portal.cluster_ip}/32 {match}"
        chosen = portal.local if portal.internal_local else portal.cluster
        if chosen:
            chain = names.svl if portal.internal_local else names.svc
            self._services.append(f"{where} -j {chain}")
        else:
            self._filter_services.append(_refusal(portal, f"-d {portal.cluster_ip}/32"))

    def _add_external(self, portal: Portal, names: "_Names") -> None:
        if portal.cluster:
            for address in portal.external_ips:
                match = _match(portal, f"{portal.name} external IP")
                self._services.append(f"-d {address}/32 {match} -j {names.ext}")
            if portal.node_port:
                match = _match(portal, portal.name, portal.node_port)
                self._node_ports.append(f"{match} -j {names.ext}")
            self._own[Chain("nat", names.ext)] = self._externals(portal, names)
        if not (portal.local if portal.external_local else portal.cluster):
            for address in portal.external_ips:
                self._filter_external.append(_refusal(portal, f"-d {address}/32", external=True))
            if portal.node_port:
                self._filter_external.append(
                    _refusal(portal, "", external=True, port=portal.node_port)
                )

    def _externals(self, portal: Portal, names: "_Names") -> tuple[Rule, ...]:
        """Traffic that came to an external address or node port."""
        what = f"{portal.name} external destinations"
        if not portal.external_local:
            return (
                f"{_comment(f'masquerade traffic for {what}')} -j {_MARK_MASQ}",
                f"-j {names.svc}",
            )
        rules = []
        if self._facts.cluster_cidr:
            # Pods take the short way: to them an external address is the service itself.
            note = _comment(f"pod traffic for {what}")
            rules.append(f"-s {self._facts.cluster_cidr} {note} -j {names.svc}")
        local = "-m addrtype --src-type LOCAL"
        rules += [
            f"{_comment(f'masquerade LOCAL traffic for {what}')} {local} -j {_MARK_MASQ}",
            f"{_comment(f'route LOCAL traffic for {what}')} {local} -j {names.svc}",
        ]
        if portal.local:
            rules.append(f"-j {names.svl}")
        return tuple(rules)

    def _spread(
        self, portal: Portal, names: "_Names", backends: Sequence[Backend]
    ) -> tuple[Rule, ...]:
        """Choose one of the endpoints, each with the same probability."""
        rules = []
        if self._facts.cluster_cidr:
            match = _match(portal, f"{portal.name} cluster IP")
            rules.append(
                f"! -s {self._facts.cluster_cidr} -d {portal.cluster_ip}/32 {match} -j {_MARK_MASQ}"
            )
        notes = {b: _comment(f"{portal.name} -> {b}") for b in backends}
        if portal.affinity_s:
            rules += [
                f"{notes[b]} -m recent --rcheck --seconds {portal.affinity_s} --reap "
                f"--name {names.sep(b)} --mask 255.255.255.255 --rsource -j {names.sep(b)}"
                for b in backends
            ]
        for left, backend in zip(range(len(backends), 0, -1), backends, strict=True):
            chance = f" -m statistic --mode random --probability {probability(left)}"
            rules.append(f"{notes[backend]}{chance if left > 1 else ''} -j {names.sep(backend)}")
        return tuple(rules)

    def chains(self) -> dict[Chain, tuple[Rule, ...]]:
        """Return every chain."""
        to_node_ports = (
            _comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
            + " -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
        )
        return {
            **self._own,
            Chain("nat", "KUBE-SERVICES"): (*self._services, to_node_ports),
            Chain("nat", "KUBE-NODEPORTS"): tuple(self._node_ports),
            Chain("nat", _MARK_MASQ): (f"-j MARK --set-xmark {MARK}/{MARK}",),
            Chain("nat", "KUBE-POSTROUTING"): (
                f"-m mark ! --mark {MARK}/{MARK} -j RETURN",
                # Taken off again, so that a packet that passes here twice is masqueraded once.
                f"-j MARK --set-xmark {MARK}/0x0",
                f"{_comment('kubernetes service traffic requiring SNAT')} "
                "-j MASQUERADE --random-fully",
            ),
            Chain("filter", "KUBE-SERVICES"): tuple(self._filter_services),
            Chain("filter", "KUBE-EXTERNAL-SERVICES"): tuple(self._filter_external),
            Chain("filter", "KUBE-FORWARD"): (
                "-m conntrack --ctstate INVALID -j DROP",
                f"{_comment('kubernetes forwarding rules')} -m mark --mark {MARK}/{MARK} -j ACCEPT",
                f"{_comment('kubernetes forwarding conntrack rule')} "
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            ),
            Chain("filter", "KUBE-FIREWALL"): _firewall(self._facts),
        }


class _Names:
    """Chain names of one portal."""

    def __init__(self, portal: Portal) -> None:
        self._parts = (portal.name, portal.protocol)
        self.svc = chain_name("KUBE-SVC", *self._parts)
        self.svl = chain_name("KUBE-SVL", *self._parts)
        self.ext = chain_name("KUBE-EXT", *self._parts)

    def sep(self, backend: Backend) -> str:
        """Return the chain of one endpoint."""
        return chain_name("KUBE-SEP", *self._parts, str(backend))


def probability(left: int) -> str:
    """Return 1/left as iptables-save prints what the kernel keeps of it (31 bits)."""
    return f"{round(0x80000000 / left) / 0x80000000:.11f}"


def _endpoint(portal: Portal, names: _Names, backend: Backend) -> tuple[Rule, ...]:
    note = _comment(portal.name)
    remember = (
        f" -m recent --set --name {names.sep(backend)} --mask 255.255.255.255 --rsource"
        if portal.affinity_s
        else ""
    )
    proto = portal.protocol
    return (
        f"-s {backend.address}/32 {note} -j {_MARK_MASQ}",
        f"-p {proto} {note}{remember} -m {proto} -j DNAT --to-destination {backend}",
    )


def _refusal(portal: Portal, where: str, *, external: bool = False, port: int = 0) -> Rule:
    """Refuse, so that clients need not time out; drop where another node would answer.

    A load balancer in front of policy Local must see silence, not a refusal, to try elsewhere.
    """
    local = portal.external_local if external else portal.internal_local
    elsewhere = local and bool(portal.cluster)
    note = "has no local endpoints" if elsewhere else "has no endpoints"
    target = "DROP" if elsewhere else _REJECT
    extra = " -m addrtype --dst-type LOCAL" if port else ""
    match = _match(portal, f"{portal.name} {note}", port or portal.port, extra)
    return f"{where} {match} -j {target}".lstrip()


def _match(portal: Portal, note: str, port: int = 0, extra: str = "") -> str:
    proto = portal.protocol
    return f"-p {proto} {_comment(note)}{extra} -m {proto} --dport {port or portal.port}"


def _comment(text: str) -> str:
    return f'-m comment --comment "{text}"'


def _firewall(facts: Facts) -> tuple[Rule, ...]:
    """With `route_localnet`, neighbours could reach what listens on 127.0.0.1 (CVE-2020-8558)."""
    if not facts.localnet:
        return ()
    return (
        f"! -s 127.0.0.0/8 -d 127.0.0.0/8 {_comment('block incoming localnet connections')} "
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    )


def _jumps(facts: Facts) -> tuple[Jump, ...]:
    portals = _comment("kubernetes service portals")
    external = _comment("kubernetes externally-visible service portals")
    new = "-m conntrack --ctstate NEW"
    wanted = [
        ("nat", "PREROUTING", f"{portals} -j KUBE-SERVICES"),
        ("nat", "OUTPUT", f"{portals} -j KUBE-SERVICES"),
        ("nat", "POSTROUTING", f"{_comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING"),
        ("filter", "INPUT", f"{new} {external} -j KUBE-EXTERNAL-SERVICES"),
        ("filter", "FORWARD", f"{new} {external} -j KUBE-EXTERNAL-SERVICES"),
        ("filter", "OUTPUT", f"{new} {external} -j KUBE-EXTERNAL-SERVICES"),
        ("filter", "FORWARD", f"{new} {portals} -j KUBE-SERVICES"),
        ("filter", "FORWARD", f"{_comment('kubernetes forwarding rules')} -j KUBE-FORWARD"),
        ("filter", "OUTPUT", f"{new} {portals} -j KUBE-SERVICES"),
    ]
    if facts.localnet:
        wanted.append(("filter", "INPUT", "-j KUBE-FIREWALL"))
    return tuple(Jump(Chain(table, name), rule, first=True) for table, name, rule in wanted)
