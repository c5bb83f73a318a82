"""What a printer is: columns, and a function that makes the cells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wherry.apiserver.tables.cells import Obj


@dataclass(frozen=True, slots=True)
class Column:
    """One column; priority 1 is shown by `-o wide` only."""

    name: str
    type: str = "string"
    priority: int = 0
    format: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": "",
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Printer:
    """How a kind is shown."""

    columns: tuple[Column, ...]
    cells: Callable[[Obj, float], list[Any]]


def printer(text: str, cells: Callable[[Obj, float], list[Any]]) -> Printer:
    """Return the printer of `Name|Ready|Up-to-date:integer|IP+`: `+` marks columns of `-o wide`."""
    out = []
    for word in text.split("|"):
        title, _, kind = word.rstrip("+").partition(":")
        wide = 1 if word.endswith("+") else 0
        out.append(Column(title, kind or "string", wide, "name" if title == "Name" else ""))
    return Printer(tuple(out), cells)
