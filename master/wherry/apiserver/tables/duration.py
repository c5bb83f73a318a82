"""Ages as kubectl writes them: two units while that says more, one from then on.

Source: apimachinery `duration.HumanDuration`.
"""

from wherry.api.times import parse_time

UNKNOWN = "<unknown>"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


def format_duration(seconds: float) -> str:
    """Return `42s`, `2m5s`, `12m`, `3h20m`, `9h`, `2d1h`, `5d`, `2y30d`, `9y`."""
    if int(seconds) < -1:  # clocks may differ by a second
        return "<invalid>"
    whole = max(int(seconds), 0)
    for below, text in (
        (2 * _MINUTE, f"{whole}s"),
        (10 * _MINUTE, _two(whole, _MINUTE, "m", 1, "s")),
        (3 * _HOUR, f"{whole // _MINUTE}m"),
        (8 * _HOUR, _two(whole, _HOUR, "h", _MINUTE, "m")),
        (2 * _DAY, f"{whole // _HOUR}h"),
        (8 * _DAY, _two(whole, _DAY, "d", _HOUR, "h")),
        (2 * _YEAR, f"{whole // _DAY}d"),
        (8 * _YEAR, _two(whole, _YEAR, "y", _DAY, "d")),
    ):
        if whole < below:
            return text
    return f"{whole // _YEAR}y"


def _two(whole: int, unit: int, name: str, smaller: int, smaller_name: str) -> str:
    rest = whole % unit // smaller
    return f"{whole // unit}{name}{rest}{smaller_name}" if rest else f"{whole // unit}{name}"


def age(timestamp: str | None, now: float) -> str:
    """Return how long ago a metav1.Time was, `<unknown>` where there is none."""
    if not timestamp:
        return UNKNOWN
    try:
        return format_duration(now - parse_time(timestamp))
    except ValueError:
        return UNKNOWN
