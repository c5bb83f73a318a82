"""Who is who: certificates, static tokens, ServiceAccount tokens, bootstrap tokens."""

import asyncio
import base64
import hashlib
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from registry_world import World, in_world

from wherry.api import kinds
from wherry.api.errors import ConfigError, InvalidError, NotFoundError, UnauthorizedError
from wherry.apiserver.access import Access, node_of_pod, requester_of
from wherry.apiserver.authn import Authenticator, read_token_file
from wherry.apiserver.authz import FixedPolicy
from wherry.apiserver.registry import RegistryConfig
from wherry.apiserver.tokens import TokenConfig
from wherry.pki.certificates import create_ca, create_signing_key, issue
from wherry.pki.subject import Subject

TOKENS = TokenConfig(signing_key=create_signing_key())
CONFIG = RegistryConfig(tokens=TOKENS)


def authenticator(w: World, static: str = "") -> Authenticator:
    return Authenticator(w.registry, clock=w.clock, tokens=TOKENS, static=read_token_file(static))


async def token_for(w: World, name: str = "robot", **spec: Any) -> str:
    body = orjson.dumps({"spec": spec})
    raw = await w.api.create(kinds.SERVICE_ACCOUNT, body, "default", name=name, subresource="token")
    token: str = orjson.loads(raw)["status"]["token"]
    return token


def test_a_certificate_names_user_and_groups() -> None:
    async def run(w: World) -> None:
        ca = create_ca("ca", now_s=w.clock.now())
        subject = Subject("jane", ("dev", "ops"))
        certificate = issue(ca, subject, now_s=w.clock.now()).certificate
        for _ in range(2):
            user = await authenticator(w).authenticate(certificate, "")
            assert user.name == "jane"
            assert set(user.groups) == {"dev", "ops", "system:authenticated"}
            der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
            credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
            assert user.extra == {"authentication.kubernetes.io/credential-id": [credential]}
            assert await authenticator(w).authenticate(der, "") == user

    in_world(run)


