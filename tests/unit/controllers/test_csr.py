"""Certificate requests: a table of who may have what, and the loops on the real registry."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from registry_world import World, in_world
from virtual_loop import EPOCH_S
from workload_objects import NOW, meta

from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST as CSR
from wherry.api.kinds import ENDPOINTS, SERVICE
from wherry.api.times import format_time
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, User
from wherry.controllers import csr_cleaner
from wherry.controllers.component import ControllerManager, ControllerManagerConfig
from wherry.controllers.csr import Order, judge, lifetime_s, order
from wherry.controllers.views import SigningRequest
from wherry.pki.certificates import create_ca, create_key, identity
from wherry.pki.node import API_CLIENT, HELPERS, SIGNER, node_subject, usages
from wherry.pki.request import belongs, create_request, signed_by, validity
from wherry.pki.subject import Subject

KEY = create_key()
JOINING = User("system:bootstrap:abcdef", ("system:bootstrappers", "system:authenticated"))
N1 = User("system:node:n1", ("system:nodes", "system:authenticated"))
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
JOE = User("joe", ("devs", "system:authenticated"))
SUBJECT = node_subject("n1", "10.0.0.11")
PROXY = HELPERS["proxy"]
RESERVED = frozenset({"10.0.0.1", "10.96.0.1", ""})


def request(
    user: User,
    subject: Subject,
    *,
    signer: str = SIGNER,
    pem: bytes | None = None,
    **spec: Any,
) -> dict[str, Any]:
    text = base64.b64encode(create_request(KEY, subject) if pem is None else pem).decode()
    return {
        "metadata": {**meta("x"), "namespace": ""},
        "spec": {
            "request": text,
            "signerName": signer,
            "usages": usages(subject),
            "username": user.name,
            "groups": list(user.groups),
            **spec,
        },
    }


def seen(obj: dict[str, Any]) -> SigningRequest:
    return msgspec.json.decode(orjson.dumps(obj), type=SigningRequest)


def with_email() -> bytes:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:node:n1"),
        ]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.RFC822Name("a@b.c")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return (
        builder.add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def hosts(*more: str, name: str = "n1") -> Subject:
    return replace(node_subject(name, "10.0.0.11"), hosts=more)


@pytest.mark.parametrize(
    ("user", "subject", "more", "decision"),
    [
        # Who joins gets a node's certificates, whatever the node is called.
        (JOINING, SUBJECT, {}, "Approved"),
        (JOINING, node_subject("host.example.org", "fd00::1"), {}, "Approved"),
        (JOINING, hosts(), {}, "Approved"),
        (JOINING, hosts("n1", "10.0.0.11", "192.168.0.11"), {}, "Approved"),
        (JOINING, SUBJECT, {"usages": ["client auth", "key encipherment"]}, "Approved"),
        (JOINING, PROXY, {}, "Approved"),
        (JOINING, HELPERS["overlay"], {}, "Approved"),
        (JOINING, HELPERS["dns"], {}, "Approved"),
        # A node gets its own again, and its helpers', and no other node's.
        (N1, SUBJECT, {}, "Approved"),
        (N1, PROXY, {}, "Approved"),
        (N1, node_subject("n2", "10.0.0.12"), {}, "system:node:n1 may not ask"),
        # Nobody else is decided about here.
        (JOE, SUBJECT, {}, None),
        (ADMIN, SUBJECT, {}, None),
        (User("system:node:n1", ("system:authenticated",)), SUBJECT, {}, None),
        (User("joe", ("system:nodes",)), SUBJECT, {}, None),
        (JOINING, Subject("jane", ("devs",)), {"signer": API_CLIENT}, None),
        (JOINING, SUBJECT, {"signer": "kubernetes.io/kubelet-serving"}, None),
        # Wrong organization.
        (JOINING, replace(SUBJECT, groups=()), {}, "organization is system:nodes, not none"),
        (JOINING, replace(SUBJECT, groups=("system:masters",)), {}, "not system:masters"),
        (
            JOINING,
            replace(SUBJECT, groups=("system:nodes", "system:masters")),
            {},
            "not system:nodes, system:masters",
        ),
        (JOINING, replace(PROXY, groups=("system:masters",)), {}, "organization of system:kube-p"),
        (JOINING, replace(HELPERS["dns"], groups=("system:nodes",)), {}, "is none, not system:no"),
        # Wrong name.
        (JOINING, Subject("kubernetes-admin"), {}, "'kubernetes-admin' is neither a node nor"),
        (JOINING, Subject("system:kube-scheduler"), {}, "is neither a node nor a process of one"),
        (JOINING, Subject("system:apiserver", ("system:nodes",)), {}, "is neither a node nor"),
        (JOINING, node_subject("", "10.0.0.11"), {}, "'' is no node name"),
        (JOINING, node_subject("N1", "10.0.0.11"), {}, "'N1' is no node name"),
        (JOINING, node_subject("a/b", "10.0.0.11"), {}, "is no node name"),
        (JOINING, node_subject("kubernetes", "10.0.0.11"), {}, "expect an API server there"),
        (
            JOINING,
            node_subject("kubernetes.default.svc", "10.0.0.11"),
            {},
            "expect an API server there",
        ),
        # Names and addresses that are somebody else's.
        (JOINING, hosts("n1", "kubernetes.default.svc"), {}, "may not serve as kubernetes.defa"),
        (JOINING, hosts("n2"), {}, "node 'n1' may not serve as n2"),
        (JOINING, hosts("*"), {}, "may not serve as *"),
        (JOINING, hosts("10.0.0.1"), {}, "node 'n1' may not serve at 10.0.0.1"),
        (JOINING, hosts("10.0.0.11", "10.96.0.1"), {}, "may not serve at 10.96.0.1"),
        (JOINING, hosts("224.0.0.1"), {}, "may not serve at 224.0.0.1"),
        (JOINING, replace(PROXY, hosts=("n1",)), {}, "system:kube-proxy serves nobody"),
        (JOINING, SUBJECT, {"pem": with_email()}, "only DNS names and IP addresses"),
        # Wrong usages.
        (JOINING, SUBJECT, {"usages": ["client auth", "cert sign"]}, "usages cert sign are not"),
        (JOINING, SUBJECT, {"usages": ["server auth"]}, "usages must include 'client auth'"),
        (JOINING, PROXY, {"usages": ["client auth", "server auth"]}, "usages server auth are"),
        (JOINING, SUBJECT, {"pem": b"x"}, "PEM block type must be CERTIFICATE REQUEST"),
    ],
)
def test_who_may_have_what(
    user: User, subject: Subject, more: dict[str, Any], decision: str | None
) -> None:
    verdict = judge(seen(request(user, subject, **more)), RESERVED)
    if decision is None:
        assert verdict is None
    elif decision == "Approved":
        assert verdict is not None
        assert verdict.type_ == "Approved"
    else:
        assert verdict is not None
        assert verdict.type_ == "Denied"
        assert decision in verdict.message


@pytest.mark.parametrize(
    ("subject", "more", "said"),
    [
        (SUBJECT, {}, ""),
        (Subject("jane", ("devs",)), {"signer": API_CLIENT}, ""),
        (
            Subject("jane"),
            {"signer": API_CLIENT, "usages": ["client auth", "server auth"]},
            "usages server auth",
        ),
        (Subject("jane"), {"signer": API_CLIENT, "usages": ["any"]}, "usages any"),
        (Subject("jane", ("system:masters",)), {}, "is neither a node"),
        (hosts("10.0.0.1"), {}, "may not serve"),
    ],
)
def test_an_approval_makes_no_request_another_signers(
    subject: Subject, more: dict[str, Any], said: str
) -> None:
    answer = order(seen(request(ADMIN, subject, **more)), RESERVED)
    if said:
        assert isinstance(answer, str)
        assert said in answer
    else:
        assert isinstance(answer, Order)
        assert (answer.subject.user, answer.subject.groups) == (subject.user, subject.groups)
        assert set(answer.subject.hosts) == set(subject.hosts)
        assert answer.subject.server == subject.server


@pytest.mark.parametrize(
    ("wanted", "most", "ca_left", "expected"),
    [
        (None, 1000, 5000, 1000),
        (700, 1000, 5000, 700),
        (1, 1000, 5000, 600),
        (7000, 1000, 5000, 1000),
        (None, 1000, 500, 500),
        (None, 20, 5000, 20),
    ],
)
def test_how_long_it_lasts(
    wanted: float | None, most: float, ca_left: float, expected: float
) -> None:
    assert lifetime_s(wanted, most, ca_left) == expected


@pytest.mark.parametrize(
    ("status", "kept_s"),
    [
        ({}, 86_400),
        ({"conditions": [{"type": "Approved", "lastUpdateTime": format_time(NOW)}]}, 86_400),
        ({"conditions": [{"type": "Denied", "lastUpdateTime": format_time(NOW)}]}, 3660),
        ({"conditions": [{"type": "Failed"}]}, 3600),
        ({"certificate": base64.b64encode(b"x").decode()}, 3600),
    ],
)
def test_how_long_a_request_is_kept(status: dict[str, Any], kept_s: int) -> None:
    body = {"metadata": meta("x"), "status": status}  # made a minute before NOW
    assert csr_cleaner.until(seen(body)) == NOW - 60 + kept_s


# -- the loops, on the real registry ----------------------------------------------------------

CA = create_ca("ca", now_s=EPOCH_S)


@asynccontextmanager
async def managed(w: World, *, signing: bool = True) -> AsyncIterator[None]:
    config = ControllerManagerConfig(
        "m", leader_elect=False, signing_ca=CA if signing else None, signing_s=86_400
    )
    manager = ControllerManager(config, w.api, clock=w.clock, rng=Random(1))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(manager.run())
        try:
            yield
        finally:
            running.cancel()


async def ask(w: World, user: User, subject: Subject, **more: Any) -> None:
    body = request(user, subject, **more)
    body["metadata"] = {"name": "x"}
    await w.registry.create(Context(user), BY_KIND[CSR], "", body)


async def answer(w: World, user: User, subject: Subject, **more: Any) -> dict[str, Any]:
    await ask(w, user, subject, **more)
    await asyncio.sleep(2)
    status: dict[str, Any] = (await w.get(CSR, "x")).get("status", {})
    return status


def types(status: dict[str, Any]) -> list[str]:
    return [c["type"] for c in status.get("conditions", ())]


def test_a_joining_node_gets_its_certificate() -> None:
    async def run(w: World) -> None:
        async with managed(w):
            status = await answer(w, JOINING, SUBJECT, expirationSeconds=7200)
            assert types(status) == ["Approved"]
            certificate = base64.b64decode(status["certificate"])
            assert identity(certificate) == ("system:node:n1", ("system:nodes",))
            assert belongs(certificate, KEY)
            now = w.clock.now()
            assert signed_by(certificate, CA.certificate, now_s=now)
            assert now + 7190 < validity(certificate)[1] <= now + 7200
            await asyncio.sleep(3700)
            assert not (await w.api.list(CSR)).items, "it was cleaned away"

    in_world(run)


def test_who_asks_for_too_much_is_told_why() -> None:
    async def run(w: World) -> None:
        async with managed(w):
            service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
            raw = await w.api.create(SERVICE, orjson.dumps(service), "default")
            ip = orjson.loads(raw)["spec"]["clusterIP"]
            await asyncio.sleep(1)
            status = await answer(w, JOINING, hosts(ip))
            assert types(status) == ["Denied"]
            assert f"may not serve at {ip}" in status["conditions"][0]["message"]
            assert "certificate" not in status

    in_world(run)


def test_no_node_serves_at_a_masters_address() -> None:
    async def run(w: World) -> None:
        async with managed(w):
            subsets = [{"addresses": [{"ip": "10.0.0.11"}], "ports": [{"port": 6443}]}]
            body = {"metadata": {"name": "kubernetes"}, "subsets": subsets}
            await w.api.create(ENDPOINTS, orjson.dumps(body), "default")
            await asyncio.sleep(1)
            assert types(await answer(w, JOINING, SUBJECT)) == ["Denied"]

    in_world(run)


def test_a_person_approves_a_users_certificate() -> None:
    async def run(w: World) -> None:
        async with managed(w):
            status = await answer(w, ADMIN, Subject("jane", ("devs",)), signer=API_CLIENT)
            assert status == {}
            obj = await w.get(CSR, "x")
            obj["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
            await w.api.update(CSR, "x", orjson.dumps(obj), subresource="approval")
            await asyncio.sleep(2)
            certificate = base64.b64decode((await w.get(CSR, "x"))["status"]["certificate"])
            assert identity(certificate) == ("jane", ("devs",))

    in_world(run)


def test_what_a_signer_cannot_sign_fails_although_approved() -> None:
    async def run(w: World) -> None:
        async with managed(w):
            await ask(w, ADMIN, Subject("jane", ("system:masters",)))
            obj = await w.get(CSR, "x")
            obj["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
            await w.api.update(CSR, "x", orjson.dumps(obj), subresource="approval")
            await asyncio.sleep(2)
            status = (await w.get(CSR, "x"))["status"]
            assert types(status) == ["Approved", "Failed"]
            assert "is neither a node" in status["conditions"][1]["message"]
            assert "certificate" not in status

    in_world(run)


def test_without_an_authority_nothing_is_decided() -> None:
    async def run(w: World) -> None:
        async with managed(w, signing=False):
            assert await answer(w, JOINING, SUBJECT) == {}

    in_world(run)
