"""Cron schedules, as robfig/cron's standard parser reads and refuses them.

Five fields, `@daily` and its like, `@every 1h30m`. Returns the reason why a schedule is none.
"""

import re

_MONTHS = {
    name: n
    for n, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: n for n, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_NO_NAMES: dict[str, int] = {}
_FIELDS = (
    (0, 59, _NO_NAMES),
    (0, 23, _NO_NAMES),
    (1, 31, _NO_NAMES),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_DESCRIPTORS = frozenset(
    ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
)
_ZONES = ("TZ=", "CRON_TZ=")
"""Beginnings of schedules that name their zone, as they did before there was a field for it."""
_NUMBER = re.compile(r"\+?[0-9]+")
_LONGEST_NUMBER = 18
_DURATION = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+|[+-]?0")


def refuse_schedule(text: str) -> str:
    """Return why a schedule cannot be read, or "" where it can."""
    if text.startswith(_ZONES):
        text = text.partition(" ")[2].strip()
    if not text:
        return "empty spec string"
    if text.startswith("@"):
        return _refuse_descriptor(text)
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]"
    for part, (least, most, names) in zip(parts, _FIELDS, strict=True):
        for expression in part.split(","):
            why = _refuse(expression, least, most, names)
            if why:
                return why
    return ""


def _refuse_descriptor(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if not text.startswith("@every "):
        return f"unrecognized descriptor: {text}"
    duration = text.removeprefix("@every ")
    if _DURATION.fullmatch(duration):
        return ""
    return f'failed to parse duration {text}: time: invalid duration "{duration}"'


def _refuse(expression: str, least: int, most: int, names: dict[str, int]) -> str:
    span, slash, step = expression.partition("/")
    low, dash, high = span.partition("-")
    if "/" in step:
        return f"too many slashes: {expression}"
    if "-" in high:
        return f"too many hyphens: {expression}"
    numbers = [] if low in ("*", "?") else [low, high] if dash else [low]
    unread = [_refuse_number(number, names) for number in numbers]
    if slash:
        unread.append(_refuse_number(step, _NO_NAMES))
    for why in unread:
        if why:
            return why
    first, last = (least, most)
    if numbers:
        first, last = _bounds(numbers, names, most, stepped=bool(slash))
    return _refuse_range(expression, (first, last), (least, most), step)


def _refuse_range(
    expression: str, span: tuple[int, int], limits: tuple[int, int], step: str
) -> str:
    (first, last), (least, most) = span, limits
    if first < least:
        return f"beginning of range ({first}) below minimum ({least}): {expression}"
    if last > most:
        return f"end of range ({last}) above maximum ({most}): {expression}"
    if first > last:
        return f"beginning of range ({first}) beyond end of range ({last}): {expression}"
    if step and int(step) == 0:
        return f"step of range should be a positive number: {expression}"
    return ""


def _bounds(
    numbers: list[str], names: dict[str, int], most: int, *, stepped: bool
) -> tuple[int, int]:
    values = [names[n.lower()] if n.lower() in names else int(n) for n in numbers]
    if len(values) == 1 and stepped:
        return values[0], most
    return values[0], values[-1]


def _refuse_number(text: str, names: dict[str, int]) -> str:
    if text.lower() in names:
        return ""
    if _NUMBER.fullmatch(text):
        if len(text) <= _LONGEST_NUMBER:
            return ""
        return (
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range'
        )
    if re.fullmatch(r"-[0-9]+", text):
        return f"negative number ({text}) not allowed: {text}"
    return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
