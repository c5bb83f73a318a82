"""Ask a cluster for a certificate, and wait for it. Works again after being killed at any line.

The request's name follows from the key and the subject, so whoever asks again with the same
key finds the first request instead of making a second one.
"""

import asyncio
import base64
from random import Random
from typing import Any, Final

import orjson

from wherry.api.errors import (
    AlreadyExistsError,
    ConfigError,
    InternalError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutStatusError,
    TooManyRequestsError,
    UnavailableError,
)
from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST
from wherry.cli.rest import Objects
from wherry.client.backoff import Backoff
from wherry.pki.node import SIGNER, usages
from wherry.pki.request import belongs, create_request, request_name
from wherry.pki.subject import Subject

TIMEOUT_S: Final = 120.0
_PASSING = (
    UnavailableError,
    ServiceUnavailableError,
    TimeoutStatusError,
    TooManyRequestsError,
    InternalError,
)
"""What a master that is being killed answers: ask again."""


async def obtain(
    api: Objects,
    subject: Subject,
    key: bytes,
    *,
    requester: str,
    rng: Random,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Return a certificate for `subject` and `key` (PEM), PEM.

    Args:
        api: Where to ask.
        subject: Whom it is to name.
        key: Its private key, which stays here.
        requester: As whom `api` asks: who else asks the same makes a request of their own.
        rng: Jitter.
        timeout_s: How long to wait for it.

    Raises:
        ConfigError: the cluster denies it.
        UnavailableError: it did not come in time; the message says what it waits for.
        StatusError: we may not ask.
    """
    name = request_name(key, subject, requester)
    body = _body(name, subject, key)
    backoff = Backoff(rng, first_s=0.1, most_s=2.0)
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            status = await _status(api, name, body)
        except _PASSING as error:
            waiting = str(error)
        else:
            if certificate := _certificate(name, subject, status):
                return _checked(name, certificate, key)
            waiting = _waiting_for(name, status)
        if asyncio.get_running_loop().time() > deadline_s:
            raise UnavailableError(
                f"no certificate for {subject.user} within {timeout_s:g} s: {waiting}"
            )
        await asyncio.sleep(backoff.next_s())


async def _status(api: Objects, name: str, body: bytes) -> dict[str, Any]:
    """Return the status of our request; make it where there is none."""
    try:
        raw = await api.get(CERTIFICATE_SIGNING_REQUEST, name)
    except NotFoundError:
        try:
            raw = await api.create(CERTIFICATE_SIGNING_REQUEST, body)
        except AlreadyExistsError:  # a create whose answer was lost
            raw = await api.get(CERTIFICATE_SIGNING_REQUEST, name)
    status: dict[str, Any] = orjson.loads(raw).get("status") or {}
    return status


def _body(name: str, subject: Subject, key: bytes) -> bytes:
    kind = CERTIFICATE_SIGNING_REQUEST
    request = base64.b64encode(create_request(key, subject)).decode()
    spec = {"request": request, "signerName": SIGNER, "usages": usages(subject)}
    return orjson.dumps(
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name},
            "spec": spec,
        }
    )


def _certificate(name: str, subject: Subject, status: dict[str, Any]) -> bytes:
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Denied", "Failed"):
            raise ConfigError(
                f"the cluster gives no certificate for {subject.user}: "
                f"{condition.get('message') or condition.get('reason')} "
                f"(kubectl describe csr {name})"
            )
    return base64.b64decode(status.get("certificate") or "")


def _checked(name: str, certificate: bytes, key: bytes) -> bytes:
    if not belongs(certificate, key):
        raise ConfigError(f"request {name} was answered with a certificate for another key")
    return certificate


def _waiting_for(name: str, status: dict[str, Any]) -> str:
    if any(c["type"] == "Approved" for c in status.get("conditions") or ()):
        return f"{name} is approved but not signed: does the controller manager run?"
    return (
        f"{name} is not approved: does the controller manager run, and with "
        f"--cluster-signing-cert-file? or: kubectl certificate approve {name}"
    )
