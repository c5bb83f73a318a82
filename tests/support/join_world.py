"""A cluster that nodes join, in memory: the server's side of `wherry join` by the real decisions.

And a disk that fails at a chosen moment, as a machine does that is switched off.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

from wherry.api.clock import Clock
from wherry.api.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST, CONFIG_MAP, ENDPOINTS, Kind
from wherry.apiserver.bootstrap import BootstrapConfig, cluster_info
from wherry.cli.join_token import JoinToken, ca_fingerprint
from wherry.cli.rest import Address, Objects
from wherry.controllers.csr import Order, judge, order
from wherry.controllers.views import SigningRequest
from wherry.pki.certificates import create_ca, identity, sign
from wherry.pki.node import BOOTSTRAPPERS
from wherry.process.files import atomic_write

RESERVED = frozenset({"10.0.0.1", "10.0.0.2", "10.96.0.1"})


class SwitchedOff(BaseException):
    """The machine went dark."""


class Disk:
    """Writes and renames really, until `steps` are used up; each file costs two: before and after."""

    def __init__(self, steps: int = 1_000_000) -> None:
        self.left = steps

    def _step(self) -> None:
        if self.left == 0:
            raise SwitchedOff
        self.left -= 1

    def write(self, path: Path, data: bytes, *, mode: int = 0o644) -> None:
        self._step()
        atomic_write(path, data, mode=mode)
        self._step()

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        old.replace(new)
        self._step()


class JoinCluster:
    """Answers like an API server with its controllers; `most_s` is a certificate's life."""

    def __init__(self, clock: Clock, *, most_s: float = 365 * 86_400.0) -> None:
        self.clock = clock
        self.most_s = most_s
        self.ca = create_ca("ca", now_s=clock.now())
        fingerprint = ca_fingerprint(self.ca.certificate)
        self.token = JoinToken("abcdef", "0123456789abcdef", fingerprint)
        self.masters = ["10.0.0.2", "10.0.0.1"]
        self.requests: dict[str, dict[str, Any]] = {}
        self.made = 0
        self.calls = 0
        self.away = range(0)
        """Which calls get no answer; the first is 1."""
        self.silent = False
        """Nobody decides about requests."""

    def serve(self, user: str, groups: list[str], kind: Kind, name: str) -> bytes:
        self._answer()
        if kind == CONFIG_MAP:
            config = BootstrapConfig("10.0.0.1", ca=self.ca.certificate.decode(), grpc_port=7444)
            return orjson.dumps(cluster_info(config))
        if kind == ENDPOINTS:
            if not user.startswith("system:node:"):
                raise ForbiddenError(f"{user} may not read endpoints")
            subsets = [{"addresses": [{"ip": ip} for ip in self.masters]}] if self.masters else []
            return orjson.dumps({"metadata": {"name": "kubernetes"}, "subsets": subsets})
        assert kind == CERTIFICATE_SIGNING_REQUEST
        if name not in self.requests:
            raise NotFoundError(f"{name} not found")
        return orjson.dumps(self.requests[name])

    def accept(self, user: str, groups: list[str], body: bytes) -> bytes:
        self._answer()
        given = orjson.loads(body)
        name = given["metadata"]["name"]
        if name in self.requests:
            raise AlreadyExistsError(f"{name} already exists")
        given["spec"] |= {"username": user, "groups": groups}
        self.made += 1
        self.requests[name] = given
        if not self.silent:
            given["status"] = self._decide(given)
        return orjson.dumps(given)

    def _answer(self) -> None:
        self.calls += 1
        if self.calls in self.away:
            raise UnavailableError("connection refused")

    def _decide(self, given: dict[str, Any]) -> dict[str, Any]:
        csr = msgspec.json.decode(orjson.dumps(given), type=SigningRequest)
        verdict = judge(csr, RESERVED)
        if verdict is None:
            return {}
        conditions = [{"type": verdict.type_, "status": "True", "message": verdict.message}]
        wanted = order(csr, RESERVED)
        if verdict.type_ == "Denied" or not isinstance(wanted, Order):
            return {"conditions": conditions}
        certificate = sign(
            self.ca,
            wanted.subject,
            wanted.public_key,
            now_s=self.clock.now(),
            days=self.most_s / 86_400,
        )
        return {
            "conditions": conditions,
            "certificate": base64.b64encode(certificate).decode(),
        }


class Client:
    """`Objects` of one user; `who` is asked with each call, as certificates change."""

    def __init__(self, cluster: JoinCluster, who: Callable[[], tuple[str, list[str]]]) -> None:
        self._cluster = cluster
        self._who = who

    async def get(self, kind: Kind, name: str, namespace: str = "") -> bytes:
        return self._cluster.serve(*self._who(), kind, name)

    async def create(self, kind: Kind, body: bytes, namespace: str = "") -> bytes:
        return self._cluster.accept(*self._who(), body)


class JoinServer:
    """`wherry.cli.join.Server` on a `JoinCluster`."""

    def __init__(self, cluster: JoinCluster, host: str = "10.0.0.1") -> None:
        self._cluster = cluster
        self.address = Address(host)
        self.local_address = "10.0.0.11"

    def unverified(self) -> Objects:
        return Client(self._cluster, lambda: ("system:anonymous", []))

    def by_token(self, ca: bytes, token: str) -> Objects:
        assert ca == self._cluster.ca.certificate

        def who() -> tuple[str, list[str]]:
            if token != self._cluster.token.bearer:
                raise UnauthorizedError("invalid bearer token")
            return self._cluster.token.user, [BOOTSTRAPPERS]

        return Client(self._cluster, who)

    def by_certificate(self, ca: bytes, certificate: Path, key: Path) -> Objects:
        assert ca == self._cluster.ca.certificate
        assert key.exists()

        def who() -> tuple[str, list[str]]:
            user, groups = identity(certificate.read_bytes())
            return user, list(groups)

        return Client(self._cluster, who)
