"""What `perslm-host` prints: results on standard output as text or JSON, progress on standard error.

Knows no verb. Long steps tell how far they are and how long they still need, on a terminal and in a log alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import typer

from perslm_runtime.printed import note, put, put_json

__all__ = [
    "Progress", "Session", "command_group", "note", "put", "put_json", "put_table", "session_of", "spoken_span",
]  # fmt: skip


@dataclass(slots=True)
class Session:
    """The global options of one run of the command line."""

    json: bool = False
    verbose: bool = False


def session_of(context: typer.Context) -> Session:
    """Return the run's session out of a command's context."""
    session = context.find_object(Session)
    if session is None:
        raise TypeError("the command was started without a session")
    return session


def command_group(app: typer.Typer, name: str, about: str) -> typer.Typer:
    """Add a group of commands such as `perslm-host delta`; alone, it shows its help."""
    group = typer.Typer(rich_markup_mode=None)

    @group.callback(invoke_without_command=True)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            put(context.get_help())

    app.add_typer(group, name=name, help=about)
    return group


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under their column names, the columns aligned."""
    widths = [max(len(row[number]) for row in [columns, *rows]) for number in range(len(columns))]
    for row in [columns, *rows]:
        put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@dataclass(slots=True)
class Progress:
    """Counts the parts of one long step and tells, at most every `every_s`, how long it still needs."""

    what: str
    total: int
    every_s: float = 5.0
    quiet: bool = False
    _begun: float = field(default_factory=time.monotonic)
    _next: float = 0.0

    def at(self, done: int, total: int | None = None, figures: str = "") -> None:
        """Say that `done` of the parts are done, of `total` where that is known only now."""
        self.total = total or self.total
        now = time.monotonic()
        if self.quiet or (now < self._next and done < self.total):
            return
        self._next = now + self.every_s
        left_s = (now - self._begun) / max(done, 1) * (self.total - done)
        note(f"{self.what}: {done}/{self.total}{', ' + figures if figures else ''}, {spoken_span(left_s)} left")


def spoken_span(seconds: float) -> str:
    """Seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
