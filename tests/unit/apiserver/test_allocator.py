"""ClusterIPs and node ports: each to one Service, whatever happens in between."""

import asyncio
import random
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_world import World, in_world

from wherry.api import kinds
from wherry.api.errors import InternalError, InvalidError, StatusError
from wherry.apiserver.allocator import IP_PREFIX, PORT_PREFIX, band, held
from wherry.apiserver.registry import RegistryConfig
from wherry.apiserver.strategy.fields import IMMUTABLE
from wherry.store.kv import Range, prefix_end

TAKEN = "provided port is already allocated"
BALANCED: dict[str, Any] = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
KINDS: list[dict[str, Any]] = [{"type": "ClusterIP"}, {"type": "NodePort"}, BALANCED]
SMALL = RegistryConfig(service_cidr="10.96.0.0/28", dns_ip="10.96.0.10", node_ports=(30000, 30004))


async def service(w: World, name: str, **spec: Any) -> dict[str, Any]:
    spec.setdefault("ports", [{"port": 80}])
    return await w.create(kinds.SERVICE, "default", name=name, spec=spec)


async def taken(w: World) -> tuple[set[str], set[str]]:
    found = []
    for prefix in (IP_PREFIX, PORT_PREFIX):
        answer = await w.store.range(Range(prefix, prefix_end(prefix)))
        found.append({kv.key[len(prefix) :].decode() for kv in answer.kvs})
    return found[0], found[1]


async def check_invariant(w: World) -> None:
    """What Services hold is exactly what is claimed, and nobody shares."""
    ips: list[str] = []
    ports: list[str] = []
    for raw in (await w.api.list(kinds.SERVICE)).items:
        has_ips, has_ports = held(orjson.loads(raw))
        ips += has_ips
        ports += map(str, has_ports)
    assert len(ips) == len(set(ips))
    assert len(ports) == len(set(ports))
    assert (set(ips), set(ports)) == await taken(w)


def test_addresses_come_from_the_range_and_return_to_it() -> None:
    async def run(w: World) -> None:
        names = [f"s{i}" for i in range(12)]
        for name in names:
            await service(w, name)
        await check_invariant(w)
        with pytest.raises(InternalError) as refused:
            await service(w, "more")
        why = "failed to allocate a serviceIP: range is full"
        assert refused.value.message == f"Internal error occurred: {why}"
        await w.api.delete(kinds.SERVICE, "s3", "default")
        await asyncio.sleep(0.01)
        await service(w, "more")
        await check_invariant(w)

    in_world(run, config=SMALL)


@pytest.mark.parametrize(
    ("size", "addresses", "ports"),
    [(16, 0, 0), (100, 16, 16), (254, 16, 16), (2768, 173, 86), (65534, 256, 128)],
)
def test_the_lower_end_is_for_those_who_choose(size: int, addresses: int, ports: int) -> None:
    assert band(size, least=16, part=16, most=256) == addresses
    assert band(size, least=16, part=32, most=128) == ports


def test_nobody_is_given_what_is_for_those_who_choose_until_all_else_is_taken() -> None:
    config = RegistryConfig(
        service_cidr="10.96.0.0/27", dns_ip="10.96.0.10", node_ports=(30000, 30019)
    )

    async def run(w: World) -> None:
        upper = [await service(w, f"s{n}", type="NodePort") for n in range(4)]
        assert min(one["spec"]["ports"][0]["nodePort"] for one in upper) == 30016
        assert min(int(one["spec"]["clusterIP"].split(".")[-1]) for one in upper) > 16
        await service(w, "one-more", type="NodePort")
        await check_invariant(w)

    in_world(run, config=config)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"clusterIP": "10.96.0.9"},
            'spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: '
            "provided IP is already allocated",
        ),
        (
            {"clusterIP": "10.0.0.1"},
            'spec.clusterIPs: Invalid value: ["10.0.0.1"]: failed to allocate IP 10.0.0.1: the '
            "provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is "
            "10.96.0.0/12",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]},
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
            "The range of valid ports is 30000-32767",
        ),
    ],
)
def test_what_was_asked_for_and_cannot_be_had(spec: dict[str, Any], message: str) -> None:
    async def run(w: World) -> None:
        ports = [{"port": 80, "nodePort": 30001}]
        await service(w, "first", clusterIP="10.96.0.9", type="NodePort", ports=ports)
        with pytest.raises(InvalidError) as refused:
            await service(w, "second", **spec)
        assert refused.value.message == f'Service "second" is invalid: {message}'
        await check_invariant(w)

    in_world(run)


