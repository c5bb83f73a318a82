"""Rendered rules, judged by what happens to packets."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_tracer import Outcome, Packet, Tracer

from wherry.host.iptables import FakeIptables
from wherry.host.ruleset import RuleSet, diff
from wherry.proxy.portal import Backend, Portal
from wherry.proxy.render import Facts, chain_name, probability, render

NODE = "192.0.2.1"
LOCAL = frozenset({NODE, "10.244.1.0", "10.244.1.1"})
PODS = IPv4Network("10.244.0.0/16")
FACTS = Facts(cluster_cidr=str(PODS))
POD, OTHER_NODE, OUTSIDE = "10.244.7.7", "192.0.2.2", "203.0.113.5"
A, B, C = (Backend(f"10.244.{n}.5", 8080) for n in (1, 2, 3))


def trace(portal: Portal, packet: Packet, facts: Facts = FACTS) -> dict[Outcome, float]:
    return dict(Tracer(render([portal], facts), LOCAL).trace(packet))


def portal(**fields: object) -> Portal:
    return Portal("default/web:http", "tcp", "10.96.0.5", 80, **fields)  # type: ignore[arg-type]  # a test's shorthand


def sent(*backends: Backend, masqueraded: bool = False) -> set[Outcome]:
    return {Outcome("accept", b.address, b.port, masqueraded) for b in backends}


@pytest.mark.parametrize(
    ("name", "protocol", "chain"),
    [
        ("default/kubernetes:https", "tcp", "KUBE-SVC-NPX46M4PTMTKRN6Y"),
        ("kube-system/kube-dns:dns", "udp", "KUBE-SVC-TCOU7JCQXEZGVUNU"),
        ("kube-system/kube-dns:dns-tcp", "tcp", "KUBE-SVC-ERIFXISQEP7F7OF4"),
    ],
)
def test_chain_names_are_those_that_everybody_has_seen(
    name: str, protocol: str, chain: str
) -> None:
    assert chain_name("KUBE-SVC", name, protocol) == chain


@pytest.mark.parametrize(
    ("source", "masqueraded"),
    [(POD, False), (OTHER_NODE, True), (NODE, True), (OUTSIDE, True)],
    ids=["pod", "other node", "this node", "outside"],
)
def test_cluster_ip_spreads_evenly(source: str, masqueraded: bool) -> None:
    outcomes = trace(portal(cluster=(A, B, C)), Packet(source, "10.96.0.5", 80))
    assert set(outcomes) == sent(A, B, C, masqueraded=masqueraded)
    assert all(chance == pytest.approx(1 / 3, abs=1e-8) for chance in outcomes.values())


def test_hairpin_is_masqueraded_and_only_hairpin() -> None:
    outcomes = trace(portal(cluster=(A, B)), Packet(A.address, "10.96.0.5", 80))
    assert set(outcomes) == sent(A, masqueraded=True) | sent(B)


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (Packet(POD, "10.96.0.5", 80), "reject"),
        (Packet(NODE, "10.96.0.5", 80), "reject"),
        (Packet(OTHER_NODE, NODE, 30080), "reject"),
        (Packet(NODE, NODE, 30080), "reject"),
        (Packet(OUTSIDE, "198.51.100.1", 80), "reject"),
        (Packet(POD, "10.96.0.5", 81), "accept"),
        (Packet(POD, "10.96.0.5", 80, "udp"), "accept"),
        (Packet(OTHER_NODE, NODE, 22), "accept"),
    ],
)
def test_without_endpoints_only_its_own_addresses_refuse(packet: Packet, verdict: str) -> None:
    empty = portal(node_port=30080, external_ips=("198.51.100.1",))
    assert {o.verdict for o in trace(empty, packet)} == {verdict}


def test_node_port_answers_on_every_local_address_and_masquerades() -> None:
    web = portal(node_port=30080, cluster=(A, B))
    for address in LOCAL:
        for source in (OTHER_NODE, NODE, POD):
            outcomes = trace(web, Packet(source, address, 30080))
            assert set(outcomes) == sent(A, B, masqueraded=True)


EXTERNAL_LOCAL = {"node_port": 30080, "external_ips": ("198.51.100.1",), "external_local": True}


@pytest.mark.parametrize(
    ("packet", "want"),
    [
        (Packet(OUTSIDE, NODE, 30080), sent(A)),
        (Packet(OUTSIDE, "198.51.100.1", 80), sent(A)),
        (Packet(NODE, NODE, 30080), sent(A, B, masqueraded=True)),
        (Packet(POD, NODE, 30080), sent(A, B)),
        (Packet(POD, "10.96.0.5", 80), sent(A, B)),
    ],
    ids=["keeps the client", "external IP too", "this node", "a pod", "inside it is ignored"],
)
def test_external_policy_local(packet: Packet, want: set[Outcome]) -> None:
    web = portal(**EXTERNAL_LOCAL, cluster=(A, B), local=(A,))
    assert set(trace(web, packet)) == want


def test_external_policy_local_without_local_endpoints_is_silent_outside() -> None:
    web = portal(**EXTERNAL_LOCAL, cluster=(A, B))
    assert {o.verdict for o in trace(web, Packet(OUTSIDE, NODE, 30080))} == {"drop"}
    assert set(trace(web, Packet(POD, "10.96.0.5", 80))) == sent(A, B)


def test_internal_policy_local() -> None:
    near = portal(internal_local=True, cluster=(A, B), local=(A,))
    assert set(trace(near, Packet(POD, "10.96.0.5", 80))) == sent(A)
    far = portal(internal_local=True, cluster=(B,))
    assert {o.verdict for o in trace(far, Packet(POD, "10.96.0.5", 80))} == {"drop"}
    none = portal(internal_local=True)
    assert {o.verdict for o in trace(none, Packet(POD, "10.96.0.5", 80))} == {"reject"}


def test_affinity_sends_a_known_client_to_its_endpoint() -> None:
    sticky = portal(cluster=(A, B, C), affinity_s=600)
    for backend in (A, B, C):
        name = chain_name("KUBE-SEP", "default/web:http", "tcp", str(backend))
        known = Packet(POD, "10.96.0.5", 80, recent=frozenset({name}))
        assert set(trace(sticky, known)) == sent(backend)
    assert set(trace(sticky, Packet(POD, "10.96.0.5", 80))) == sent(A, B, C)


def test_without_a_pod_network_nothing_but_external_traffic_is_masqueraded() -> None:
    web = portal(node_port=30080, cluster=(A,))
    assert set(trace(web, Packet(OTHER_NODE, "10.96.0.5", 80), Facts())) == sent(A)
    outcomes = trace(web, Packet(OTHER_NODE, NODE, 30080), Facts())
    assert set(outcomes) == sent(A, masqueraded=True)


def test_localnet_protects_what_listens_on_loopback() -> None:
    facts = Facts(cluster_cidr=str(PODS), localnet=True)
    packet = Packet(OUTSIDE, "127.0.0.1", 10256)
    assert {o.verdict for o in trace(portal(cluster=(A,)), packet, facts)} == {"drop"}


@pytest.mark.parametrize("left", range(2, 300))
def test_probabilities_are_multiples_of_what_the_kernel_keeps(left: int) -> None:
    """xt_statistic holds 31 bits: other values would be printed back differently."""
    text = probability(left)
    assert f"{round(float(text) * 2**31) / 2**31:.11f}" == text


# --- properties -------------------------------------------------------------

backends = st.lists(
    st.builds(Backend, st.sampled_from([f"10.244.{n}.{m}" for n in (1, 2) for m in (4, 5)]),
              st.sampled_from([80, 8080])),
    unique=True, max_size=5,
).map(lambda found: tuple(sorted(found)))  # fmt: skip


@st.composite
def portal_lists(draw: st.DrawFn) -> list[Portal]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        cluster = draw(backends)
        local = tuple(b for b in cluster if b.address.startswith("10.244.1."))
        found.append(
            Portal(
                name=f"default/s{number}",
                protocol=draw(st.sampled_from(["tcp", "udp"])),
                cluster_ip=f"10.96.0.{number}",
                port=80,
                node_port=draw(st.sampled_from([0, 30000 + number])),
                external_ips=draw(st.sampled_from([(), (f"198.51.100.{number}",)])),
                affinity_s=draw(st.sampled_from([0, 600])),
                internal_local=draw(st.booleans()),
                external_local=draw(st.booleans()),
                cluster=cluster,
                local=local,
            )
        )
    return found


sources = st.sampled_from([POD, OTHER_NODE, NODE, OUTSIDE, "10.244.1.4", "10.244.2.5"])


@settings(max_examples=300)
@given(found=portal_lists(), source=sources, data=st.data())
def test_every_packet_to_a_service_goes_to_one_of_its_endpoints(
    found: list[Portal], source: str, data: st.DataObject
) -> None:
    tracer = Tracer(render(found, FACTS), LOCAL)
    one = data.draw(st.sampled_from(found))
    doors = [(one.cluster_ip, one.port, False)]
    doors += [(address, one.port, True) for address in one.external_ips]
    doors += [(address, one.node_port, True) for address in LOCAL if one.node_port]
    address, port, external = data.draw(st.sampled_from(doors))
    outcomes = tracer.trace(Packet(source, address, port, one.protocol))

    inside = IPv4Address(source) in PODS or source in LOCAL
    only_local = one.external_local and not inside if external else one.internal_local
    allowed = one.local if only_local else one.cluster
    if not allowed:
        assert {o.verdict for o in outcomes} == {"drop" if one.cluster else "reject"}
    else:
        ends = {(o.destination, o.port) for o in outcomes}
        assert ends == {(b.address, b.port) for b in allowed}
        assert {o.verdict for o in outcomes} == {"accept"}
        for outcome, chance in outcomes.items():
            assert chance == pytest.approx(1 / len(allowed), abs=1e-6)
            assert outcome.masqueraded is _masqueraded(one, source, outcome, external=external)


def _masqueraded(one: Portal, source: str, outcome: Outcome, *, external: bool) -> bool:
    """The answer must come back this way, or else the client sees a stranger's address."""
    if outcome.destination == source:
        return True
    if not external:
        return IPv4Address(source) not in PODS
    if not one.external_local:
        return True
    return source in LOCAL


