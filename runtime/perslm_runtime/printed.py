"""What every command line here prints: results on standard output as text or JSON, notes on standard error.

Text that people or models wrote is printed without control characters, so that it cannot steer the terminal.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def printable(text: str) -> str:
    """Replace control characters other than newline and tab by a visible mark."""
    return "".join(
        c if c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f") else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def put(text: str = "") -> None:
    """Write one result line to standard output."""
    sys.stdout.write(printable(text) + "\n")


def put_json(data: Any) -> None:
    """Write a result as one JSON value: indented for a person, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=indent, default=_as_json) + "\n")


def _as_json(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def note(text: str) -> None:
    """Tell a person something that is not the result, on standard error."""
    sys.stderr.write(printable(text) + "\n")


def close_pipe() -> None:
    """Let the interpreter's last flush write to nowhere: the reader of our output has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
