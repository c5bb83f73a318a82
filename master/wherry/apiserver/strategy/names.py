"""Names, labels and annotations: apimachinery `util/validation` and `api/validation`.

A `NameRule` returns the reasons why a name is not one; () means it is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any

from wherry.api.errors import Cause
from wherry.api.label_grammar import (
    LABEL_VALUE,
    LABEL_VALUE_TEXT,
    QUALIFIED,
    QUALIFIED_TEXT,
)
from wherry.apiserver.strategy import fields

NameRule = Callable[[str], Sequence[str]]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SEARCH_LABEL = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH = rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_ENV = r"[ -<>-~]+"
_HEADER = r"[-A-Za-z0-9]+"
_PORT_NAME = r"[-a-z0-9]+"

_LABEL_RE = re.compile(_LABEL)
_LABEL_1035_RE = re.compile(_LABEL_1035)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN)
_SEARCH_RE = re.compile(_SEARCH)
_QUALIFIED_RE = re.compile(QUALIFIED)
_LABEL_VALUE_RE = re.compile(LABEL_VALUE)
_CONFIG_KEY_RE = re.compile(_CONFIG_KEY)
_ENV_RE = re.compile(_ENV)
_HEADER_RE = re.compile(_HEADER)
_WILDCARD_RE = re.compile(rf"\*\.{_SUBDOMAIN}")
_PORT_NAME_RE = re.compile(_PORT_NAME)

_HOST_NAME_TEXT = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
    "behavior; a DNS label is recommended"
)
_REMEMBERED = 2048
"""Answers of a rule that are kept: most names of a request were seen a moment ago."""
_SHORT = 512
"""Longer names are not kept: they would be kept by somebody who wants to fill the memory."""
ANNOTATIONS_MOST = 256 * 1024
"""Bytes of all annotations together."""


def _regex(message: str, pattern: str, *examples: str) -> str:
    """Word a rule as upstream's `RegexError` does, with its two spaces before "or"."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


_LABEL_TEXT = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_DOTS_TEXT = "must not contain dots"
"""What is said instead of a name that is good but for its dots."""
_LABEL_1035_TEXT = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_SUBDOMAIN_TEXT = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SEARCH_TEXT = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or "
    "'.', and must start and end with an alphanumeric character",
    _SEARCH,
    "example.com",
)
_CONFIG_KEY_TEXT = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_ENV_TEXT = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)
_HEADER_TEXT = _regex(
    "a valid HTTP header must consist of alphanumeric characters or '-'",
    _HEADER,
    "X-Header-Name",
)
_WILDCARD_TEXT = _regex(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
    "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
    "character",
    rf"\*\.{_SUBDOMAIN}",
    "*.example.com",
)


def _remembered(rule: NameRule) -> NameRule:
    known = lru_cache(maxsize=_REMEMBERED)(rule)

    @wraps(rule)
    def ask(name: str) -> Sequence[str]:
        return known(name) if len(name) < _SHORT else rule(name)

    return ask


