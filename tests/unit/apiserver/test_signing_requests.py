"""CertificateSigningRequests on the real registry: who asks, who decides, what stays as it is."""

import asyncio
import base64
import random
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import ForbiddenError, InvalidError
from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST as CSR
from wherry.apiserver.access import requester_of
from wherry.apiserver.bootstrap import Bootstrap, BootstrapConfig
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.strategy import strategy_for
from wherry.apiserver.strategy.pem import certificates_fault
from wherry.apiserver.verbs import Context, User
from wherry.pki.certificates import create_ca, create_key, issue
from wherry.pki.node import API_CLIENT, SIGNER
from wherry.pki.request import create_request
from wherry.pki.subject import Subject

JOINING = User(
    "system:bootstrap:abcdef",
    ("system:bootstrappers", "system:authenticated"),
    "u1",
    {"from": ["here"]},
)
KEY = create_key()
REQUEST = base64.b64encode(create_request(KEY, Subject("system:kube-dns"))).decode()
ADMINS = base64.b64encode(create_request(KEY, Subject("eve", ("system:masters",)))).decode()


def asked(name: str = "x", **spec: Any) -> dict[str, Any]:
    base = {"request": REQUEST, "signerName": SIGNER, "usages": ["client auth"]}
    return {"metadata": {"name": name}, "spec": {**base, **spec}}


async def create(w: World, body: dict[str, Any], user: User = JOINING) -> dict[str, Any]:
    written = await w.registry.create(Context(user), BY_KIND[CSR], "", body)
    found: dict[str, Any] = orjson.loads(written.object)
    return found


async def change(
    w: World, edit: Callable[[dict[str, Any]], None], subresource: str = ""
) -> dict[str, Any]:
    obj = await w.get(CSR, "x")
    edit(obj)
    raw = await w.api.update(CSR, "x", orjson.dumps(obj), subresource=subresource)
    found: dict[str, Any] = orjson.loads(raw)
    return found


def with_conditions(*types: str, status: str = "True") -> Callable[[dict[str, Any]], None]:
    def edit(obj: dict[str, Any]) -> None:
        obj.setdefault("status", {})["conditions"] = [
            {"type": type_, "status": status, "reason": "Test"} for type_ in types
        ]

    return edit


def types_of(obj: dict[str, Any]) -> list[str]:
    return [c["type"] for c in obj.get("status", {}).get("conditions", ())]


def test_the_server_says_who_asks_whatever_the_client_says() -> None:
    async def run(w: World) -> None:
        body = asked(username="kubernetes-admin", groups=["system:masters"], uid="0", extra={})
        body["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
        made = await create(w, body)
        assert made["spec"]["username"] == "system:bootstrap:abcdef"
        assert made["spec"]["groups"] == ["system:bootstrappers", "system:authenticated"]
        assert made["spec"]["uid"] == "u1"
        assert made["spec"]["extra"] == {"from": ["here"]}
        assert types_of(made) == []
        assert requester_of(w.registry)("x") in (None, "system:bootstrap:abcdef")
        await w.get(CSR, "x")
        made = await create(w, asked("y", uid="0"), ADMIN)
        assert "uid" not in made["spec"]
        assert "extra" not in made["spec"]

    in_world(run)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"request": ""}, "spec.request: Invalid value"),
        ({"request": "eA=="}, "PEM block type must be CERTIFICATE REQUEST"),
        (
            {"request": base64.b64encode(create_ca("x", now_s=0).certificate).decode()},
            "PEM block type must be CERTIFICATE REQUEST",
        ),
        (
            {
                "request": base64.b64encode(
                    b"-----BEGIN CERTIFICATE REQUEST-----\neA==\n-----END CERTIFICATE REQUEST-----"
                ).decode()
            },
            "cannot read the certificate request",
        ),
        ({"usages": []}, "spec.usages: Required value: usages must be provided"),
        ({"usages": ["fly"]}, 'spec.usages[0]: Unsupported value: "fly"'),
        ({"usages": ["any", "any"]}, 'spec.usages[1]: Duplicate value: "any"'),
        ({"usages": ["x", "x"]}, 'spec.usages[1]: Duplicate value: "x"'),
        ({"signerName": ""}, "spec.signerName: Required value"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "the legacy signerName is not allowed"),
        ({"signerName": "nowhere"}, "must be a fully qualified domain and path"),
        ({"signerName": "io/x"}, "should be a domain with at least two segments"),
        ({"expirationSeconds": 599}, "may not specify a duration less than 600 seconds"),
    ],
)
def test_what_is_no_request_is_refused(spec: dict[str, Any], said: str) -> None:
    async def run(w: World) -> None:
        with pytest.raises(InvalidError) as refused:
            await create(w, asked(**spec))
        assert said in refused.value.message

    in_world(run)


