"""Messages on the wire: limits, malformed input, and that nothing breaks the server."""

import struct
from ipaddress import IPv4Address

import pytest
from dnslib import EDNS0, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from wherry.dns.answer import Answer, Rcode, Record, Type
from wherry.dns.message import (
    Query,
    Refusal,
    build_query,
    build_reply,
    parse_query,
    same_question,
    upstream_records,
)
from wherry.dns.upstream import parse_resolv_conf, without_loops

NAME = ("web", "ns", "svc", "cluster", "local")


def packed(name: str = "web.ns.svc.cluster.local", **edns: int) -> bytes:
    record = DNSRecord(DNSHeader(id=77, rd=1), questions=[DNSQuestion(name, 1)])
    if edns:
        record.add_ar(EDNS0(**edns))
    return bytes(record.pack())


def asking(*name: str) -> bytes:
    written = build_query(5, name, 1)
    assert written is not None
    return written


def query(message: bytes, *, tcp: bool = False) -> Query:
    found = parse_query(message, tcp=tcp)
    assert isinstance(found, Query), found
    return found


def addresses(count: int) -> Answer:
    return Answer(
        records=tuple(
            Record(NAME, Type.A, 5, IPv4Address(f"10.{n // 250}.0.{n % 250}")) for n in range(count)
        )
    )


@pytest.mark.parametrize(
    ("message", "tcp", "limit"),
    [
        (packed(), False, 512),
        (packed(udp_len=4096), False, 1232),
        (packed(udp_len=100), False, 512),
        (packed(), True, 65535),
    ],
    ids=["plain", "EDNS", "EDNS with nonsense", "TCP"],
)
def test_replies_fit_and_say_when_something_is_missing(
    message: bytes, tcp: bool, limit: int
) -> None:
    asked = query(message, tcp=tcp)
    assert asked.reply_bytes == limit
    for count in (1, 20, 200, 3000):
        reply = build_reply(asked, addresses(count))
        assert len(reply) <= limit
        parsed = DNSRecord.parse(reply)
        assert parsed.header.id == 77
        assert bool(parsed.header.tc) is (len(parsed.rr) < count)
        assert parsed.rr, "as many as fit"


def test_the_case_of_a_question_is_kept() -> None:
    asked = query(packed("wEb.Ns.svc.CLUSTER.local"))
    assert asked.name == NAME
    parsed = DNSRecord.parse(build_reply(asked, addresses(1)))
    assert str(parsed.q.qname) == str(parsed.rr[0].rname) == "wEb.Ns.svc.CLUSTER.local."


def header(flags: int, questions: int = 1) -> bytes:
    return struct.pack("!HHHHHH", 77, flags, questions, 0, 0, 0)


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (b"", None),
        (b"\x00" * 11, None),
        (header(0x8000) + b"\x00\x00\x01\x00\x01", None),
        (header(0x2800), 4),
        (header(0), 1),
        (header(0, 0), 1),
        (header(0, 2) + b"\x00\x00\x01\x00\x01" * 2, 1),
        (header(0) + b"\xc0\x0c\x00\x01\x00\x01", 1),
        (header(0) + b"\x03abc", 1),
        (header(0) + b"\x00\x00\x01\x00\x03", 5),
    ],
    ids=["nothing", "short", "a response", "UPDATE", "no question", "none asked", "two",
         "a pointer to itself", "cut off", "class CHAOS"],
)  # fmt: skip
def test_what_is_no_query_of_ours(message: bytes, rcode: int | None) -> None:
    found = parse_query(message, tcp=False)
    assert isinstance(found, Refusal)
    if rcode is None:
        assert found.reply is None
    else:
        assert found.reply is not None
        assert found.reply[:2] == message[:2]
        assert found.reply[2] & 0x80, "a reply is marked as one"
        assert found.reply[3] & 0xF == rcode


def test_an_unknown_edns_version_is_refused() -> None:
    found = parse_query(packed(udp_len=1232, version=1), tcp=False)
    assert isinstance(found, Refusal)
    assert found.reply is not None
    (option,) = DNSRecord.parse(found.reply).ar
    assert option.edns_rcode == 1, "BADVERS is 16: its high bits"


@given(message=st.binary(max_size=200))
def test_no_bytes_break_the_parser(message: bytes) -> None:
    parse_query(message, tcp=False)


@given(
    at=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=8),
    edns=st.booleans(),
)
def test_no_damaged_query_breaks_the_server(at: list[tuple[int, int]], edns: bool) -> None:
    message = bytearray(packed(udp_len=1232) if edns else packed())
    for position, value in at:
        message[position % len(message)] = value
    found = parse_query(bytes(message), tcp=False)
    if isinstance(found, Query):
        reply = build_reply(found, Answer(Rcode.NXDOMAIN))
        assert len(reply) <= found.reply_bytes


@pytest.mark.parametrize("target", [("x" * 64,), ("a" * 63,) * 5, ("ü€",)])
def test_a_name_that_cannot_be_written_is_a_failure_and_no_crash(target: tuple[str, ...]) -> None:
    alias = Answer(records=(Record(NAME, Type.CNAME, 5, target),))
    assert build_reply(query(packed()), alias)[3] & 0xF == 2
    assert build_query(5, target, 1) is None


def test_a_reply_must_be_to_the_question() -> None:
    asked = asking(*NAME)
    right = bytes(DNSRecord.parse(asked).reply().pack())
    assert same_question(asked, right)
    assert not same_question(asked, b"\x00\x06" + right[2:])
    other = bytes(DNSRecord.parse(asking("x")).reply().pack())
    assert not same_question(asked, other)
    assert not same_question(asked, asked), "a query is no reply"
    assert not same_question(asked, b"nonsense")
    assert upstream_records(b"nonsense") == (Rcode.SERVFAIL, [])


def test_resolv_conf() -> None:
    text = "# c\nsearch x\nnameserver 192.0.2.1 # one\nnameserver fd00::1\nnameserver\nnameserver 192.0.2.1\n"
    assert parse_resolv_conf(text) == ["192.0.2.1"]


def test_we_do_not_ask_ourselves() -> None:
    said: list[str] = []
    servers = [("10.96.0.10", 53), ("192.0.2.1", 53)]
    assert without_loops(servers, [("10.96.0.10", 53)], said.append) == [("192.0.2.1", 53)]
    assert said == ["upstream 10.96.0.10:53 is this server itself; not used"]
