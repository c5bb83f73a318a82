"""Progress: each step by its name while it runs, with its time when it is done."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape

from lablib.errors import LabError
from lablib.waiting import CLOCK

NOTE: Final = "dim"


class Steps:
    """Prints the steps of one command."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = CLOCK.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show `title` while the block runs; a failed block is marked and goes on failing."""
        began = CLOCK.monotonic()
        try:
            if self._console.is_terminal:
                with self._console.status(f"{escape(title)} ..."):
                    yield
            else:
                yield
        except BaseException:
            self._line("[red]✗[/]", title, CLOCK.monotonic() - began)
            raise
        self._line("[green]✓[/]", title, CLOCK.monotonic() - began)

    def note(self, text: str) -> None:
        """Say something that is not a step."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the command began."""
        return CLOCK.monotonic() - self._began

    def _line(self, mark: str, title: str, took_s: float) -> None:
        self._console.print(
            f"{mark} {escape(title)} [dim]({took_s:.1f} s)[/]", highlight=False, soft_wrap=True
        )


def explain(error: LabError, console: Console) -> None:
    """Print what failed, why, and what to do."""
    console.print(f"[red]lab:[/] {escape(error.what)}", highlight=False, soft_wrap=True)
    if error.details:
        console.print(escape(error.details), style=NOTE, highlight=False, soft_wrap=True)
    if error.advice:
        console.print(f"→ {escape(error.advice)}", highlight=False, soft_wrap=True)


def consoles() -> tuple[Console, Console]:
    """Where results and where errors go."""
    return Console(file=sys.stdout), Console(file=sys.stderr)