@given(found=portal_lists(), source=sources)
def test_other_packets_pass_unchanged(found: list[Portal], source: str) -> None:
    tracer = Tracer(render(found, FACTS), LOCAL)
    for destination, port in (("10.244.2.4", 80), (NODE, 22), (OUTSIDE, 443), ("10.96.9.9", 80)):
        outcomes = tracer.trace(Packet(source, destination, port))
        assert outcomes == {Outcome("accept", destination, port, masqueraded=False): 1.0}


@given(before=portal_lists(), now=portal_lists(), size=st.integers(1, 50))
def test_any_rule_set_leads_to_any_other_and_every_input_is_taken(
    before: list[Portal], now: list[Portal], size: int
) -> None:
    iptables = FakeIptables()
    for rules in (render(before, FACTS), render(now, FACTS)):
        _apply(iptables, rules, size)
        owned = {c: tuple(r) for c, r in iptables.chains.items() if c.name.startswith("KUBE-")}
        assert owned == dict(rules.chains)
        assert diff(rules, iptables.chains, owned=("KUBE-S", "KUBE-EXT-")) == []


def _apply(iptables: FakeIptables, rules: RuleSet, size: int) -> None:
    owned = ("KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-SVL-")
    for text in diff(rules, iptables.chains, owned=owned, chains_per_input=size):
        iptables.take(text)