def _verdict(name: str, most: int, pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    too_long = (f"must be no more than {most} characters",) if len(name) > most else ()
    return too_long if pattern.fullmatch(name) else (*too_long, text)


@_remembered
def dns1123_label(name: str) -> Sequence[str]:
    """At most 63 of [a-z0-9-]: container, volume and namespace names."""
    only_dots = "." in name and _SUBDOMAIN_RE.fullmatch(name)
    return _verdict(name, 63, _LABEL_RE, _DOTS_TEXT if only_dots else _LABEL_TEXT)


def dns1035_label(name: str) -> Sequence[str]:
    """As a DNS label, beginning with a letter: Service names."""
    return _verdict(name, 63, _LABEL_1035_RE, _LABEL_1035_TEXT)


@_remembered
def dns1123_subdomain(name: str) -> Sequence[str]:
    """Labels joined by dots, at most 253 characters: most object names."""
    return _verdict(name, 253, _SUBDOMAIN_RE, _SUBDOMAIN_TEXT)


def masked(prefix: str) -> str:
    """Return what to ask a rule where a name is only begun: a dash at the end is none at the end."""
    return f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def path_segment(name: str) -> Sequence[str]:
    """Whatever can stand in a URL path (RBAC names)."""
    wrong = [f"may not be '{name}'"] if name in (".", "..") else []
    return wrong + [f"may not contain '{c}'" for c in "/%" if c in name]


def dns_search(name: str) -> Sequence[str]:
    """A domain that names are looked up in: a subdomain whose labels may have underscores."""
    return _verdict(name, 253, _SEARCH_RE, _SEARCH_TEXT)


@_remembered
def qualified_name(name: str) -> Sequence[str]:
    """A label or annotation key: `[dns-prefix/]name`."""
    prefix, slash, last = name.rpartition("/")
    wrong: list[str] = []
    if "/" in prefix:
        rule = QUALIFIED_TEXT.removeprefix("name part ")
        tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (f"a qualified name {rule} {tail}",)
    if slash:
        if not prefix:
            wrong.append("prefix part must be non-empty")
        else:
            wrong += [f"prefix part {text}" for text in dns1123_subdomain(prefix)]
    if not last:
        wrong.append("name part must be non-empty")
    elif len(last) > 63:
        wrong.append("name part must be no more than 63 characters")
    return tuple(wrong) if _QUALIFIED_RE.fullmatch(last) else (*wrong, QUALIFIED_TEXT)


@_remembered
def label_value(value: str) -> Sequence[str]:
    """Return the reasons why this is no label value."""
    return _verdict(value, 63, _LABEL_VALUE_RE, LABEL_VALUE_TEXT)


def config_key(key: str) -> Sequence[str]:
    """A key of a ConfigMap or Secret: also a file name."""
    wrong = list(_verdict(key, 253, _CONFIG_KEY_RE, _CONFIG_KEY_TEXT))
    if key in (".", ".."):
        wrong.append(f"must not be '{key}'")
    elif key.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def env_name(name: str) -> Sequence[str]:
    """Anything printable but `=` can name an environment variable."""
    if not name:
        return ("environment variable name must be non-empty",)
    return () if _ENV_RE.fullmatch(name) else (_ENV_TEXT,)


def header_name(name: str) -> Sequence[str]:
    """Return the reasons why this cannot name an HTTP header."""
    return () if _HEADER_RE.fullmatch(name) else (_HEADER_TEXT,)


def wildcard_subdomain(name: str) -> Sequence[str]:
    """`*.example.com`."""
    return _verdict(name, 253, _WILDCARD_RE, _WILDCARD_TEXT)


def port_name(name: str) -> Sequence[str]:
    """Return the reasons why this cannot name a port (IANA service name)."""
    wrong = ["must be no more than 15 characters"] if len(name) > 15 else []
    if not _PORT_NAME_RE.fullmatch(name):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in name:
        wrong.append("must not contain consecutive hyphens")
    if name[:1] == "-" or name[-1:] == "-":
        wrong.append("must not begin or end with a hyphen")
    return wrong


def warn_of_host_name(obj: Mapping[str, Any]) -> list[str]:
    """Warn of a name that pods' names and host names begin with, where it is no label."""
    name = obj["metadata"].get("name", "")
    reasons = dns1123_label(name) if name else ()
    if not reasons:
        return []
    return [f"{_HOST_NAME_TEXT}: [{' '.join(reasons)}]"]


def check(path: str, value: str, rule: NameRule) -> list[Cause]:
    """Return a cause for each reason that `rule` finds against `value`."""
    reasons = rule(value)
    return [fields.invalid(path, value, reason) for reason in reasons] if reasons else []


def check_labels(path: str, labels: Mapping[str, str]) -> list[Cause]:
    """Check keys and values of labels."""
    wrong: list[Cause] = []
    for key, value in labels.items():
        wrong += check(path, key, qualified_name)
        wrong += check(path, value, label_value)
    return wrong


def check_annotations(path: str, annotations: Mapping[str, str]) -> list[Cause]:
    """Check keys (case does not matter) and the size of the whole."""
    wrong: list[Cause] = []
    size = 0
    for key, value in annotations.items():
        wrong += [fields.invalid(path, key, text) for text in qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_MOST:
        wrong.append(fields.too_long(path, ANNOTATIONS_MOST))
    return wrong
