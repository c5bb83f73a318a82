"""What Go's decoder says of text that is no JSON, told from where orjson stopped. Pure.

Users search for these sentences. Source: Go `encoding/json`, the states of its scanner.
"""

import re

import orjson

_BLANK = " \t\r\n"
_END = "unexpected end of JSON input"
_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"
_SAID = {
    "unexpected character, expected a JSON value": _VALUE,
    "unexpected character, expected a string key": _KEY,
    "unexpected character, expected ':' after key": "after object key",
    "unexpected character, expected ',' or '}'": "after object key:value pair",
    "unexpected character, expected ',' or ']'": "after array element",
    "unexpected content after document": "after top-level value",
    "unexpected control character in string": "in string literal",
    "no digit after decimal point": "after decimal point in numeric literal",
    "no digit after exponent sign": "in exponent of numeric literal",
}
_LITERAL = re.compile(r"invalid literal, expected '(\w+)'")
_ZERO = re.compile(r"-?0")
_RUNE_SELF = 0x80
_HEX = frozenset("0123456789abcdefABCDEF")
_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def syntax_error(data: bytes, error: orjson.JSONDecodeError) -> str:
    """Return what is wrong with `data`, of which orjson said `error`."""
    text, at, said = error.doc, error.pos, error.msg
    if not text:  # also where it is not UTF-8
        return _END if not data else _not_utf8(data)
    phrase = _SAID.get(said, _VALUE)
    if not text.strip(_BLANK):
        return _END
    if literal := _LITERAL.match(said):
        at, phrase = _in_literal(text, at, literal[1])
    elif said == "trailing comma is not allowed":
        at = len(text) - len(text[at + 1 :].lstrip(_BLANK))
        phrase = _KEY if text[at : at + 1] == "}" else _VALUE
    elif said == "number with leading zero is not allowed":
        at, phrase = _after_zero(text, at)
    elif said == "no digit after sign" and text[at - 1 : at] == "-":
        phrase = "in numeric literal"
    elif text[at : at + 1] == "\\":
        at, phrase = _in_escape(text, at)
    return f"invalid character {_quote(text[at].encode()[0])} {phrase}" if at < len(text) else _END


def _in_literal(text: str, at: int, literal: str) -> tuple[int, str]:
    for index, wanted in enumerate(literal):
        if text[at + index : at + index + 1] != wanted:
            return at + index, f"in literal {literal} (expecting '{wanted}')"
    return at, _VALUE


def _after_zero(text: str, at: int) -> tuple[int, str]:
    """Tell what may follow the zero that a number begins with: orjson knows, asked for anything else."""
    zero = _ZERO.match(text, at)
    end = zero.end() if zero else at
    try:
        orjson.loads(f"{text[:end]} x")
    except orjson.JSONDecodeError as error:
        return end, _SAID.get(error.msg, _VALUE)
    return end, _VALUE


def _in_escape(text: str, at: int) -> tuple[int, str]:
    if text[at + 1 : at + 2] != "u":
        return at + 1, "in string escape code"
    for index in range(at + 2, at + 6):
        if text[index : index + 1] not in _HEX:
            return index, "in \\u hexadecimal character escape"
    return at, "in string literal"  # half a surrogate pair, which Go reads as an unknown character


def _not_utf8(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        phrase = "in string literal" if data[: error.start].count(b'"') % 2 else _VALUE
        return f"invalid character {_quote(data[error.start])} {phrase}"
    return "invalid character in string literal"


def _quote(byte: int) -> str:
    """Write a byte as Go does: as if it were a character."""
    character = chr(byte)
    if character in "'\\":
        return f"'\\{character}'"
    if character.isprintable():
        return f"'{character}'"
    code = f"\\x{byte:02x}" if byte < _RUNE_SELF else f"\\u{byte:04x}"
    return f"'{_SHORT.get(character, code)}'"
