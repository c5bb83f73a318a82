"""DNS messages on the wire, by dnslib: the only place that knows it.

Sizes: over UDP a reply has at most 512 bytes, or what the query's EDNS record allows, up to
1232, which no sane path fragments. What does not fit is left out and marked as truncated
(TC): the client asks again over TCP.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dnslib import (
    CNAME,
    EDNS0,
    NS,
    PTR,
    QTYPE,
    RR,
    SOA,
    SRV,
    TXT,
    A,
    DNSHeader,
    DNSLabel,
    DNSQuestion,
    DNSRecord,
)
from dnslib.bimap import BimapError
from dnslib.buffer import BufferError
from dnslib.dns import DNSError
from dnslib.label import DNSLabelError

from wherry.dns.answer import Answer, Name, Rcode, Record, Soa, Srv

HEADER_BYTES: Final = 12
UDP_BYTES: Final = 512
EDNS_BYTES: Final = 1232
TCP_BYTES: Final = 65535
_QUERY_OPCODE: Final = 0
_RESPONSE: Final = 0x8000
_KEPT_FLAGS: Final = 0x7900
"""Opcode and RD: what a reply repeats of its query."""
_CLASS_IN: Final = 1
_CLASS_ANY: Final = 255
_MALFORMED = (
    DNSError,
    DNSLabelError,
    BimapError,
    BufferError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
)
"""What dnslib raises at bytes that are no message and at names that cannot be written."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be answered; `reply_bytes` is how long the reply may be."""

    id: int
    question: Any
    name: Name
    type: int
    recursion_desired: bool
    edns: bool
    reply_bytes: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is no query which we can answer: what to send back, None for silence."""

    reply: bytes | None


def parse_query(message: bytes, *, tcp: bool) -> Query | Refusal:
    """Read a query."""
    if refusal := _refused_by_header(message):
        return refusal
    identifier, flags = struct.unpack_from("!HH", message)
    try:
        parsed = DNSRecord.parse(message)
        (question,) = parsed.questions
        # Labels are bytes: latin-1 keeps every one of them apart.
        name = tuple(label.decode("latin-1").lower() for label in question.qname.label)
    except _MALFORMED:
        return Refusal(_bare(identifier, flags, Rcode.FORMERR))
    option = next((rr for rr in parsed.ar if rr.rtype == QTYPE.OPT), None)
    if option is not None and option.edns_ver != 0:
        return Refusal(_bad_version(identifier, parsed))
    query = Query(
        id=identifier,
        question=question,
        name=name,
        type=question.qtype,
        recursion_desired=bool(parsed.header.rd),
        edns=option is not None,
        reply_bytes=TCP_BYTES if tcp else _udp_bytes(option),
    )
    if question.qclass not in (_CLASS_IN, _CLASS_ANY):
        return Refusal(build_reply(query, Answer(Rcode.REFUSED), authoritative=False))
    return query


def _refused_by_header(message: bytes) -> Refusal | None:
    if len(message) < HEADER_BYTES:
        return Refusal(None)
    identifier, flags = struct.unpack_from("!HH", message)
    if flags & _RESPONSE:  # whoever answers responses answers himself for ever
        return Refusal(None)
    if (flags >> 11) & 0xF != _QUERY_OPCODE:
        return Refusal(_bare(identifier, flags, Rcode.NOTIMP))
    return None


def _udp_bytes(option: Any) -> int:
    return UDP_BYTES if option is None else min(max(option.edns_len, UDP_BYTES), EDNS_BYTES)


def _bare(identifier: int, flags: int, rcode: Rcode) -> bytes:
    """Return a reply without sections, with the query's opcode and RD bit."""
    return struct.pack("!HHHHHH", identifier, _RESPONSE | (flags & _KEPT_FLAGS) | rcode, 0, 0, 0, 0)


def _bad_version(identifier: int, parsed: Any) -> bytes:
    header = DNSHeader(id=identifier, qr=1, rd=parsed.header.rd, ra=1)
    reply = DNSRecord(header, questions=parsed.questions)
    reply.add_ar(EDNS0(udp_len=EDNS_BYTES, ext_rcode=1))  # 16, BADVERS, has its high bits here
    return bytes(reply.pack())


