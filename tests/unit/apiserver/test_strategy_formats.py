"""Values with a format: addresses, ranges, percentages, paths, names."""

from typing import Any

import pytest

from wherry.apiserver.strategy import formats, names


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("10.0.0.0/8", True),
        ("10.1.2.3/8", True),
        ("2001:db8::/64", True),
        ("10.0.0.0", False),
        ("10.0.0.0/33", False),
        ("10.0.0.0/255.0.0.0", False),
        ("fe80::%eth0/64", False),
    ],
)
def test_cidrs(text: str, good: bool) -> None:
    assert (formats.check_cidr("x", text) == []) is good


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.1", ""),
        ("8.8.8.8", ""),
        ("010.0.0.1", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("fe80::1%eth0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("::", "may not be unspecified (::)"),
        ("::1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("169.254.1.1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ],
)
def test_addresses_that_traffic_is_sent_to(text: str, reason: str) -> None:
    said = [cause.message for cause in formats.check_endpoint_ip("x", text)]
    assert said == ([f'Invalid value: "{text}": {reason}'] if reason else [])


@pytest.mark.parametrize(
    ("value", "zero", "good"),
    [
        (0, True, True),
        (3, False, True),
        ("0%", True, True),
        ("000%", True, True),
        ("100%", False, True),
        ("101%", False, False),
        (-1, False, False),
        ("5", False, False),
        ("9" * 5000 + "%", False, False),
    ],
)
def test_counts_and_percentages(value: Any, zero: bool, good: bool) -> None:
    assert (formats.check_int_or_percent("x", value, most_percent=100) == []) is good
    assert formats.is_zero(value) is zero


@pytest.mark.parametrize(
    ("text", "good"),
    [("a.b/c", True), ("a.b", False), ("/c", False), ("A/c", False), ("a/ ", False)],
)
def test_domain_paths(text: str, good: bool) -> None:
    assert (formats.check_domain_path("x", text) == []) is good


@pytest.mark.parametrize(
    ("text", "good"), [("*.a.b", True), ("a.b", False), ("*", False), ("*.*.a", False)]
)
def test_wildcards(text: str, good: bool) -> None:
    assert (not names.wildcard_subdomain(text)) is good


def test_long_names_are_answered_and_not_remembered() -> None:
    """Whoever sends them could fill the memory; of a short one the same answer is kept."""
    rule, long, short = names.dns1123_label, "a" * 100_000, "a" * 64
    assert rule(long) == rule(short) == ("must be no more than 63 characters",)
    assert (rule(short) is rule(short), rule(long) is rule(long)) == (True, False)