def test_a_service_that_changes_its_type_gives_its_port_back() -> None:
    async def run(w: World) -> None:
        made = await service(w, "s", type="NodePort")
        assert 30000 <= made["spec"]["ports"][0]["nodePort"] <= 32767
        ip = made["spec"]["clusterIP"]
        made["spec"]["type"] = "ClusterIP"
        raw = await w.api.update(kinds.SERVICE, "s", orjson.dumps(made), "default")
        spec = orjson.loads(raw)["spec"]
        assert spec["clusterIP"] == ip
        assert "nodePort" not in spec["ports"][0]
        await check_invariant(w)
        external = b'{"spec":{"type":"ExternalName","externalName":"example.com"}}'
        await w.api.patch(kinds.SERVICE, "s", external, "default")
        await check_invariant(w)
        assert await taken(w) == (set(), set())

    in_world(run)


def test_a_replaced_service_keeps_what_it_does_not_mention() -> None:
    async def run(w: World) -> None:
        made = await service(w, "s", type="NodePort", ports=[{"name": "a", "port": 80}])
        body = {
            "metadata": {"name": "s"},
            "spec": {"type": "NodePort", "ports": [{"name": "a", "port": 8080}]},
        }
        raw = await w.api.update(kinds.SERVICE, "s", orjson.dumps(body), "default")
        spec = orjson.loads(raw)["spec"]
        assert spec["clusterIP"] == made["spec"]["clusterIP"]
        assert spec["ports"][0]["nodePort"] == made["spec"]["ports"][0]["nodePort"]

    in_world(run)


def test_one_number_may_serve_two_protocols_of_one_service() -> None:
    async def run(w: World) -> None:
        ports = [
            {"name": "t", "port": 53, "protocol": "TCP", "nodePort": 30053},
            {"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053},
        ]
        await service(w, "dns", type="NodePort", ports=ports)
        await check_invariant(w)

    in_world(run)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ((0, 0, 0), (1, 1, 2)),
        ((0, 30053, 0), (30053, 30053, 1)),
        ((30053, 0, 0), (30053, 30053, 1)),
        ((30053, 30054, 0), (30053, 30054, 1)),
    ],
)
def test_ports_of_one_number_are_made_with_one_node_port(
    asked: tuple[int, ...], made: tuple[int, ...]
) -> None:
    """Where `made` has 1 and 2, any two ports that differ from each other and from the rest."""
    spoken = (("tcp", 53, "TCP"), ("udp", 53, "UDP"), ("web", 80, "TCP"))
    ports = [
        {"name": name, "port": port, "protocol": protocol, **({"nodePort": node} if node else {})}
        for (name, port, protocol), node in zip(spoken, asked, strict=True)
    ]

    async def run(w: World) -> None:
        got = [
            p["nodePort"]
            for p in (await service(w, "s", type="NodePort", ports=ports))["spec"]["ports"]
        ]
        names = dict(zip(made, got, strict=True))
        assert [names[each] for each in made] == got
        assert len(set(got)) == len(names)
        assert all(names[each] == each for each in made if each > 2)
        await check_invariant(w)

    in_world(run)


def test_a_node_port_that_is_shared_is_nobody_elses() -> None:
    ports = [
        {"name": "tcp", "port": 53},
        {"name": "udp", "port": 53, "protocol": "UDP", "nodePort": 30053},
        {"name": "web", "port": 80, "nodePort": 30053},
    ]

    async def run(w: World) -> None:
        with pytest.raises(InvalidError) as refused:
            await service(w, "s", type="NodePort", ports=ports)
        at = "spec.ports[2].nodePort"
        assert refused.value.message == f'Service "s" is invalid: {at}: Duplicate value: 30053'
        await check_invariant(w)

    in_world(run)