def certificate_of_nobody(now_s: float) -> bytes:
    """Return one that has groups and no common name (ours always have one)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")])
    day = datetime.fromtimestamp(now_s, UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_counts_before_a_token() -> None:
    async def run(w: World) -> None:
        ca = create_ca("ca", now_s=w.clock.now())
        jane = issue(ca, Subject("jane", ()), now_s=w.clock.now()).certificate
        nobody = certificate_of_nobody(w.clock.now())
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        expired = await token_for(w, expirationSeconds=600)
        await asyncio.sleep(601)
        who = authenticator(w, "secret,joe,u1\n")
        for token in ("secret", "wrong", "a.b.c", expired):
            assert (await who.authenticate(jane, token)).name == "jane"
        assert (await who.authenticate(nobody, "secret")).name == "joe"
        for token in ("", "wrong", expired):
            with pytest.raises(UnauthorizedError):
                await who.authenticate(nobody, token)

    in_world(run, config=CONFIG)


def test_a_token_counts_once_the_certificate_has_expired() -> None:
    async def run(w: World) -> None:
        ca = create_ca("ca", now_s=w.clock.now())
        jane = issue(ca, Subject("jane", ()), now_s=w.clock.now(), days=1).certificate
        who = authenticator(w, "secret,joe,u1\n")
        assert (await who.authenticate(jane, "secret")).name == "jane"
        w.clock.skew_s = 86_401
        assert (await who.authenticate(jane, "secret")).name == "joe"
        with pytest.raises(UnauthorizedError, match="x509: certificate has expired"):
            await who.authenticate(jane, "")
        with pytest.raises(UnauthorizedError, match="invalid bearer token"):
            await who.authenticate(jane, "wrong")

    in_world(run)


def test_static_tokens_and_nobody() -> None:
    async def run(w: World) -> None:
        who = authenticator(w, 'secret,jane,u1,"dev, ops"\n')
        user = await who.authenticate(None, "secret")
        assert (user.name, user.uid) == ("jane", "u1")
        assert user.groups == ("dev", "ops", "system:authenticated")
        for token in ("", "secre", "a.b.c"):
            with pytest.raises(UnauthorizedError):
                await who.authenticate(None, token)

    in_world(run)
    with pytest.raises(ConfigError, match="line 1"):
        read_token_file("justatoken\n")


def test_a_service_account_token_lives_as_long_as_its_account_and_no_longer_than_it_says() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        who = authenticator(w)
        token = await token_for(w, expirationSeconds=600)
        user = await who.authenticate(None, token)
        assert user.name == "system:serviceaccount:default:robot"
        assert "system:serviceaccounts:default" in user.groups
        await asyncio.sleep(599)
        await who.authenticate(None, token)
        await asyncio.sleep(2)
        with pytest.raises(UnauthorizedError, match="service account token has expired"):
            await who.authenticate(None, token)
        token = await token_for(w)
        await who.authenticate(None, token)
        w.clock.skew_s = -3600
        with pytest.raises(UnauthorizedError, match="is not valid yet"):
            await authenticator(w).authenticate(None, token)
        w.clock.skew_s = 0
        await w.api.delete(kinds.SERVICE_ACCOUNT, "robot", "default")
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        await asyncio.sleep(1)
        with pytest.raises(UnauthorizedError, match=r"service account UID \(.*\) does not match"):
            await who.authenticate(None, token)

    in_world(run, config=CONFIG)


def test_a_token_bound_to_a_pod_dies_with_it() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        spec = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "robot"}
        await w.create(kinds.POD, "default", name="p", spec=spec)
        ref = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
        token = await token_for(w, boundObjectRef=ref)
        who = authenticator(w)
        user = await who.authenticate(None, token)
        assert user.extra["authentication.kubernetes.io/pod-name"] == ["p"]
        await w.api.delete(kinds.POD, "p", "default")
        await asyncio.sleep(1)
        with pytest.raises(UnauthorizedError, match="service account token has been invalidated"):
            await who.authenticate(None, token)
        with pytest.raises(NotFoundError):
            await token_for(w, boundObjectRef=ref)

    in_world(run, config=CONFIG)


def test_a_token_that_somebody_changed_or_signed_is_refused() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        token = await token_for(w)
        head, claims, signature = token.split(".")
        decoded = orjson.loads(base64.urlsafe_b64decode(claims + "=="))
        decoded["sub"] = "system:serviceaccount:kube-system:admin"
        forged = base64.urlsafe_b64encode(orjson.dumps(decoded)).rstrip(b"=").decode()
        none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
        for bad in (f"{head}.{forged}.{signature}", f"{none}.{claims}.", token[:-4] + "AAAA"):
            with pytest.raises(UnauthorizedError):
                await authenticator(w).authenticate(None, bad)
        other = Authenticator(
            w.registry, clock=w.clock, tokens=TokenConfig(signing_key=create_signing_key())
        )
        with pytest.raises(UnauthorizedError):
            await other.authenticate(None, token)

    in_world(run, config=CONFIG)


def test_a_token_request_for_too_short_a_time_is_invalid() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        with pytest.raises(InvalidError, match="may not specify a duration less than 10 minutes"):
            await token_for(w, expirationSeconds=10)

    in_world(run, config=CONFIG)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({}, ""),
        ({"token-secret": "0" * 16}, "invalid bearer token"),
        ({"usage-bootstrap-authentication": "false"}, "may not be used"),
        ({"expiration": "2026-09-21T14:13:19Z"}, "has expired"),
        ({"expiration": "2026-09-22T00:00:00Z"}, ""),
    ],
)
def test_bootstrap_tokens(change: dict[str, str], error: str) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.NAMESPACE, name="kube-system")
        secret = "".join(random.Random(1).choices("abcdef0123456789", k=16))
        data = {
            "token-id": "abcdef",
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:x",
        } | change
        await w.create(
            kinds.SECRET,
            "kube-system",
            name="bootstrap-token-abcdef",
            type="bootstrap.kubernetes.io/token",
            stringData=data,
        )
        if error:
            with pytest.raises(UnauthorizedError, match=error):
                await authenticator(w).authenticate(None, f"abcdef.{secret}")
            return
        user = await authenticator(w).authenticate(None, f"abcdef.{secret}")
        assert user.name == "system:bootstrap:abcdef"
        assert user.groups[:2] == ("system:bootstrappers", "system:bootstrappers:x")

    in_world(run)


def test_who_is_not_let_in_is_not_told_why_and_the_log_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.SERVICE_ACCOUNT, "default", name="robot")
        token = await token_for(w, expirationSeconds=600)
        policy = FixedPolicy(node_of_pod(w.registry), requester_of(w.registry))
        access = Access(authenticator(w), policy)
        await asyncio.sleep(601)
        with caplog.at_level(logging.INFO), pytest.raises(UnauthorizedError) as refused:
            await access.authenticate(None, token)
        assert refused.value.message == "Unauthorized"
        assert "[invalid bearer token, service account token has expired]" in caplog.text
        assert token not in caplog.text
        with pytest.raises(UnauthorizedError, match="service account token has expired"):
            await access.review(token, ())

    in_world(run, config=CONFIG)
