"""The API server as a component: caches, registry, two doors.

Started in this order: the caches fill, `bootstrap` makes what every cluster has, the doors
open at once (a request waits for the caches as long as it may; `/readyz` says when that is
no longer needed). Stopped in the reverse order: the doors drain while the registry goes on
to answer, then the caches end.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from ssl import SSLContext, TLSVersion
from typing import Any, Final, Generic, TypeVar

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError, WherryError
from wherry.apiserver.cors import Cors
from wherry.apiserver.discovery import get_discovery
from wherry.apiserver.gate import Gate
from wherry.apiserver.grpc import ClusterService, GrpcServer
from wherry.apiserver.http import HttpServer, Limits
from wherry.apiserver.metrics import Levels, Metrics
from wherry.apiserver.openapi import get_openapi
from wherry.apiserver.registry import Registry
from wherry.apiserver.rest.documents import Documents
from wherry.apiserver.rest.door import RestDoor
from wherry.apiserver.rest.longrunning import is_long_running
from wherry.apiserver.tokens import TokenIssuer
from wherry.apiserver.tunnel.agent import Dialer, TlsDialer
from wherry.apiserver.versions.versions import Versions
from wherry.pki.tls import TlsFiles, client_context, server_context
from wherry.process.reload import CertificateReload
from wherry.store.kv import Range, Store

log = logging.getLogger(__name__)

_PROBE_S: Final = 2.0
_PROBE_TIMEOUT_S: Final = 3.0
_PROBED = Range(b"/registry/health", count_only=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the doors are and with which certificates.

    Attributes:
        tls: Our serving certificate, and the authority of clients.
        agent_tls: Our client certificate towards agents, and their authority.
        bind_address: Address that both doors listen on.
        secure_port: REST; 0 lets the system choose.
        grpc_port: gRPC; 0 lets the system choose.
        limits: Bounds of the REST door.
        advertise_address: Address under which others reach us; "" is `bind_address`.
        reuse_port: Share both ports with other processes: see `workers.py`.
        min_request_timeout_s: How long a watch lasts at least whose client does not say, and up
            to twice as long: so their ends are spread out. 0 is no bound.
        tls_min_version: Of TLS, at the REST door.
        origins: Of pages that may read our answers; see `cors`.
    """

    tls: TlsFiles
    agent_tls: TlsFiles
    bind_address: str = "0.0.0.0"  # noqa: S104  # both doors require TLS and an identity
    secure_port: int = 6443
    grpc_port: int = 6444
    limits: Limits = field(default_factory=Limits)
    advertise_address: str = ""
    reuse_port: bool = False
    min_request_timeout_s: float = 1800.0
    tls_min_version: TLSVersion = TLSVersion.TLSv1_3
    origins: Sequence[re.Pattern[str]] = ()


class Rotating(Generic[T]):
    """Something made from files, made anew when one of them was written."""

    def __init__(self, files: Sequence[Path], make: Callable[[], T]) -> None:
        self._files = files
        self._make = make
        self._made: T | None = None
        self._times: tuple[int, ...] = ()

    def __call__(self) -> T:
        """Return it; the old one while the files cannot be used."""
        try:
            times = tuple(path.stat().st_mtime_ns for path in self._files)
            if self._made is None or times != self._times:
                self._made, self._times = self._make(), times
        except (OSError, ConfigError) as error:
            if self._made is None:
                raise ConfigError(f"cannot use certificates: {error}") from error
            log.warning("keeping the old certificates: %s", error)
        return self._made


