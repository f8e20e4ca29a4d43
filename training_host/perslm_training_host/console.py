"""What `perslm-host` prints: results on standard output as text or JSON, progress on standard error.

Knows no verb. Long steps tell how far they are and how long they still need, on a terminal and in a log alike.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer


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


def put(text: str = "") -> None:
    """Write one result line to standard output."""
    sys.stdout.write(text + "\n")


def put_json(data: Any) -> None:
    """Write a result as one JSON value: indented for a person, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=indent, default=_as_json) + "\n")


def _as_json(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows under their column names, the columns aligned."""
    widths = [max(len(row[number]) for row in [columns, *rows]) for number in range(len(columns))]
    for row in [columns, *rows]:
        put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def note(text: str) -> None:
    """Tell a person something that is not the result, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


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
