"""The grammar of label selectors, and what is said of those that do not keep to it.

As apimachinery's `labels.Parse`, its messages included: kubectl prints them as they are.

    selector    = [ requirement { "," requirement } ]
    requirement = "!" key | key | key ("=" | "==" | "!=" | ">" | "<") value | key ("in" | "notin") set
    set         = "(" [ value { "," value } ] ")"
"""

import re
from typing import Final, NamedTuple

from wherry.api.errors import InvalidSelectorError

QUALIFIED: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE: Final = rf"({QUALIFIED})?"
QUALIFIED_TEXT: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    f"validation is '{QUALIFIED}')"
)
LABEL_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    f"or '12345', regex used for validation is '{LABEL_VALUE}')"
)
_KEY: Final = re.compile(rf"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?/)?{QUALIFIED}")
_VALUE: Final = re.compile(LABEL_VALUE)
_NUMBER: Final = re.compile(r"[-+]?[0-9]+")
_WORD: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+|$)")
_LONGEST_NUMBER: Final = 20
_END: Final = ""
_SYMBOLS: Final = frozenset((_END, "==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS: Final = {
    "in": "in", "notin": "notin", "=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt",
}  # fmt: skip


class Parsed(NamedTuple):
    """One requirement: `op` is in, notin, exists, !exists, gt or lt."""

    key: str
    op: str
    values: frozenset[str] = frozenset()


def parse(text: str) -> list[Parsed]:
    """Read a selector.

    Raises:
        InvalidSelectorError: with what was found, and what was expected there.
    """
    words = _Words(text)
    found: list[Parsed] = []
    while (word := words.next) != _END:
        if word in _SYMBOLS and word != "!":
            raise InvalidSelectorError(
                f"found '{word}', expected: !, identifier, or 'end of string'"
            )
        try:
            found.append(_requirement(words))
        except InvalidSelectorError as error:
            raise InvalidSelectorError(f"unable to parse requirement: {error}") from error
        word = words.take()
        if word == _END:
            break
        if word != ",":
            raise InvalidSelectorError(f"found '{word}', expected: ',' or 'end of string'")
        if words.next in _SYMBOLS and words.next != "!":
            raise InvalidSelectorError(f"found '{words.next}', expected: identifier after ','")
    return found


class _Words:
    """Symbols and identifiers, one after the other; the last one is empty."""

    def __init__(self, text: str) -> None:
        self._words = _WORD.findall(text)
        self._at = 0

    @property
    def next(self) -> str:
        word: str = self._words[self._at]
        return word

    def take(self) -> str:
        word = self.next
        self._at = min(self._at + 1, len(self._words) - 1)
        return word


def _requirement(words: _Words) -> Parsed:
    key = words.take()
    absent = key == "!"
    if absent:
        key = words.take()
    if key in _SYMBOLS:
        raise InvalidSelectorError(f"found '{key}', expected: identifier")
    _check_key(key)
    if absent or words.next in (_END, ","):
        return Parsed(key, "!exists" if absent else "exists")
    written = words.take()
    if written not in _OPERATORS:
        raise InvalidSelectorError(f"found '{written}', expected: in, notin, =, ==, !=, gt, lt")
    op = _OPERATORS[written]
    values = _set(words) if written in ("in", "notin") else frozenset((_value(words),))
    _check_values(key, op, values)
    return Parsed(key, op, values)


def _value(words: _Words) -> str:
    if words.next in (_END, ","):
        return ""
    if (value := words.take()) in _SYMBOLS:
        raise InvalidSelectorError(f"found '{value}', expected: identifier")
    return value


def _set(words: _Words) -> frozenset[str]:
    """Read what stands in parentheses; a comma without a value before or behind it means ""."""
    if (word := words.take()) != "(":
        raise InvalidSelectorError(f"found '{word}' expected: '('")
    if words.next == ")":
        words.take()
        return frozenset(("",))
    if words.next in _SYMBOLS and words.next != ",":
        raise InvalidSelectorError(f"found '{words.next}', expected: ',', ')' or identifier")
    values = set()
    while True:
        value = "" if words.next in (",", ")") else words.take()
        if value and value in _SYMBOLS:
            raise InvalidSelectorError(f"found '{value}', expected: ',', or identifier")
        values.add(value)
        if (word := words.take()) == ")":
            return frozenset(values)
        if word != ",":
            raise InvalidSelectorError(f"found '{word}', expected: ',' or ')'")


def _is_int64(value: str) -> bool:
    short = _NUMBER.fullmatch(value) is not None and len(value) <= _LONGEST_NUMBER
    return short and -(2**63) <= int(value) < 2**63


def _check_key(key: str) -> None:
    name = key.rpartition("/")[2]
    if _KEY.fullmatch(key) is None:
        raise InvalidSelectorError(f'<nil>: Invalid value: "{key}": {QUALIFIED_TEXT}')
    if len(name) > 63:
        raise InvalidSelectorError(
            f'<nil>: Invalid value: "{key}": name part must be no more than 63 characters'
        )


def _check_values(key: str, op: str, values: frozenset[str]) -> None:
    for index, value in enumerate(sorted(values)):
        if op in ("gt", "lt") and not _is_int64(value):
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise InvalidSelectorError(f'values[{index}]: Invalid value: "{value}": {why}')
        if not (_VALUE.fullmatch(value) and len(value) <= 63):
            long = len(value) > 63
            why = "must be no more than 63 characters" if long else LABEL_VALUE_TEXT
            raise InvalidSelectorError(f'values[{index}][{key}]: Invalid value: "{value}": {why}')