class ApiServer:
    """REST and gRPC over one registry; `run()` serves until cancelled.

    Args:
        config: See `ServerConfig`.
        store: The store; the only one who talks to it.
        registry: The verbs over that store.
        gate: Who is who and who may what.
        clock: The time.
        bootstrap: Makes what every cluster has (namespaces, the kubernetes Service); it is
            run beside the doors and retries by itself.
        dialer: Connects to agents; by TLS unless a test or a simulated world brings its own.
        metrics: Counters.
        rng: Spreads the ends of watches out, chooses among endpoints of a proxied Service, and
            names requests (`Audit-Id`); without one, watches last as long as their clients.
    """

    def __init__(
        self,
        config: ServerConfig,
        store: Store,
        registry: Registry,
        gate: Gate,
        *,
        clock: Clock,
        bootstrap: Callable[[], Coroutine[Any, Any, None]] | None = None,
        dialer: Dialer | None = None,
        metrics: Metrics | None = None,
        rng: Random | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._registry = registry
        self._bootstrap = bootstrap
        self._store_failure = "not asked yet"
        metrics = metrics or Metrics()
        tokens = registry.config.tokens
        documents = Documents(
            get_discovery(),
            get_openapi(),
            clock=clock,
            checks=self.checks,
            issuer=TokenIssuer(tokens) if tokens.signing_key is not None else None,
            address=f"{config.advertise_address or config.bind_address}:{config.secure_port}",
        )
        agents = config.agent_tls
        verbs = Versions(registry, clock=clock)
        door = RestDoor(
            verbs,
            gate,
            documents,
            dialer=dialer
            or TlsDialer(
                Rotating(_files(agents), lambda: client_context(agents, check_hostname=False))
            ),
            clock=clock,
            metrics=metrics,
            watch_s=partial(_watch_s, config.min_request_timeout_s, rng),
            rng=rng,
        )
        self._tls = _optional_client(config.tls, config.tls_min_version)
        self.http = HttpServer(
            Cors(door, config.origins) if config.origins else door,
            host=config.bind_address,
            port=config.secure_port,
            clock=clock,
            tls=self._tls,
            limits=config.limits,
            reuse_port=config.reuse_port,
            is_long_running=is_long_running,
            rng=rng,
        )
        if metrics.registry is not None:
            metrics.registry.register(Levels(self.http.flight, registry.caches))
        service = ClusterService(verbs, gate, clock=clock, metrics=metrics)
        self.grpc = GrpcServer(
            service,
            host=config.bind_address,
            port=config.grpc_port,
            tls=config.tls,
            reuse_port=config.reuse_port,
        )

    def checks(self) -> dict[str, str]:
        """Return the readiness checks: by name what is wrong, "" if nothing is."""
        return {
            "etcd": self._store_failure,
            "informer-sync": "" if self._registry.synced.is_set() else "not filled yet",
        }

    @property
    def ready(self) -> bool:
        """Tell whether requests make sense here."""
        return not any(self.checks().values())

    async def run(self) -> None:
        """Serve until cancelled, then drain."""
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(self._registry.run()),
                background.create_task(self._probe()),
                background.create_task(CertificateReload(self._tls, self._config.tls).run()),
            ]
            if self._bootstrap is not None:
                tasks.append(background.create_task(self._bootstrap()))
            try:
                async with asyncio.TaskGroup() as doors:
                    doors.create_task(self.http.run())
                    doors.create_task(self.grpc.run())
            finally:
                for task in tasks:
                    task.cancel()

    async def _probe(self) -> None:
        """Ask the store again and again; tell by gRPC health when we are ready."""
        serving: bool | None = None
        while True:
            try:
                async with asyncio.timeout(_PROBE_TIMEOUT_S):
                    await self._store.range(_PROBED)
                self._store_failure = ""
            except TimeoutError:
                self._store_failure = "no answer"
            except WherryError as error:
                self._store_failure = str(error)
            ready = self.ready
            if ready != serving:
                serving = ready
                await self.grpc.set_serving(serving=ready)
                log.info("ready" if ready else "not ready: %s", *([] if ready else [self.checks()]))
            await asyncio.sleep(_PROBE_S if ready else _PROBE_S / 20)


def _watch_s(least_s: float, rng: Random | None) -> float | None:
    return least_s * (1 + rng.random()) if rng is not None and least_s else None


def _files(tls: TlsFiles) -> tuple[Path, Path, Path]:
    return tls.cert, tls.key, tls.ca


def _optional_client(files: TlsFiles, least: TLSVersion) -> SSLContext:
    """Return the REST door's context: a client certificate or a token, and never HTTP/2."""
    context = server_context(files, require_client=False)
    context.minimum_version = least
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # a resumed session would hide what came along with a certificate
    return context
