"""Listening: TLS that follows its files, health, draining."""

import asyncio
import logging
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from wherry.api.errors import ConfigError
from wherry.apiserver.grpc.service import ClusterService
from wherry.apiserver.grpc.unreadable import UnreadableInterceptor
from wherry.pki.tls import TlsFiles
from wherry.wire.v1.cluster_pb2_grpc import add_ClusterServicer_to_server

log = logging.getLogger(__name__)

SERVICE: Final = "wherry.wire.v1.Cluster"
_BODY_BYTES = 4 << 20
_DRAIN_S = 5.0
_SWEEP_S: Final = 1.0
_OPTIONS = (
    ("grpc.max_receive_message_length", _BODY_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    ("grpc.max_concurrent_streams", 10_000),  # calls of one connection; thousands of hollow nodes
    # Clients ping every two seconds to notice a dead master; that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
)


class GrpcServer:
    """Listens, reloads its certificate when the files change, and drains."""

    def __init__(
        self,
        service: ClusterService,
        *,
        host: str,
        port: int,
        tls: TlsFiles,
        reuse_port: bool = False,
    ) -> None:
        self._service = service
        self._host = host
        self._tls = tls
        self._reuse_port = reuse_port
        self._loaded: tuple[int, ...] = ()
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # set at import
        self.port = port
        self.listening = asyncio.Event()

    async def set_serving(self, *, serving: bool) -> None:
        """Say by `grpc.health.v1` whether requests make sense here."""
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

    async def run(self) -> None:
        """Serve until cancelled."""
        options = [*_OPTIONS, ("grpc.so_reuseport", int(self._reuse_port))]
        server = grpc.aio.server(options=options, interceptors=[UnreadableInterceptor(SERVICE)])
        add_ClusterServicer_to_server(self._service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            self.port = server.add_secure_port(f"{self._host}:{self.port}", self._credentials())
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on {self._host}:{self.port}: is the port taken?"
            ) from error
        await server.start()
        self.listening.set()
        try:
            while True:
                await asyncio.sleep(_SWEEP_S)
                self._service.turnover.sweep()
        finally:
            await self._health.enter_graceful_shutdown()
            self._service.drain()
            await server.stop(_DRAIN_S)

    def _credentials(self) -> grpc.ServerCredentials:
        configuration = self._configuration()
        if configuration is None:
            raise ConfigError(f"cannot read {self._tls.cert}")
        return grpc.dynamic_ssl_server_credentials(
            configuration,
            self._configuration,  # type: ignore[arg-type]  # None means "unchanged"
            require_client_authentication=True,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Read the certificate files if they have changed; called at every handshake."""
        files = (self._tls.cert, self._tls.key, self._tls.ca)
        try:
            times = tuple(path.stat().st_mtime_ns for path in files)
            if times == self._loaded:
                return None
            cert, key, ca = (path.read_bytes() for path in files)
        except OSError as error:
            log.warning("cannot read the certificate: %s", error)
            return None
        self._loaded = times
        return grpc.ssl_server_certificate_configuration([(key, cert)], ca)