def build_reply(
    query: Query, answer: Answer, *, authoritative: bool = True, extra: Sequence[Any] = ()
) -> bytes:
    """Write the reply to `query`; `extra` are records of an upstream's answer, as they came.

    A name that cannot be written (the target of an ExternalName, which nobody checks against
    the limits of DNS) makes it SERVFAIL.
    """
    try:
        draft = _Draft(
            header=_header(query, answer.rcode, authoritative=authoritative),
            records=[*_resource_records(answer.records, query), *extra],
            authority=_resource_records(answer.authority, query),
            additional=_resource_records(answer.additional, query),
        )
        return _fit(query, draft)
    except _MALFORMED:
        flags = 0x0100 if query.recursion_desired else 0
        return _bare(query.id, flags, Rcode.SERVFAIL)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A reply before it is known what of it fits."""

    header: Any
    records: list[Any]
    authority: list[Any]
    additional: list[Any]


def _fit(query: Query, draft: _Draft) -> bytes:
    """Pack as much as the client can take: additional records are dispensable, others are not."""
    reply = _pack(query, draft)
    if len(reply) > query.reply_bytes:
        draft = replace(draft, additional=[])
        reply = _pack(query, draft)
    fitting = len(draft.records)
    while len(reply) > query.reply_bytes and fitting:
        fitting -= max(1, fitting // 4)
        draft.header.tc = 1
        reply = _pack(query, replace(draft, records=draft.records[:fitting]))
    return reply


def _header(query: Query, rcode: Rcode, *, authoritative: bool) -> Any:
    return DNSHeader(
        id=query.id,
        bitmap=0,
        qr=1,
        aa=int(authoritative),
        rd=int(query.recursion_desired),
        ra=1,
        rcode=int(rcode),
    )


def _pack(query: Query, draft: _Draft) -> bytes:
    option = [EDNS0(udp_len=EDNS_BYTES)] if query.edns else []
    reply = DNSRecord(
        draft.header,
        questions=[query.question],
        rr=draft.records,
        auth=draft.authority,
        ar=[*draft.additional, *option],
    )
    return bytes(reply.pack())


def _resource_records(records: Iterable[Record], query: Query) -> list[Any]:
    # The owner is written as it was asked: some resolvers check the case of every letter.
    asked = query.question.qname
    return [
        RR(
            asked if record.name == query.name else _label(record.name),
            int(record.type),
            ttl=record.ttl_s,
            rdata=_rdata(record),
        )
        for record in records
    ]


_OF_NAME: Final = {2: NS, 5: CNAME, 12: PTR}


def _rdata(record: Record) -> Any:
    match record.data:
        case Srv(weight, port, target):
            return SRV(0, weight, port, _label(target))
        case Soa(server, mailbox, minimum_s):
            times = (1, 7200, 1800, 86400, minimum_s)  # serial; nobody transfers this zone
            return SOA(_label(server), _label(mailbox), times)
        case str() as text:
            return TXT(text)
        case tuple() as name:
            return _OF_NAME[int(record.type)](_label(name))
        case address:
            return A(str(address))


def _label(name: Name) -> Any:
    return DNSLabel([label.encode("latin-1") for label in name])


def build_query(identifier: int, name: Name, wanted: int) -> bytes | None:
    """Write a query of our own, for an upstream server; None if the name cannot be written."""
    try:
        header = DNSHeader(id=identifier, rd=1)
        record = DNSRecord(header, questions=[DNSQuestion(_label(name), wanted)])
        record.add_ar(EDNS0(udp_len=EDNS_BYTES))
        return bytes(record.pack())
    except _MALFORMED:
        return None


def upstream_records(reply: bytes) -> tuple[Rcode, list[Any]]:
    """Return the outcome and answer section of an upstream's reply; SERVFAIL if it is none."""
    try:
        parsed = DNSRecord.parse(reply)
        return Rcode(parsed.header.rcode), list(parsed.rr)
    except _MALFORMED:
        return Rcode.SERVFAIL, []


def same_question(query: bytes, reply: bytes) -> bool:
    """Tell whether `reply` has the identifier and the question of `query`."""
    try:
        asked, answered = DNSRecord.parse(query), DNSRecord.parse(reply)
    except _MALFORMED:
        return False
    return bool(
        answered.header.qr
        and asked.header.id == answered.header.id
        and [(q.qname, q.qtype) for q in asked.questions]
        == [(q.qname, q.qtype) for q in answered.questions]
    )
