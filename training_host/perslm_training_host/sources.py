"""Where a data set's lines come from: files and data set folders on this disk, read one line after the other.

Text and Markdown by paragraphs; JSON lines, CSV, Parquet and Hugging Face data sets saved to disk (Arrow) by rows.
A row is text or a dialogue, in any of the usual forms. What cannot be read is an `Unread` with its place, never
silence.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError

_TEXT_SUFFIXES = frozenset((".txt", ".md", ".markdown"))
_BATCH_ROWS = 512
_LONGEST_LINE = 1 << 20
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "prompter": "user"}
# (what is said, what is answered), as data sets call them
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "reply"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("input", "output"),
)
_TEXTS = ("text", "content", "sentence")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: from which source and place in it, its text or its messages, and what else is kept with it."""

    source: str
    place: str
    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unread:
    """A place that holds no line, and why."""

    source: str
    place: str
    why: str


def read(path: Path, column: str = "") -> Iterator[Line | Unread]:
    """The lines of a file, or of everything in a folder. `column` names the field that holds the text.

    Raises `InputError` for what is no file of a known kind.
    """
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        yield from _saved_dataset(path, column)
    elif path.is_dir():
        files = [one for one in sorted(path.rglob("*")) if one.is_file() and one.suffix.lower() in _READERS]
        if not files:
            raise InputError(f"{path} holds no file of a kind that can be read: {', '.join(sorted(_READERS))}")
        for file in files:
            yield from read(file, column)
    elif path.suffix.lower() not in _READERS:
        raise InputError(f"{path} is of no kind that can be read: {', '.join(sorted(_READERS))}, or a folder")
    else:
        try:
            yield from _READERS[path.suffix.lower()](path, column)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


def line_of(source: str, place: str, row: Mapping[str, Any], column: str = "") -> Line | Unread:
    """A row as a line, whatever form it has."""
    if column:
        found = row.get(column)
        return (
            Line(source, place, found) if isinstance(found, str) else Unread(source, place, f"no text in {column}")
        )
    for name in ("messages", "conversations", "conversation", "dialogue"):
        if isinstance(row.get(name), Sequence) and not isinstance(row[name], str):
            messages = _messages(row[name])
            return (
                Line(source, place, messages=messages) if messages else Unread(source, place, f"{name} are none")
            )
    for said, answered in _PAIRS:
        if isinstance(row.get(said), str) and isinstance(row.get(answered), str):
            more = row.get("input") if said == "instruction" else None
            asked = f"{row[said]}\n{more}" if isinstance(more, str) and more.strip() else row[said]
            return Line(source, place, messages=(("user", asked), ("assistant", row[answered])))
    text = next((row[name] for name in _TEXTS if isinstance(row.get(name), str)), None)
    if text is None:
        names = ", ".join(sorted(map(str, row)))[:80]
        return Unread(source, place, f"neither text nor messages in {names}: name the field with --column")
    return Line(source, place, text)


def _messages(found: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    messages: list[tuple[str, str]] = []
    for one in found:
        if not isinstance(one, Mapping):
            return ()
        role, said = one.get("role", one.get("from")), one.get("content", one.get("value"))
        if not isinstance(role, str) or not isinstance(said, str):
            return ()
        messages.append((_ROLES.get(role, role), said))
    return tuple(messages)


def _paragraphs(path: Path, _column: str) -> Iterator[Line | Unread]:
    part: list[str] = []
    first = 1
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                yield Unread(path.name, f"line {number}", "not UTF-8")
                continue
            if line.strip():
                first = first if part else number
                part.append(line)
            elif part:
                yield Line(path.name, f"line {first}", "".join(part))
                part = []
    if part:
        yield Line(path.name, f"line {first}", "".join(part))


def _json_lines(path: Path, column: str) -> Iterator[Line | Unread]:
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(_LONGEST_LINE + 1):
            number += 1
            place = f"line {number}"
            if len(raw) > _LONGEST_LINE:
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(_LONGEST_LINE)
                yield Unread(path.name, place, f"longer than {_LONGEST_LINE} bytes")
                continue
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except (ValueError, RecursionError):
                yield Unread(path.name, place, "no JSON in UTF-8")
                continue
            if isinstance(row, str):
                yield Line(path.name, place, row)
            elif isinstance(row, dict):
                yield line_of(path.name, place, row, column)
            else:
                yield Unread(path.name, place, "no JSON object")


def _csv_rows(path: Path, column: str) -> Iterator[Line | Unread]:
    csv.field_size_limit(_LONGEST_LINE)
    with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
        rows = csv.DictReader(file)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, UnicodeDecodeError) as error:
                yield Unread(path.name, f"line {rows.line_num + 1}", f"no CSV in UTF-8: {error}")
                return
            yield line_of(path.name, f"line {rows.line_num}", row, column)


def _parquet_rows(path: Path, column: str) -> Iterator[Line | Unread]:
    arrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            yield from _batches(path.name, file.iter_batches(batch_size=_BATCH_ROWS), column)
    except arrow.ArrowException as error:
        raise InputError(f"{path} is no whole Parquet file: {error}") from error


def _arrow_rows(path: Path, column: str) -> Iterator[Line | Unread]:
    arrow = _library("pyarrow")
    try:
        with arrow.OSFile(str(path)) as file, arrow.ipc.open_stream(file) as batches:
            yield from _batches(path.name, batches, column)
    except arrow.ArrowException as error:
        raise InputError(f"{path} is no whole Arrow stream: {error}") from error


def _library(name: str) -> Any:
    """A part of pyarrow, which only who reads such files needs."""
    return import_module(name)


def _batches(source: str, batches: Any, column: str) -> Iterator[Line | Unread]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield line_of(source, f"row {number}", row, column)


def _saved_dataset(folder: Path, column: str) -> Iterator[Line | Unread]:
    """What `datasets.save_to_disk` wrote: splits, each with a state that names its Arrow files."""
    try:
        if (folder / "dataset_dict.json").is_file():
            for split in json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]:
                yield from _saved_dataset(folder / split, column)
            return
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        files = [folder / one["filename"] for one in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is no data set that was saved to disk: {error}") from error
    for file in files:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{folder} names a file outside of itself: {file.name}")
        yield from _arrow_rows(file, column)


_READERS = {
    **dict.fromkeys(_TEXT_SUFFIXES, _paragraphs),
    ".jsonl": _json_lines,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}
