"""RFC 3339 times as Kubernetes writes them.

`metav1.Time` has whole seconds (`2026-11-20T10:00:00Z`), `metav1.MicroTime` six digits.
"""

from datetime import UTC, datetime
from functools import lru_cache


def format_time(epoch_s: float) -> str:
    """Format epoch seconds as a metav1.Time."""
    return _format(int(epoch_s))


@lru_cache(maxsize=64)  # what is written within a second says the same, more than once
def _format(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(epoch_s: float) -> str:
    """Format epoch seconds as a metav1.MicroTime."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Parse an RFC 3339 time, with or without fraction and offset, into epoch seconds.

    Raises:
        ValueError: `text` is not RFC 3339.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return parsed.timestamp()
