"""Values with a format: numbers in a range, ports, addresses, CIDRs, percents, quantities.

Each check returns causes, in the words of apimachinery `util/validation` and core validation.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from wherry.api.errors import Cause, InvalidQuantityError
from wherry.api.quantity import parse_quantity
from wherry.apiserver.strategy import fields, names

Object = dict[str, Any]

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
PREEMPTION: Final = ("PreemptLowerPriority", "Never")
NOT_NEGATIVE: Final = "must be greater than or equal to 0"
POSITIVE: Final = "must be greater than 0"
PORT_RANGE: Final = "must be between 1 and 65535, inclusive"
_MOST_INT32: Final = (1 << 31) - 1
IP_TEXT: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ID_TEXT: Final = f"must be between 0 and {_MOST_INT32}, inclusive"
_LEAST_TOKEN_S: Final = 600
_MOST_TOKEN_S: Final = 1 << 32
_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
_PERCENT = re.compile(r"[0-9]+%")
_LONG: Final = 12
"""Characters of a percentage: longer numbers are too large, and cost time to read."""
_PERCENT_TEXT: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
    "'93%', regex used for validation is '[0-9]+%')"
)


# -- numbers --------------------------------------------------------------------------------


def not_negative(path: str, obj: Object, *names_: str) -> list[Cause]:
    """Check that none of the numbers of `obj` that are there is below 0."""
    return [
        fields.invalid(f"{path}.{name}", obj[name], NOT_NEGATIVE)
        for name in names_
        if obj.get(name, 0) < 0
    ]


def positive(path: str, obj: Object, *names_: str) -> list[Cause]:
    """Check that all of the numbers of `obj` that are there are above 0."""
    return [
        fields.invalid(f"{path}.{name}", obj[name], POSITIVE)
        for name in names_
        if obj.get(name, 1) <= 0
    ]


def in_range(path: str, value: int, least: int, most: int) -> list[Cause]:
    """Check a number against both ends of its range."""
    if least <= value <= most:
        return []
    return [fields.invalid(path, value, f"must be between {least} and {most}, inclusive")]


def check_token_lifetime(path: str, seconds: int) -> list[Cause]:
    """Check for how many seconds a service account's token is asked for."""
    if seconds < _LEAST_TOKEN_S:
        return [fields.invalid(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > _MOST_TOKEN_S:
        return [
            fields.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
        ]
    return []


def check_id(path: str, obj: Object, *names_: str) -> list[Cause]:
    """Check user and group ids."""
    return [
        fields.invalid(f"{path}.{name}", obj[name], _ID_TEXT)
        for name in names_
        if not 0 <= obj.get(name, 0) <= _MOST_INT32
    ]


def choice(path: str, obj: Object, field: str, allowed: Collection[str]) -> list[Cause]:
    """Check that a field that must be there has one of the allowed values."""
    value = obj.get(field, "")
    if value in allowed:
        return []
    at = f"{path}.{field}" if path else field
    return [fields.unsupported(at, value, allowed) if value else fields.required(at)]


def option(path: str, obj: Object, field: str, allowed: Collection[str]) -> list[Cause]:
    """Check that a field, if it is there, has one of the allowed values."""
    value = obj.get(field)
    if value is None or value in allowed:
        return []
    return [fields.unsupported(f"{path}.{field}" if path else field, value, allowed)]


def need(path: str, obj: Object, *names_: str) -> list[Cause]:
    """Check that fields are there and not empty."""
    dot = f"{path}." if path else ""
    return [fields.required(f"{dot}{name}") for name in names_ if not obj.get(name)]


def unchanged(path: str, new: Object, old: Object, *names_: str) -> list[Cause]:
    """Check that an update leaves fields as they are; a field that is empty is no field."""
    dot = f"{path}." if path else ""
    return [
        fields.invalid(f"{dot}{name}", new.get(name), fields.IMMUTABLE)
        for name in names_
        if (new.get(name) or None) != (old.get(name) or None)
    ]


def check_int_or_percent(path: str, value: Any, most_percent: int | None = None) -> list[Cause]:
    """Check a number that is not negative, or a percentage."""
    if isinstance(value, int):
        return [] if value >= 0 else [fields.invalid(path, value, NOT_NEGATIVE)]
    if not _PERCENT.fullmatch(value):
        return [fields.invalid(path, value, _PERCENT_TEXT)]
    if most_percent is not None and (len(value) > _LONG or int(value[:-1]) > most_percent):
        return [fields.invalid(path, value, f"must not be greater than {most_percent}%")]
    return []


def is_zero(value: Any) -> bool:
    """Tell whether a number or percentage that was checked is none at all."""
    return value == 0 or (isinstance(value, str) and value.strip("0") == "%")


# -- ports ----------------------------------------------------------------------------------


def check_port(path: str, port: int) -> list[Cause]:
    """Check a port number."""
    return [] if 1 <= port <= 65535 else [fields.invalid(path, port, PORT_RANGE)]


def check_port_or_name(path: str, port: int | str) -> list[Cause]:
    """Check a port that may be given by number or by a container port's name."""
    if isinstance(port, int):
        return check_port(path, port)
    return names.check(path, port, names.port_name)


# -- addresses ------------------------------------------------------------------------------


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address, or None. Go knows no zones (`fe80::1%eth0`)."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def is_ipv4(text: str) -> bool:
    """Tell whether `text` is an IPv4 address."""
    found = parse_ip(text)
    return found is not None and found.version == 4


def check_ip(path: str, text: str) -> list[Cause]:
    """Check an IP address."""
    return [fields.invalid(path, text, IP_TEXT)] if parse_ip(text) is None else []


def check_no_ip(path: str, host: str) -> list[Cause]:
    """Check that what has to be a name is no IP address."""
    if parse_ip(host) is None:
        return []
    return [fields.invalid(path, host, "must be a DNS name, not an IP address")]


def check_endpoint_ip(path: str, text: str) -> list[Cause]:
    """Check an address that traffic is sent to: not loopback, link-local or multicast."""
    address = parse_ip(text)
    if address is None:
        return [fields.invalid(path, text, IP_TEXT)]
    if address.is_global and not address.is_multicast:
        return []
    reasons = [
        (address.is_unspecified, f"may not be unspecified ({text})"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            address.is_multicast and str(address).startswith(("224.0.0.", "ff02")),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ]
    return [fields.invalid(path, text, why) for holds, why in reasons if holds]


def parse_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network, host bits cleared, or None."""
    if "/" not in text or "%" in text or not text.rpartition("/")[2].isdecimal():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def check_cidr(path: str, text: str) -> list[Cause]:
    """Check an address range."""
    return [fields.invalid(path, text, CIDR_TEXT)] if parse_cidr(text) is None else []


def check_families(path: str, texts: Sequence[str], shown: Sequence[Any], what: str) -> list[Cause]:
    """Check that several addresses or ranges, each good by itself, are of different families.

    Args:
        path: Where the list stands.
        texts: The addresses.
        shown: The entries of the list that hold them.
        what: What upstream calls them: IP or CIDR.
    """
    if len(texts) < 2:
        return []
    wrong: list[Cause] = []
    if len(texts) > 2 or len({":" in text for text in texts}) == 1:
        detail = f"may specify no more than one {what} for each IP family"
        wrong.append(fields.invalid(path, shown, detail))
    seen: set[str] = set()
    for index, text in enumerate(texts):
        if text in seen:
            wrong.append(fields.duplicate(f"{path}[{index}]", shown[index]))
        seen.add(text)
    return wrong


# -- quantities -----------------------------------------------------------------------------


def quantities(path: str, resources: Mapping[str, Any], wrong: list[Cause]) -> dict[str, Fraction]:
    """Return the amounts that can be read; add to `wrong` those that cannot, or are negative."""
    parsed = {}
    for name, text in resources.items():
        try:
            amount = parsed[name] = parse_quantity(str(text))
        except InvalidQuantityError as error:
            wrong.append(fields.invalid(f"{path}[{name}]", text, str(error)))
            continue
        if amount < 0:
            wrong.append(fields.invalid(f"{path}[{name}]", text, NOT_NEGATIVE))
    return parsed


def amount_of(text: Any) -> Fraction:
    """Return a quantity's value; 0 for what is none (the schema has refused it before)."""
    try:
        return parse_quantity(str(text))
    except InvalidQuantityError:
        return Fraction(0)


def check_domain_path(path: str, text: str) -> list[Cause]:
    """Check a name such as `acme.io/foo`."""
    domain, slash, rest = text.partition("/")
    if not domain or not slash or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [fields.invalid(path, text, detail)]
    wrong = names.check(path, domain, names.dns1123_subdomain)
    if not _PATH.fullmatch(rest):
        detail = f"Invalid path (regex used for validation is '{_PATH.pattern}')"
        wrong.append(fields.invalid(path, rest, detail))
    return wrong
