"""What commands print: results on standard output as text, tables or one JSON object; all else on standard error.

Knows no command and no configuration. Text that people or models wrote is printed without control characters,
so that it cannot steer the terminal.
"""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from perslm_runtime.errors import InputError
from perslm_runtime.printed import note, printable, put, put_json

__all__ = [
    "Step", "ask_secret", "confirm", "live_table", "megabytes", "note", "printable", "progress_bars", "put",
    "put_json", "put_table",
]  # fmt: skip


class Step(Protocol):
    """Progress of one long step as the library reports it; bytes, and None where the total is unknown."""

    @property
    def what(self) -> str:
        """What is being done."""

    @property
    def done_bytes(self) -> int:
        """Bytes done so far."""

    @property
    def total_bytes(self) -> int | None:
        """Bytes in all, or None."""


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: drawn on a terminal, else tab-separated lines under one line of column names."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            put("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms that only a drawn table needs
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


@contextmanager
def live_table(columns: Sequence[str]) -> Iterator[Callable[[Sequence[Sequence[str]]], None]]:
    """A table that is drawn anew with each call; rows that do not fit on the terminal are counted below it."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that only a drawn table needs
    from rich.live import Live  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console()

    def drawn(rows: Sequence[Sequence[str]]) -> Table:
        fits = max(1, console.size.height - 3)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="ellipsis", no_wrap=True)
        for row in rows[:fits]:
            table.add_row(*(Text(printable(cell)) for cell in row))
        if len(rows) > fits:
            table.add_row(f"and {len(rows) - fits} more")
        return table

    with Live(drawn([]), console=console, auto_refresh=False) as live:
        yield lambda rows: live.update(drawn(rows), refresh=True)


def confirm(question: str) -> bool:
    """Ask a person for yes or no. Raises InputError where nobody can answer."""
    if not sys.stdin.isatty():
        raise InputError("nobody is there to confirm: say --yes to do it without asking")
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def ask_secret(question: str) -> str:
    """Let a person type a secret twice, unseen. Raises InputError where nobody can, or the two differ."""
    if not sys.stdin.isatty():
        raise InputError("nobody is there to type a password: say --password-file FILE, or --generate")
    first = getpass.getpass(f"{printable(question)}: ")
    if getpass.getpass("Once more: ") != first:
        raise InputError("these were two different ones: nothing was changed")
    return first


def megabytes(size: int | None) -> str:
    """Return bytes as a person reads them: `98.4 MB`, `1.12 GB`, `?` where unknown."""
    if size is None:
        return "?"
    return f"{size / 1e9:.2f} GB" if size >= 1_000_000_000 else f"{size / 1e6:.1f} MB"


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Callable[[Step], None]]:
    """Show the progress of long steps on standard error: bars on a terminal, else a line now and then."""
    if quiet:
        yield lambda _step: None
    elif sys.stderr.isatty():
        with _Bars() as show:
            yield show
    else:
        yield _Lines().show


class _Bars:
    """One rich bar per step, with size, speed and time left."""

    def __init__(self) -> None:
        from rich import progress as bars  # noqa: PLC0415 - 60 ms that only a drawn bar needs
        from rich.console import Console  # noqa: PLC0415 - as above

        self._progress = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=24),
            bars.DownloadColumn(),
            bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[Step], None]:
        self._progress.start()
        return self.show

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Move the step's bar."""
        if step.what not in self._tasks:
            self._tasks[step.what] = self._progress.add_task(printable(step.what), total=step.total_bytes)
        self._progress.update(self._tasks[step.what], completed=step.done_bytes, total=step.total_bytes)


@dataclass(slots=True)
class _Lines:
    """For logs and pipes: nothing of a step of a second; else a line every ten seconds and one at the end."""

    first_after_s: float = 1.0
    every_s: float = 10.0
    _begun: dict[str, float] = field(default_factory=dict)
    _next: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def show(self, step: Step) -> None:
        """Write a line if it is time for one."""
        now = time.monotonic()
        begun = self._begun.setdefault(step.what, now)
        if step.total_bytes is not None and step.done_bytes >= step.total_bytes:
            if step.what in self._told:
                self._told.remove(step.what)
                note(f"{step.what}: done, {megabytes(step.total_bytes)} in {now - begun:.1f} s")
        elif now >= self._next.setdefault(step.what, begun + self.first_after_s):
            self._next[step.what] = now + self.every_s
            self._told.add(step.what)
            note(f"{step.what}: {megabytes(step.done_bytes)} of {megabytes(step.total_bytes)}")
