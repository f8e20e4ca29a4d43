"""The log: one line per event, as key=value fields or JSON, through the standard library's logging.

Fields are numbers, names and durations, never what somebody said: no line of this log holds a person's words.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import traceback
from datetime import datetime
from pathlib import Path
from typing import TextIO

ROOT = "perslm"
_FIELDS = "perslm_fields"
_CRASH = "perslm-crash-"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Field = str | int | float | bool | None


def event(log: logging.Logger, name: str, level: int = logging.INFO, **fields: Field) -> None:
    """Write one event. `fields` are measurements and names; the caller keeps people's words out of them."""
    log.log(level, name, extra={_FIELDS: fields})


def start(
    level: str, form: str, stream: TextIO | None = None, *, verbose: bool = False, quiet: bool = False
) -> None:
    """Send PersLM's events to `stream` (standard error), replacing what an earlier call set up.

    A terminal gets warnings only, because there a person reads the answer itself, and so does whoever asks for
    `quiet` (JSON output, whose errors have to be found on standard error); `verbose` shows all.
    """
    stream = stream or sys.stderr
    quiet = (quiet or stream.isatty()) and not verbose
    root = logging.getLogger(ROOT)
    root.setLevel(logging.DEBUG if verbose else max(_LEVELS[level], logging.WARNING if quiet else logging.DEBUG))
    root.propagate = False
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if form == "json" else KeyValueLines())
    root.handlers[:] = [handler]


class KeyValueLines(logging.Formatter):
    """`2026-01-31T12:00:00.000+01:00 info turn recall_ms=12 first_token_ms=310`."""

    def format(self, record: logging.LogRecord) -> str:
        """Put one event on one line; values with spaces are quoted."""
        fields = "".join(f" {key}={_plain(value)}" for key, value in fields_of(record).items())
        return f"{_when(record)} {record.levelname.lower()} {_one_line(record.getMessage())}{fields}"


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, event, and the fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Put one event on one line."""
        head = {"time": _when(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**fields_of(record), **head}, ensure_ascii=False)


def keep_traceback(error: BaseException, folder: Path | None) -> Path | None:
    """Write the traceback of a bug into `folder` (or the temporary one), readable by its owner only.

    Returns the file, or None where nothing can be written. The newest five are kept.
    """
    text = "".join(traceback.format_exception(error))
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None or not place.is_dir():
            continue
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=place, prefix=_CRASH, suffix=".log", delete=False, encoding="utf-8"
            ) as file:
                file.write(text)
            for old in sorted(place.glob(f"{_CRASH}*.log"), key=lambda path: path.stat().st_mtime_ns)[:-5]:
                old.unlink(missing_ok=True)
        except OSError:
            continue
        return Path(file.name)
    return None


def fields_of(record: logging.LogRecord) -> dict[str, Field]:
    """The fields of an event beside its message."""
    fields: dict[str, Field] = getattr(record, _FIELDS, {})
    if record.exc_info and record.exc_info[1] is not None:
        return {**fields, "error": type(record.exc_info[1]).__name__}
    return fields


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _plain(value: Field) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = json.dumps(value) if isinstance(value, bool) or value is None else str(value)
    return (
        text
        if text and not any(c.isspace() or c in '"=' or not c.isprintable() for c in text)
        else json.dumps(text)
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