def test_the_first_node_port_that_is_asked_for_is_shared() -> None:
    ports = [
        {"name": "tcp", "port": 53},
        {"name": "udp", "port": 53, "protocol": "UDP", "nodePort": 30053},
        {"name": "sctp", "port": 53, "protocol": "SCTP", "nodePort": 30054},
    ]

    async def run(w: World) -> None:
        made = await service(w, "s", type="NodePort", ports=ports)
        assert [port["nodePort"] for port in made["spec"]["ports"]] == [30053, 30053, 30054]
        await check_invariant(w)

    in_world(run)


def test_ports_that_are_added_have_node_ports_of_their_own() -> None:
    async def run(w: World) -> None:
        made = await service(w, "s", type="NodePort", ports=[{"name": "t", "port": 53}])
        made["spec"]["ports"] += [
            {"name": "u", "port": 53, "protocol": "UDP"},
            {"name": "s", "port": 53, "protocol": "SCTP"},
        ]
        raw = await w.api.update(kinds.SERVICE, "s", orjson.dumps(made), "default")
        ports = [port["nodePort"] for port in orjson.loads(raw)["spec"]["ports"]]
        assert ports[0] == made["spec"]["ports"][0]["nodePort"]
        assert len(set(ports)) == 3
        await check_invariant(w)

    in_world(run)


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "a.b"}]
)
def test_some_services_have_no_address(spec: dict[str, Any]) -> None:
    async def run(w: World) -> None:
        await service(w, "s", **spec)
        assert await taken(w) == (set(), set())

    in_world(run)


def test_a_balancer_that_asks_for_local_pods_is_given_a_port_for_it() -> None:
    async def run(w: World) -> None:
        made = await service(w, "s", **BALANCED)
        port = made["spec"]["healthCheckNodePort"]
        assert 30000 <= port <= 32767
        assert port != made["spec"]["ports"][0]["nodePort"]
        await check_invariant(w)
        body = {"metadata": {"name": "s"}, "spec": {**BALANCED, "ports": [{"port": 81}]}}
        raw = await w.api.update(kinds.SERVICE, "s", orjson.dumps(body), "default")
        assert orjson.loads(raw)["spec"]["healthCheckNodePort"] == port
        await check_invariant(w)
        other = orjson.dumps({"spec": {"healthCheckNodePort": port + 1}})
        with pytest.raises(InvalidError) as refused:
            await w.api.patch(kinds.SERVICE, "s", other, "default")
        path = "spec.healthCheckNodePort"
        assert refused.value.message == f'Service "s" is invalid: {path}: Forbidden: {IMMUTABLE}'
        await w.api.delete(kinds.SERVICE, "s", "default")
        assert await taken(w) == (set(), set())

    in_world(run)


@pytest.mark.parametrize(
    "step", [{"externalTrafficPolicy": "Cluster"}, {"type": "NodePort"}, {"type": "ClusterIP"}]
)
def test_who_is_asked_no_more_gives_the_port_of_health_checks_back(step: dict[str, Any]) -> None:
    async def run(w: World) -> None:
        made = await service(w, "s", **BALANCED, healthCheckNodePort=31234)
        assert made["spec"]["healthCheckNodePort"] == 31234
        await check_invariant(w)
        raw = await w.api.patch(kinds.SERVICE, "s", orjson.dumps({"spec": step}), "default")
        assert "healthCheckNodePort" not in orjson.loads(raw)["spec"]
        await check_invariant(w)
        assert "31234" not in (await taken(w))[1]
        await asyncio.sleep(0.01)
        back = orjson.dumps({"spec": {**BALANCED, "healthCheckNodePort": 31235}})
        raw = await w.api.patch(kinds.SERVICE, "s", back, "default")
        assert orjson.loads(raw)["spec"]["healthCheckNodePort"] == 31235
        await check_invariant(w)

    in_world(run)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"healthCheckNodePort": 30001}, "30001: provided port is already allocated"),
        ({"healthCheckNodePort": 31234}, "31234: provided port is already allocated"),
        (
            {"healthCheckNodePort": 30002, "ports": [{"port": 80, "nodePort": 30002}]},
            "30002: provided port is already allocated",
        ),
        (
            {"healthCheckNodePort": 80},
            "80: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
    ],
)
def test_ports_of_health_checks_that_cannot_be_had(spec: dict[str, Any], why: str) -> None:
    async def run(w: World) -> None:
        ports = [{"port": 80, "nodePort": 30001}]
        await service(w, "first", **BALANCED, healthCheckNodePort=31234, ports=ports)
        await service(w, "third")
        patch = orjson.dumps({"spec": {**BALANCED, **spec}})
        message = f"failed to allocate requested HealthCheck NodePort {why}"
        for refused in (
            service(w, "second", **BALANCED, **spec),
            w.api.patch(kinds.SERVICE, "third", patch, "default"),
        ):
            with pytest.raises(InternalError) as error:
                await refused
            assert error.value.message == f"Internal error occurred: {message}"
            assert error.value.to_status()["details"] == {"causes": [{"message": message}]}
        await check_invariant(w)

    in_world(run)


