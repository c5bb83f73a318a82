"""Structured logs on standard error: one line an event, as text or JSON.

Values go into `extra=`: `log.info("bound", extra={"pod": key})` prints `bound pod=default/a`.
"""

import logging
import sys
from typing import Final

import orjson

from wherry.api.times import format_micro_time

_PLAIN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LETTER: Final = {"DEBUG": "D", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {k: v for k, v in record.__dict__.items() if k not in _PLAIN}


class TextFormatter(logging.Formatter):
    """`I 2026-11-20T10:00:00.000000Z scheduler: bound pod=default/a`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        pairs = "".join(f" {k}={v}" for k, v in _extra(record).items())
        where = record.name.removeprefix("wherry.")
        line = f"{_LETTER.get(record.levelname, '?')} {format_micro_time(record.created)} {where}: {record.getMessage()}{pairs}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, keys as Kubernetes' component-base writes them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "ts": format_micro_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            entry["stacktrace"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def setup(level: str, form: str) -> None:
    """Send all logs of this process to standard error; `form` is text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
