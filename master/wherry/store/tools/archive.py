"""Snapshot files outside of a data directory: save one from a running member, look at one."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from wherry.api.errors import ConfigError, UnavailableError
from wherry.process.files import sync_directory
from wherry.store import rpc
from wherry.store.channel import Endpoints
from wherry.store.client import StoreClient
from wherry.store.kv import Range
from wherry.store.net import Network
from wherry.store.raft.disk import CorruptError
from wherry.store.raft.snapshot import verify
from wherry.store.tools.files import ReadOnly
from wherry.store.tools.inspection import load

_PIECE_S: Final = 30.0  # a member that sends nothing for so long is given up
_QUORUM_S: Final = 5.0
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """As `etcdctl snapshot status`: `hash` is of the file, `total_key` counts what is kept."""

    hash: str
    revision: int
    total_key: int
    total_size: int
    index: int
    term: int
    cluster: str


def status(path: Path) -> Status:
    """Describe a snapshot file.

    Raises:
        ConfigError: there is none; `CorruptError`, it is damaged.
    """
    disk, name = locate(path)
    header, state = load(disk, name)
    digest = disk.read(name, disk.size(name) - hashlib.sha256().digest_size)
    return Status(
        digest.hex()[:8],
        state.revision,
        state.live_count,
        disk.size(name),
        header.index,
        header.term,
        header.cluster,
    )


def locate(path: Path) -> tuple[ReadOnly, str]:
    """Return the directory that a file is in, and its name.

    Raises:
        ConfigError: there is no such file.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    return ReadOnly(path.resolve().parent), path.name


async def is_current(endpoint: str, network: Network, rng: Random) -> bool:
    """Whether the member holds all that was acknowledged before this call: a majority says so."""
    client = StoreClient([endpoint], network, rng, timeout_s=_QUORUM_S)
    try:
        await client.range(Range(b"\0", count_only=True))
    except UnavailableError:
        return False
    else:
        return True
    finally:
        await client.close()


async def fetch(endpoint: str, network: Network) -> AsyncIterator[bytes]:
    """Yield the bytes of a snapshot of a running member.

    Raises:
        UnavailableError: it cannot be reached, or stopped sending.
    """
    endpoints = Endpoints([endpoint], network)
    try:
        stream = await endpoints.stream(endpoint, rpc.SnapshotGet(1))
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"{endpoint}: {str(error) or 'no answer'}") from error
    try:
        while True:
            answer = await stream.next(_PIECE_S)
            if not isinstance(answer, rpc.Piece):
                why = answer.message if isinstance(answer, rpc.Failed) else "an unexpected answer"
                raise UnavailableError(f"{endpoint}: {why}")
            if not answer.data:
                return
            yield answer.data
    except TimeoutError as error:
        raise UnavailableError(f"{endpoint}: no answer for {_PIECE_S:.0f} s") from error
    finally:
        stream.close()


async def save(path: Path, pieces: AsyncIterator[bytes]) -> None:
    """Write a snapshot file: whole and good, or not at all.

    Raises:
        ConfigError: it cannot be written.
        CorruptError: what arrived is damaged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:  # it holds every Secret
            async for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        verify(*locate(temporary))
        temporary.replace(path)
        sync_directory(path.parent)
    except CorruptError as error:
        raise CorruptError(f"what arrived is damaged: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