def test_a_health_check_is_answered_at_no_port_of_the_service() -> None:
    async def run(w: World) -> None:
        held_already = await service(w, "s", **BALANCED, healthCheckNodePort=31234)
        ports = [{"port": 80, "nodePort": 31234}]
        taken_too = orjson.dumps({"spec": {"ports": ports}})
        path = "spec.ports[0].nodePort"
        with pytest.raises(InvalidError, match=re.escape(f"{path}: Invalid value: 31234: {TAKEN}")):
            await w.api.patch(kinds.SERVICE, "s", taken_too, "default")
        assert await w.get(kinds.SERVICE, "s", "default") == held_already

    in_world(run)


@pytest.mark.parametrize("seed", range(8))
def test_no_port_of_the_service_is_the_one_that_was_asked_for_health_checks(seed: int) -> None:
    async def run(w: World) -> None:
        made = await service(w, "s", **BALANCED, healthCheckNodePort=30000)
        assert made["spec"]["ports"][0]["nodePort"] == 30001

    in_world(run, config=RegistryConfig(node_ports=(30000, 30001)), seed=seed)


@pytest.mark.parametrize("what", ["nodePort", "HealthCheck NodePort 0"])
def test_a_range_of_ports_that_is_full(what: str) -> None:
    config = RegistryConfig(node_ports=(30000, 30000 if what != "nodePort" else 29999))

    async def run(w: World) -> None:
        with pytest.raises(InternalError, match=f"failed to allocate a {what}: range is full"):
            await service(w, "s", **BALANCED)
        await check_invariant(w)

    in_world(run, config=config)


def test_a_balancer_without_node_ports_has_those_it_asks_for() -> None:
    async def run(w: World) -> None:
        ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30001}]
        spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": ports}
        made = await service(w, "s", **spec)
        assert [p.get("nodePort") for p in made["spec"]["ports"]] == [None, 30001]
        await check_invariant(w)
        with pytest.raises(InvalidError, match=TAKEN):
            await service(w, "again", **spec)
        await check_invariant(w)

    in_world(run)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_many_writers_never_share(seed: int) -> None:
    """Several clients at once on a tiny range, with caches that lag behind."""

    async def run(w: World) -> None:
        rng = random.Random(seed)

        async def client(number: int) -> None:
            for _ in range(10):
                name = f"s{rng.randrange(6)}"
                kind = rng.choice(KINDS)
                body = {"metadata": {"name": name}, "spec": {**kind, "ports": [{"port": 80}]}}
                try:
                    match rng.randrange(3):
                        case 0:
                            await service(w, name, **body["spec"])
                        case 1:
                            raw = orjson.dumps(body)
                            await w.api.update(kinds.SERVICE, name, raw, "default")
                        case _:
                            await w.api.delete(kinds.SERVICE, name, "default")
                except StatusError:
                    pass
                if rng.random() < 0.5:
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(client(number))
        await check_invariant(w)

    in_world(run, config=SMALL, slow=True, seed=seed)
