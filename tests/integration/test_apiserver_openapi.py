"""Every path and method of our own OpenAPI documents, against a running API server.

Whatever is asked, the answer is of a kind that the documents declare, or a Status that says
what is wrong with the request, and never a failure of ours.
"""

import http.client
import os
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import orjson
import pytest
import yaml
from apiserver_victim import Victim, victim_in
from openapi_requests import Asked, Document

pytestmark = pytest.mark.integration
EACH = int(os.environ.get("WHERRY_OPENAPI_REQUESTS", "4"))
"""Requests for each operation; more for an hour of it."""
SEED = int(os.environ.get("WHERRY_OPENAPI_SEED", "1"))
LONGEST_S = 60
UPSTREAMS_500 = b"failed to create typed patch object"
"""kube-apiserver answers an apply of unknown or repeated fields with 500, and so do we."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim_in(tmp_path_factory.mktemp("openapi")) as one:
        yield one


class Asker:
    """One kept-alive connection; the socket's timeout bounds every answer."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self._victim.port, context=self._victim.tls, timeout=LONGEST_S
        )

    def ask(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> tuple[int, str, bytes]:
        with suppress(ConnectionError, ssl.SSLError, http.client.RemoteDisconnected):
            return self._once(method, target, body, headers)
        self._connection.close()  # refusals by HTTP itself end the connection
        self._connection = self._connect()
        return self._once(method, target, body, headers)

    def _once(
        self, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        self._connection.request(method, target, body or None, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def asker(victim: Victim) -> Iterator[Asker]:
    one = Asker(victim)
    yield one
    one.close()


def documents(asker: Asker) -> dict[str, bytes]:
    _, _, root = asker.ask("GET", "/openapi/v3")
    urls = {name: one["serverRelativeURL"] for name, one in orjson.loads(root)["paths"].items()}
    return {name: asker.ask("GET", url)[2] for name, url in urls.items()}


def wrong(asked: Asked, code: int, media: str, body: bytes) -> str:
    """Say what is wrong with an answer, "" if nothing is."""
    if code == 500 and UPSTREAMS_500 in body:
        return ""
    unreached = code == 503 and "/proxy" in asked.target  # nobody is behind these nodes and pods
    if code >= 500 and not unreached:
        return f"{code}: {body[:300]!r}"
    found = yaml.safe_load(body) if "yaml" in media else orjson.loads(body)
    if code >= 400:
        if (found["kind"], found["status"], found["code"]) != ("Status", "Failure", code):
            return f"{code} is no Status: {body[:300]!r}"
        return "" if found["message"] else "a Status without a message"
    if found["kind"] not in asked.operation.answers:
        return f"{found['kind']} is not among {sorted(asked.operation.answers)}"
    return ""


def test_v2_and_v3_describe_the_same_paths(asker: Asker) -> None:
    v2 = orjson.loads(asker.ask("GET", "/openapi/v2", Accept="application/json")[2])
    v3 = {path for raw in documents(asker).values() for path in orjson.loads(raw)["paths"]}
    assert set(v2["paths"]) == v3


def test_every_operation_answers_with_what_it_declares_or_a_status(asker: Asker) -> None:
    rng = Random(SEED)
    failures: list[str] = []
    codes: Counter[int] = Counter()
    made = 0
    for name, raw in documents(asker).items():
        document = Document(raw)
        for operation in document.operations():
            for _ in range(EACH):
                asked = document.request(operation, rng)
                code, media, body = asker.ask(
                    asked.method, asked.target, asked.body, **asked.headers
                )
                made += 1
                codes[code] += 1
                try:
                    why = wrong(asked, code, media, body)
                except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
                    why = f"{code} {media} cannot be read ({error!r}): {body[:300]!r}"
                if why:
                    failures.append(f"{name} {asked}: {why}")
    assert not failures, f"{len(failures)} of {made}:\n" + "\n".join(failures[:8])
    assert made > 1000
    assert codes[200] + codes[201] > made / 20, codes


def test_it_is_as_well_as_before(victim: Victim, asker: Asker) -> None:
    assert asker.ask("GET", "/readyz")[0] == 200
    assert victim.rss_mb() < 400
    assert Path(f"/proc/{victim.process.pid}/fd").exists()