def test_a_request_signed_by_another_key_is_refused() -> None:
    pem = base64.b64decode(REQUEST)
    der = bytearray(base64.b64decode(b"".join(pem.splitlines()[1:-1])))
    der[-1] ^= 1
    body = base64.b64encode(bytes(der))
    forged = (
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"\n-----END CERTIFICATE REQUEST-----"
    )

    async def run(w: World) -> None:
        with pytest.raises(InvalidError, match="not signed by its own key"):
            await create(w, asked(request=base64.b64encode(forged).decode()))

    in_world(run)


def test_nobody_asks_to_become_an_administrator() -> None:
    async def run(w: World) -> None:
        with pytest.raises(ForbiddenError, match="with system:masters group is not allowed"):
            await create(w, asked(request=ADMINS, signerName=API_CLIENT), ADMIN)

    in_world(run)


def test_the_spec_stays_as_it_was_made() -> None:
    async def run(w: World) -> None:
        await create(w, asked())

        def edit(obj: dict[str, Any]) -> None:
            obj["spec"] |= {"request": ADMINS, "username": "eve", "signerName": API_CLIENT}
            obj["metadata"]["labels"] = {"a": "b"}
            with_conditions("Approved")(obj)

        with pytest.raises(InvalidError, match='may not add a condition of type "Approved"'):
            await change(w, edit, "status")
        for subresource in ("", "approval"):
            changed = await change(w, edit, subresource)
            assert changed["spec"]["request"] == REQUEST
            assert changed["spec"]["username"] == "system:bootstrap:abcdef"
            assert changed["spec"]["signerName"] == SIGNER
            assert types_of(changed) == (["Approved"] if subresource == "approval" else [])
        assert (await w.get(CSR, "x"))["metadata"]["labels"] == {"a": "b"}

    in_world(run)


def test_approval_is_dated_and_final() -> None:
    async def run(w: World) -> None:
        await create(w, asked())
        changed = await change(w, with_conditions("Approved"), "approval")
        [condition] = changed["status"]["conditions"]
        assert condition["lastUpdateTime"] == condition["lastTransitionTime"]
        await asyncio.sleep(60)  # virtual
        changed = await change(w, with_conditions("Approved"), "approval")
        [again] = changed["status"]["conditions"]
        assert again["lastTransitionTime"] == condition["lastTransitionTime"]
        assert again["lastUpdateTime"] > condition["lastUpdateTime"]
        refused = [
            (with_conditions(), 'updates may not remove a condition of type "Approved"'),
            (with_conditions("Approved", "Denied"), "are mutually exclusive"),
            (with_conditions("Approved", "Approved"), 'Duplicate value: "Approved"'),
            (with_conditions("Approved", status="False"), 'Unsupported value: "False"'),
            (with_conditions("Approved", ""), "status.conditions[1].type: Required value"),
            (with_conditions("Denied"), 'updates may not remove a condition of type "Approved"'),
        ]
        for edit, said in refused:
            with pytest.raises(InvalidError) as error:
                await change(w, edit, "approval")
            assert said in error.value.message

    in_world(run)


def test_a_certificate_comes_by_status_only_and_once() -> None:
    pair = issue(create_ca("ca", now_s=0), Subject("system:kube-dns"), now_s=0)
    certificate = base64.b64encode(pair.certificate).decode()

    def put(text: str) -> Callable[[dict[str, Any]], None]:
        def edit(obj: dict[str, Any]) -> None:
            obj.setdefault("status", {})["certificate"] = text

        return edit

    async def run(w: World) -> None:
        await create(w, asked())
        assert "certificate" not in (await change(w, put(certificate))).get("status", {})
        changed = await change(w, put(certificate), "approval")
        assert "certificate" not in changed["status"]
        with pytest.raises(InvalidError, match=r"status\.certificate"):
            await change(w, put("eA=="), "status")
        changed = await change(w, put(certificate), "status")
        assert changed["status"]["certificate"] == certificate
        with pytest.raises(InvalidError) as error:
            await change(w, put(REQUEST), "status")
        assert "only CERTIFICATE PEM blocks are allowed" in error.value.message
        assert "may not modify existing certificate content" in error.value.message
        await change(w, with_conditions("Approved"), "approval")
        assert (await w.get(CSR, "x"))["status"]["certificate"] == certificate
        with pytest.raises(InvalidError, match='may not remove a condition of type "Approved"'):
            await change(w, with_conditions("Failed"), "status")

    in_world(run)


