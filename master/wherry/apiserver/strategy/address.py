"""Addresses and ranges as 1.36 takes them: apimachinery `util/validation/ip.go`, StrictIPCIDRValidation.

What Go once read sloppily is refused by its own words: leading zeros, which C reads as octal, and
IPv4 addresses written as IPv6. A field of an old kind takes every form of an address that is left;
one of a new kind only the canonical form. All of these are rules for `names.check`.
"""

import ipaddress
import re
from collections.abc import Sequence

from wherry.apiserver.strategy.formats import CIDR_TEXT, IP_TEXT, parse_cidr, parse_ip

_ZEROS = re.compile(r"(?<![0-9a-fA-F:])0+(?=[0-9])")
_ZEROS_OF_PREFIX = re.compile(r"(?<=/)0+(?=[0-9])")


def strict_ip(text: str) -> Sequence[str]:
    """Return the reasons why this is no address for a field of an old kind."""
    plain = _without_zeros(text)
    if parse_ip(plain) is None:
        return (IP_TEXT,)
    if plain != text:
        return ("must not have leading 0s",)
    return ("must not be an IPv4-mapped IPv6 address",) if _is_mapped(parse_ip(text)) else ()


def canonical_ip(text: str) -> Sequence[str]:
    """Return the reasons why this is not the one form of an address."""
    return strict_ip(text) or _canonical(text, str(parse_ip(text)))


def strict_cidr(text: str) -> Sequence[str]:
    """Return the reasons why this is no range for a field of an old kind."""
    plain = _without_zeros(text)
    network, address = parse_cidr(plain), parse_ip(plain.rpartition("/")[0])
    if network is None:
        return (CIDR_TEXT,)
    if plain != text:
        return ("must not have leading 0s in IP or prefix length",)
    if _is_mapped(address):
        return ("must not have an IPv4-mapped IPv6 address",)
    if address != network.network_address:
        return ("must not have bits set beyond the prefix length",)
    return ()


def canonical_cidr(text: str) -> Sequence[str]:
    """Return the reasons why this is not the one form of a range."""
    return strict_cidr(text) or _canonical(text, str(parse_cidr(text)))


def _canonical(text: str, form: str) -> Sequence[str]:
    return () if text == form else (f'must be in canonical form ("{form}")',)


def _without_zeros(text: str) -> str:
    return (_ZEROS_OF_PREFIX if ":" in text else _ZEROS).sub("", text)


def _is_mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
