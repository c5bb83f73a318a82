"""A real `wherry apiserver` under attack: nothing leaks, nothing grows, the rest goes on."""

import contextlib
import json
import resource
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver_crowd import crowds
from apiserver_victim import CLOCK, MAPS, PROMPT_S, TRIES, Victim, pause, status_of, victim_in

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim_in(tmp_path_factory.mktemp("attacked")) as one:
        yield one


@pytest.mark.parametrize(
    "path",
    [
        *("/api/v1/../../etc/passwd", "/api/v1/%2e%2e/%2e%2e/version", "//api//v1//nodes//.."),
        *(f"{MAPS}/a%2Fb", f"{MAPS}/..%2f..%2fsecrets", f"{MAPS}/%00", f"{MAPS}/a%0d%0ab"),
        *("/api/v1/namespaces/%2e%2e/secrets", "/api/v1/namespaces//secrets"),
        *(f"{MAPS}?limit=x", f"{MAPS}?limit=99999999999999999999", f"{MAPS}?continue=%00%ff"),
        *(f"{MAPS}?labelSelector=((((", f"{MAPS}?fieldSelector=%00", f"{MAPS}?resourceVersion=-5"),
        *(f"{MAPS}?watch=1&timeoutSeconds=x", "/api/v1/nodes/n/proxy/../../../secrets"),
    ],
)
def test_path_tricks_get_a_status(victim: Victim, path: str) -> None:
    code, body = victim.answer("GET", path)
    assert 400 <= code < 500
    status_of(body)


SMUGGLED = b"DELETE /api/v1/namespaces/default/configmaps/kept HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 70\r\n\r\n",
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Content-Length : 0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"X: a\r\n b\r\n\r\n",
        b"X: a\nY: b\r\n\r\n",
        b"X: a\rY: b\r\n\r\n",
        b"X\x00: a\r\n\r\n",
    ],
    ids=range(13),
)
def test_what_two_servers_might_read_differently_is_refused_and_nothing_behind_it_read(
    victim: Victim, head: bytes
) -> None:
    if victim.ask("GET", f"{MAPS}/kept") == 404:
        assert victim.ask("POST", MAPS, b'{"metadata":{"name":"kept"}}') == 201
    told = victim.send(b"GET /version HTTP/1.1\r\nHost: a\r\n" + head + SMUGGLED)
    assert len(told) == 1
    assert told[0][0] == 400
    status_of(told[0][1])
    assert victim.ask("GET", f"{MAPS}/kept") == 200


def test_bodies_that_never_end_are_refused_at_the_limit(victim: Victim) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    before = victim.rss_mb()
    told = victim.send(head + chunk * 1000)
    assert [code for code, _ in told] in ([413], [])  # it may be gone before we have read
    for framing in (b"1;", b"0\r\nX: "):  # a chunk's extension, a trailer
        told = victim.send(head + framing + b"z" * 10_000_000)
        assert [code for code, _ in told] in ([400], [])
    headers = b"X: " + b"y" * 1000 + b"\r\n"
    told = victim.send(b"GET /version HTTP/1.1\r\nHost: a\r\n" + headers * 10_000)
    assert [code for code, _ in told] in ([431], [])
    told = victim.send(b"GET /" + b"z" * 1_000_000)
    assert [code for code, _ in told] in ([414], [])
    assert victim.rss_mb() < before + 30
    assert victim.is_prompt()


def test_bodies_half_sent_by_anybody_take_no_more_memory_than_all_may_together(
    victim: Victim,
) -> None:
    before = victim.rss_mb()
    anonymous = ssl.create_default_context(cafile=str(victim.ca))
    head = f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(300):  # 870 MB; all clients together may have 256, for a moment twice that
            stream = anonymous.wrap_socket(victim.plain(), server_hostname="127.0.0.1")
            stack.enter_context(stream)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                stream.sendall(head + b"x" * 2_900_000)
        assert victim.rss_mb() < before + 750  # 150 MB are buffers of TLS
        assert victim.is_prompt()
    victim.log_has("clients keep us waiting with")
    assert victim.settled_mb(before + 100) <= before + 100


def yaml_bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b'{"a":' * 200_000, "application/json"),
        (b"[" * 1_000_000, "application/json"),
        (
            b'{"metadata":{"name":"d"},"data":' + b'{"a":' * 5000 + b"1" + b"}" * 5002,
            "application/json",
        ),
        (b"- " * 200_000, "application/yaml"),
        (b"{a: " * 100_000, "application/yaml"),
        (yaml_bomb(), "application/yaml"),
        (b"k8s\x00" + b"\x0a\xff\xff\xff\xff\x0f" * 1000, "application/vnd.kubernetes.protobuf"),
        (b"k8s\x00" + b"\x12\x80" * 100_000, "application/vnd.kubernetes.protobuf"),
        (b"\xff\xfe" * 1000, "application/json"),
        (b'{"metadata":{"name":"n"},"data":{"a":' + b"9" * 2_000_000 + b"}}", "application/json"),
    ],
    ids=range(10),
)
def test_bombs_are_defused_at_once(victim: Victim, body: bytes, media: str) -> None:
    before = victim.rss_mb()
    took: list[float] = []
    while not took or (took[-1] >= 2 * PROMPT_S and len(took) < TRIES):
        began = CLOCK.monotonic()
        code, answer = victim.answer("POST", MAPS, body, media)
        took.append(CLOCK.monotonic() - began)
        assert 400 <= code < 500, answer
        _, message = status_of(answer)
        assert len(message) < 2000
    assert took[-1] < 2 * PROMPT_S, took
    assert victim.settled_mb(before + 40) <= before + 40