def test_a_signer_says_what_failed_and_leaves_the_decision_as_it_is() -> None:
    async def run(w: World) -> None:
        await create(w, asked())
        decided = await change(w, with_conditions("Approved"), "approval")
        before = decided["status"]["conditions"]
        await asyncio.sleep(60)  # virtual

        def fail(obj: dict[str, Any]) -> None:
            with_conditions("Failed", "Approved", "Other")(obj)
            obj["status"]["conditions"][2]["lastUpdateTime"] = "2026-01-01T00:00:00Z"
            obj["metadata"]["labels"] = {"a": "b"}

        changed = await change(w, fail, "status")
        failed, approved, other = changed["status"]["conditions"]
        assert [approved] == before
        assert failed["lastUpdateTime"] == failed["lastTransitionTime"] != ""
        assert failed["lastUpdateTime"] > approved["lastUpdateTime"]
        assert other["lastUpdateTime"] == "2026-01-01T00:00:00Z"
        assert other["lastTransitionTime"] == failed["lastTransitionTime"]
        assert changed["metadata"]["labels"] == {"a": "b"}
        refused = [
            (with_conditions("Approved"), 'updates may not remove a condition of type "Failed"'),
            (
                with_conditions("Approved", "Failed", "Denied"),
                'not add a condition of type "Denied"',
            ),
            (with_conditions("Approved", "Failed", "Failed"), 'type: Duplicate value: "Failed"'),
        ]
        for edit, said in refused:
            with pytest.raises(InvalidError, match=re.escape(said)):
                await change(w, edit, "status")

    in_world(run)


def test_who_decides_may_label_too() -> None:
    def edit(obj: dict[str, Any]) -> None:
        with_conditions("Denied")(obj)
        obj["metadata"]["labels"] = {"a": "b"}
        obj["spec"]["signerName"] = API_CLIENT

    async def run(w: World) -> None:
        await create(w, asked())
        changed = await change(w, edit, "approval")
        assert changed["metadata"]["labels"] == {"a": "b"}
        assert changed["spec"]["signerName"] == SIGNER

    in_world(run)


CERTIFICATE = issue(create_ca("ca", now_s=0), Subject("a"), now_s=0).certificate
WITH_HEADER = CERTIFICATE.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nA: b\n\n", 1)
NO_BLOCK = "must contain at least one CERTIFICATE PEM block"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (CERTIFICATE, ""),
        (b"of the authority\n" + CERTIFICATE + b"\n\n" + CERTIFICATE + b"the end", ""),
        (b"", NO_BLOCK),
        (b"x", NO_BLOCK),
        (CERTIFICATE[:-20], NO_BLOCK),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", NO_BLOCK),
        (CERTIFICATE + KEY, 'only CERTIFICATE PEM blocks are allowed, found "PRIVATE KEY"'),
        (WITH_HEADER, "no PEM block headers are permitted"),
        (b"-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n", "error parsing asn1"),
    ],
)
def test_what_is_stored_as_a_certificate(text: bytes, fault: str) -> None:
    found = certificates_fault(text)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.b/c.d-e", []),
        (f"{'a.' * 126}a/{'b' * 63}.c", []),
        ("a.b/c/d", ["must be a fully qualified domain and path of the form"]),
        ("A.b/c", ['validating label "A": a lowercase RFC 1123 label']),
        ("a..b/c", ['validating label "": a lowercase RFC 1123 label']),
        ("a.b/", ['validating label "": a lowercase RFC 1123 subdomain']),
        ("a.b/C.D", ['validating label "C": a lowercase RFC 1123 subdomain']),
        (f"{'a.' * 127}a/c", ["may not be more than 253 bytes"]),
        (f"a.b/{'c.' * 300}c", ["may not be more than 571 bytes"]),
    ],
)
def test_names_of_signers(name: str, said: list[str]) -> None:
    body = asked(signerName=name)
    found = strategy_for(CSR).validate(body)
    assert len(found) == len(said), found
    for cause, text in zip(found, said, strict=True):
        assert cause.field == "spec.signerName"
        assert text in cause.message


def test_other_kinds_of_keys_are_known() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jane")])
    built = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = built.public_bytes(serialization.Encoding.PEM)

    async def run(w: World) -> None:
        await create(w, asked(request=base64.b64encode(pem).decode(), signerName=API_CLIENT))

    in_world(run)


def test_everybody_is_told_the_authority() -> None:
    ca = create_ca("ca", now_s=0).certificate.decode()

    async def run(w: World) -> None:
        config = BootstrapConfig("192.168.0.1", 7443, 7444, ca=ca)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(
                Bootstrap(w.registry, w.store, config, rng=random.Random(1)).run()
            )
            await asyncio.sleep(1)
            running.cancel()
        info = await w.get(kinds.CONFIG_MAP, "cluster-info", "kube-public")
        [cluster] = yaml.safe_load(info["data"]["kubeconfig"])["clusters"]
        assert cluster["cluster"]["server"] == "https://192.168.0.1:7443"
        assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode() == ca
        assert info["metadata"]["annotations"]["wherry.io/grpc-port"] == "7444"

    in_world(run)
