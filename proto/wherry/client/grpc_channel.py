"""One API server's gRPC channel: options, certificates from files that may change, the stub.

    no link --call--> LINKED --files renewed--> GIVEN UP --its last call ends--> closed
       ^________________________________________/ the next call makes a new link

A link that is given up takes no more calls: those under way come to their end on it, and its
watches are ended, so that who follows goes on over the new link. client-go cuts all of them.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from wherry.api.errors import ConfigError
from wherry.pki.tls import TlsFiles, client_context
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

if TYPE_CHECKING:
    from wherry.wire.v1.cluster_pb2_grpc import ClusterAsyncStub  # exists for type checkers only

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""A call looks whether the files were renewed, unless one did within this time."""
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
        self._unfit: tuple[int, ...] = ()

    def renewed(self) -> bool:
        """Tell whether the files were written since `credentials`, and can be used.

        They cannot while they do not belong together, as between two renames.
        """
        with suppress(OSError):
            times = self._times()
            return times not in (self._seen, self._unfit) and self._fit(times)
        return False

    def _fit(self, times: tuple[int, ...]) -> bool:
        try:
            if self._cert is not None and self._key is not None:
                client_context(TlsFiles(self._cert, self._key, self._ca))
        except ConfigError as error:
            self._unfit = times
            log.warning("keeping the old certificate: %s", error)
            return False
        return True

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


class Link:
    """A channel and the calls on it; who calls is between `Server.acquire` and `release`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._calls = 0
        self._watches: set[grpc.aio.Call] = set()
        self.stub: ClusterAsyncStub = ClusterStub(channel)
        self.given_up = False

    @property
    def busy(self) -> bool:
        """Tell whether calls are under way."""
        return self._calls > 0

    def enter(self) -> None:
        """Count a call."""
        self._calls += 1

    async def release(self, watch: grpc.aio.Call | None = None) -> None:
        """End a call; the last one of a link that was given up closes it."""
        self._calls -= 1
        if watch is not None:
            self._watches.discard(watch)
        if self.given_up and not self.busy:
            await self.close()

    def follow(self, watch: grpc.aio.Call) -> None:
        """Have a call cancelled when the link is given up."""
        self._watches.add(watch)
        if self.given_up:
            watch.cancel()

    async def give_up(self) -> None:
        """Take no more calls."""
        self.given_up = True
        for watch in self._watches:
            watch.cancel()
        if not self.busy:
            await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close(None)


class Server:
    """One API server: its link, made when it is first needed, and again when files are renewed."""

    def __init__(self, address: str, files: Files) -> None:
        self.address = address
        self._files = files
        self._link: Link | None = None
        self._given_up: list[Link] = []
        self._looked_s = 0.0

    async def acquire(self) -> Link:
        """Return the link for one more call, to be released after it; it connects with the first.

        Raises:
            ConfigError: a file cannot be read.
        """
        await self.look()
        if self._link is None:
            credentials = self._files.credentials()
            self._link = Link(grpc.aio.secure_channel(self.address, credentials, options=_OPTIONS))
        self._link.enter()
        return self._link

    async def look(self) -> None:
        """Give the link up if the files were renewed; looks at them once in a while only."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            await self.renew()

    async def renew(self) -> bool:
        """Give the link up if the files were renewed since it was made; tell whether."""
        link = self._link
        if link is None or not self._files.renewed():
            return False
        log.info("API server %s: taking renewed certificates into use", self.address)
        self._link = None
        self._given_up = [one for one in (*self._given_up, link) if one.busy]
        await link.give_up()
        return True

    async def close(self) -> None:
        """Close what is open; calls under way are cancelled."""
        link, self._link = self._link, None
        for one in (*self._given_up, *([] if link is None else [link])):
            await one.close()
