"""Writers: they create and change objects through the API and remember every acknowledged write.

A write whose answer never came is *unknown*: it is repeated, and only its acknowledgement
is a promise that the cluster has to keep.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lablib.chaos.rest import Connection, NoAnswerError, Response
from lablib.errors import LabError
from lablib.layout import APISERVER_PORT, Layout
from lablib.names import Role
from lablib.waiting import CLOCK

WRITERS: Final = 4
PAUSE_S: Final = 0.03
RETRY_S: Final = 0.02
ANSWER_S: Final = 1.5
FINAL_READ_S: Final = 60.0
MERGE_PATCH: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Ack:
    """One acknowledged write; times on the monotonic clock."""

    sent_s: float
    acked_s: float


@dataclass(slots=True)
class Ledger:
    """What all writers were promised.

    Attributes:
        acks: In the order in which they came.
        created: Names of objects whose creation was acknowledged.
        counters: By object, the highest value whose write was acknowledged.
        attempts: Requests sent.
        unanswered: Requests without an answer, or refused with 5xx or 429.
        refused: Answers that no retry would change: a bug, in here or there.
    """

    acks: list[Ack] = field(default_factory=list)
    created: set[str] = field(default_factory=set)
    counters: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    unanswered: int = 0
    refused: list[str] = field(default_factory=list)


def tls(layout: Layout) -> ssl.SSLContext:
    """The administrator's TLS context."""
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    return context


class Writer:
    """Writes one object after another until it is cancelled; asks the next master on failure."""

    def __init__(self, layout: Layout, namespace: str, index: int, ledger: Ledger) -> None:
        context = tls(layout)
        masters = layout.of(Role.MASTER)
        turn = index % len(masters)
        self._connections = [
            Connection(str(layout.address(host)), APISERVER_PORT, context, ANSWER_S)
            for host in (*masters[turn:], *masters[:turn])
        ]
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._index = index
        self._ledger = ledger

    async def run(self) -> None:
        """Create an object, then count it up a few times, and so on."""
        number = 0
        try:
            while True:
                name = f"w{self._index}-{number}"
                number += 1
                await self._create(name)
                for value in range(1, 4):
                    await asyncio.sleep(PAUSE_S)
                    await self._count(name, value)
                await asyncio.sleep(PAUSE_S)
        finally:
            for connection in self._connections:
                connection.close()

    async def _create(self, name: str) -> None:
        body = {"metadata": {"name": name}, "data": {"n": "0"}}
        # 409: an attempt that got no answer was applied after all.
        if await self._write("POST", self._path, body, accept=(201, 409)):
            self._ledger.created.add(name)

    async def _count(self, name: str, value: int) -> None:
        body = {"data": {"n": str(value)}}
        if await self._write("PATCH", f"{self._path}/{name}", body, accept=(200,)):
            self._ledger.counters[name] = value

    async def _write(self, method: str, path: str, body: object, *, accept: Sequence[int]) -> bool:
        content_type = MERGE_PATCH if method == "PATCH" else "application/json"
        while True:
            sent_s = CLOCK.monotonic()
            self._ledger.attempts += 1
            try:
                answer = await self._connections[0].request(method, path, body, content_type)
            except NoAnswerError:
                answer = None
            if answer is not None and answer.status in accept:
                self._ledger.acks.append(Ack(sent_s, CLOCK.monotonic()))
                return True
            if answer is not None and not _may_pass(answer):
                said = answer.body.decode(errors="replace")[:300]
                self._ledger.refused.append(f"{method} {path}: {answer.status} {said}")
                return False
            self._ledger.unanswered += 1
            self._connections.append(self._connections.pop(0))
            await asyncio.sleep(RETRY_S)


def _may_pass(answer: Response) -> bool:
    """Whether the same request may succeed later: overload or outage, not a wrong request."""
    return answer.status == 429 or answer.status >= 500


@dataclass(frozen=True, slots=True)
class Kept:
    """What a read of everything found afterwards: each object with its counter."""

    values: dict[str, int]


async def read_back(layout: Layout, namespace: str) -> Kept:
    """Read all objects, in pages, from the first master that answers.

    Raises:
        LabError: none does.
    """
    context = tls(layout)
    last = ""
    for host in layout.of(Role.MASTER):
        connection = Connection(str(layout.address(host)), APISERVER_PORT, context, FINAL_READ_S)
        try:
            return await _list(connection, namespace)
        except NoAnswerError as error:
            last = str(error)
        finally:
            connection.close()
    raise LabError(f"no master lists the written objects: {last}")


async def _list(connection: Connection, namespace: str) -> Kept:
    values: dict[str, int] = {}
    path = f"/api/v1/namespaces/{namespace}/configmaps?limit=500"
    more = ""
    while True:
        answer = await connection.request("GET", path + more)
        if answer.status != 200:
            raise NoAnswerError(f"{answer.status} {answer.body[:200]!r}")
        page = answer.json()
        for item in page["items"]:
            values[item["metadata"]["name"]] = int(item.get("data", {}).get("n", "0"))
        token = page["metadata"].get("continue")
        if not token:
            return Kept(values)
        more = f"&continue={token}"
