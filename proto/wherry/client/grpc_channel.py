"""One API server's gRPC channel: options, certificates from files that may change, the stub."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from wherry.api.errors import ConfigError
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

if TYPE_CHECKING:
    from wherry.wire.v1.cluster_pb2_grpc import ClusterAsyncStub  # exists for type checkers only

_PING_S: Final = 2.0
_PONG_S: Final = 2.0
_CONNECT_S: Final = 2.0
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", int(_PING_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(_PONG_S * 1000)),
    (
        "grpc.http2.ping_timeout_ms",
        int(_PONG_S * 1000),
    ),  # this is the one that counts, 60 s by default
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", int(_CONNECT_S * 1000)),  # also the time to connect in
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


class Files:
    """The PEM files behind a channel, and whether they have changed since they were read."""

    def __init__(self, ca: Path, cert: Path | None, key: Path | None) -> None:
        self._ca, self._cert, self._key = ca, cert, key
        self._seen: tuple[int, ...] = ()

    def changed(self) -> bool:
        """Tell whether a file was written since `credentials`; unreadable ones have not."""
        with suppress(OSError):
            return self._times() != self._seen
        return False

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            ConfigError: one of them cannot be read.
        """
        try:
            self._seen = self._times()
            return grpc.ssl_channel_credentials(
                self._ca.read_bytes(),
                self._key.read_bytes() if self._key else None,
                self._cert.read_bytes() if self._cert else None,
            )
        except OSError as error:
            raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error

    def _times(self) -> tuple[int, ...]:
        paths = [p for p in (self._ca, self._cert, self._key) if p is not None]
        return tuple(p.stat().st_mtime_ns for p in paths)


class Server:
    """One API server: its channel, made when it is first needed."""

    def __init__(self, address: str, files: Files) -> None:
        self.address = address
        self._files = files
        self._channel: grpc.aio.Channel | None = None
        self._stub: ClusterAsyncStub | None = None

    def stub(self) -> "ClusterAsyncStub":
        """Return the stub of a channel, which connects with the first call."""
        if self._stub is None:
            self._channel = grpc.aio.secure_channel(
                self.address, self._files.credentials(), options=_OPTIONS
            )
            self._stub = ClusterStub(self._channel)
        return self._stub

    def files_changed(self) -> bool:
        """Tell whether a new connection would use other certificates than this channel."""
        return self._stub is not None and self._files.changed()

    def take_channel(self) -> grpc.aio.Channel | None:
        """Give up the channel, to be closed by the caller."""
        channel, self._channel, self._stub = self._channel, None, None
        return channel