def test_deep_and_endless_patches_are_refused(victim: Victim) -> None:
    victim.ask("POST", MAPS, b'{"metadata":{"name":"patched"},"data":{"a":"1"}}')
    copies = [{"op": "copy", "from": "/data", "path": "/data/a"} for _ in range(9000)]
    for media, body in (
        ("application/json-patch+json", json.dumps(copies).encode()),
        ("application/merge-patch+json", b'{"a":' * 50_000),
        (
            "application/strategic-merge-patch+json",
            b'{"data":' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
        ),
    ):
        code, answer = victim.answer("PATCH", f"{MAPS}/patched", body, media)
        assert 400 <= code < 500, (media, answer[:200])
        status_of(answer)
    assert victim.is_prompt()


def test_storms_of_silent_connections_leave_no_memory_behind(victim: Victim) -> None:
    before, descriptors = victim.rss_mb(), victim.descriptors()
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            for _ in range(500):
                stack.enter_context(victim.connect())
            for _ in range(1500):
                stack.enter_context(victim.plain())
            assert victim.is_prompt()
        # It has to see all of them end: memory of those to come would be told of the next storm.
        assert victim.settled_descriptors(descriptors + 5) <= descriptors + 5
        assert victim.settled_mb(before + 40) <= before + 40  # of the 100 that a storm costs


def test_slow_headers_are_cut_while_others_are_served(victim: Victim) -> None:
    slow = [victim.connect() for _ in range(200)]
    try:
        for stream in slow:
            stream.sendall(b"GET /version HTTP/1.1\r\nX")
        assert victim.is_prompt()
        deadline = CLOCK.monotonic() + 60
        for stream in slow:  # a byte now and then does not help
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                stream.sendall(b"x")
            stream.settimeout(max(0.1, deadline - CLOCK.monotonic()))
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert stream.recv(1) == b""
    finally:
        for stream in slow:
            stream.close()


def test_watchers_that_never_read_cost_bounded_memory_and_hold_up_nobody(victim: Victim) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stream = stack.enter_context(victim.connect())
            stream.sendall(f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        reader = stack.enter_context(victim.connect())
        reader.sendall(f"GET {MAPS}?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        lines = stack.enter_context(reader.makefile("rb"))
        before = victim.rss_mb()
        filler = "x" * 100_000
        for number in range(300):  # 30 MB for each of them
            body = {"metadata": {"name": "churn"}, "data": {"n": str(number), "filler": filler}}
            method, path = ("PUT", f"{MAPS}/churn") if number else ("POST", MAPS)
            assert victim.ask(method, path, json.dumps(body).encode()) in (200, 201)
            while f'"n":"{number}"'.encode() not in lines.readline():
                pass
        assert victim.rss_mb() < before + 300  # of the 3 GB that they were sent
        assert victim.is_prompt()


ASKED = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"  # whoever has asked may be idle for 180 s


@pytest.mark.parametrize(
    ("room", "crowd_size", "request_first"),
    [(1_000, 1_500, b""), (10_000, 10_200, ASKED)],
    ids=["silent", "idle"],
)
def test_ten_thousand_idle_connections_hold_up_nobody_and_leave_nothing(
    tmp_path: Path, room: int, crowd_size: int, request_first: bytes
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < crowd_size + 200:
        pytest.skip(f"a process may have {hard} descriptors, {crowd_size} connections need more")
    with victim_in(tmp_path, "--max-connections", str(room)) as victim:
        memory_mb, descriptors = victim.rss_mb(), victim.descriptors()
        served, most_mb_each = 0, 0.0
        with crowds(victim.port, victim.ca, crowd_size, request=request_first) as crowd:
            deadline = CLOCK.monotonic() + 1800  # handshakes, on a machine that may be busy
            while not all(one.assembled() for one in crowd):
                assert CLOCK.monotonic() < deadline
                assert victim.is_prompt()
                served += 1
                pause(0.05)  # it asks at a person's pace: the crowd wants the processor too
            for _ in range(50):
                assert victim.is_prompt()
            opened = victim.descriptors() - descriptors
            most_mb_each = (victim.rss_mb() - memory_mb) / opened
            fates = sum((one.disperse() for one in crowd), Counter[str]())
        assert served > (20 if request_first else 1)
        assert fates["open"] + fates["closed"] + fates["reset"] == crowd_size, fates
        if request_first:
            assert 0.98 * room < opened <= room + 10
            assert most_mb_each < 80 / 1024
            victim.log_has("connections are open, which is the most: cut")  # told once a second
        assert victim.settled_descriptors(descriptors + 5) <= descriptors + 5
        # of some 450 MB; what stays is scattered over pages that others use
        assert victim.settled_mb(memory_mb + 100) <= memory_mb + 100
