"""What the board knows of its updates: which model is on probation, where it goes back to, what is never retried.

One small file, written whole and synced before anything it tells of is done. Every function blocks on the disk.
What cannot be read counts as nothing known, which costs a model its probation and no more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from perslm_daemon import kept
from perslm_runtime.errors import InputError
from perslm_runtime.fingerprint import read_json, write_json

log = logging.getLogger("perslm.updates")

KEYS = {
    "llm": "model.id",
    "adapter": "model.adapter",
    "stt": "stt.id",
    "tts": "tts.id",
    "embed": "embed.id",
    "wake": "wake.bundle",
    "intents": "intents.bundle",
}
"""The configuration key that names the model of a kind; "" where a board has none of those that are laid over."""

PART = {"llm": "model", "adapter": "model"}
"""The engine that a kind is part of; the others go by their own name."""


def require_kind(kind: str) -> None:
    """Raise `InputError` for a kind that no model has."""
    if kind not in KEYS:
        raise InputError(f"there is no kind {kind[:40]!r}: kinds are {', '.join(KEYS)}")


MOST_STARTS = 2
"""Ends that nobody asked for, on trial or on probation; with the next start the former model is back for good."""

_NAME = "updates.json"
# The draft has one name: a way back that met the note of a start on a slow disk found its draft gone, and stayed.
_one_at_a_time = threading.Lock()
_MOST_HISTORY = 50
_MOST_TRIALS = 8


class Watch(msgspec.Struct):
    """A model on probation: its kind, what was there before, and what has happened since (Unix seconds).

    `running` is true from the start to the orderly end of a process: a start that finds it true follows a crash.
    `before_ms` is the answers' median latency before, None where too few were given.
    """

    name: str
    kind: str
    former: str
    since_s: float
    errors: int = 0
    answers: int = 0
    corrections: int = 0
    starts: int = 0
    running: bool = False
    before_ms: float | None = None


class Step(msgspec.Struct):
    """Something that was done, for people: when (Unix seconds), with which model, what, and why."""

    at_s: float
    name: str
    step: str
    why: str = ""


class Book(msgspec.Struct):
    """The file's content. `refused` says why a model is not tried again; `pinned` and `former` go by kind.

    `tried` has what a model's trial measured (update_probe.Measured), of the last few. `trying` is the model whose
    trial is under way, and `ended_in_trial` counts the ends of a process that had one.
    """

    watch: Watch | None = None
    refused: dict[str, str] = {}
    pinned: dict[str, str] = {}
    former: dict[str, str] = {}
    checked_s: float | None = None
    tried: dict[str, dict[str, float | None]] = {}
    trying: str = ""
    ended_in_trial: dict[str, int] = {}
    history: list[Step] = []

    def note(self, name: str, step: str, why: str = "") -> None:
        """Keep a step; the oldest of many go."""
        self.history = [*self.history, Step(time.time(), name, step, why)][-_MOST_HISTORY:]

    def note_trial(self, name: str, outcome: dict[str, float | None]) -> None:
        """Keep what a trial measured."""
        known = {other: told for other, told in self.tried.items() if other != name}
        self.tried = dict([*known.items(), (name, outcome)][-_MOST_TRIALS:])

    def outcomes(self) -> dict[str, str]:
        """The last step of every model that was begun with, as far back as is kept."""
        return {one.name: one.step for one in self.history}


def read(data_dir: Path) -> Book:
    """What is known; nothing where there is no file or none that can be read."""
    try:
        return msgspec.convert(read_json(data_dir / _NAME), Book)
    except msgspec.ValidationError as error:
        log.warning("updates_unreadable file=%s error=%s", data_dir / _NAME, error)
        return Book()


def write(data_dir: Path, book: Book) -> None:
    """Keep it, durably. Raises OSError. Any thread may call it."""
    with _one_at_a_time:
        write_json(data_dir / _NAME, msgspec.to_builtins(book))


def chosen(book: Book, in_use: Mapping[str, str], values: Mapping[str, object]) -> bool:
    """Note what a person names in the place of what is `in_use`: no failure of that, and the way back to it.

    Returns whether the book changed. Without it a model on probation that somebody turned from counted as one
    that could not be started, was refused for good, deleted, and told of to its host as failed.
    """
    changed = False
    for kind, key in KEYS.items():
        now, wanted = in_use[kind], str(values.get(key) or "")
        if key not in values or wanted == now or (book.watch is not None and book.watch.name == wanted):
            continue
        if book.watch is not None and book.watch.kind == kind:
            book.note(book.watch.name, "left", f"somebody chose {wanted or 'none'}")
            book.watch = None
        book.former = {**book.former, kind: now}
        changed = True
    return changed


def go_back(data_dir: Path, book: Book, watch: Watch, why: str) -> None:
    """Name the former model again, and never try this one any more. Durable; raises OSError.

    The order matters for a power cut in between: a model that is refused and still named is put right by the next
    start, one that is no longer named and not refused would be tried again.
    """
    book.refused = {**book.refused, watch.name: why}
    book.watch = None
    book.note(watch.name, "rolled_back", why)
    write(data_dir, book)
    kept.change(data_dir, {KEYS[watch.kind]: watch.former})


def settle(data_dir: Path) -> str:
    """Before the engines start, put the models right after a crash loop, or a power cut in the middle of a change.

    Returns what was done as a sentence; "" where nothing was.
    """
    book = read(data_dir)
    named = kept.read(data_dir)
    try:
        on_trial = bool(book.trying)
        told = _ended_in_trial(data_dir, book) if on_trial else ""
        for kind, key in KEYS.items():
            name = str(named.get(key, ""))
            if name in book.refused and book.watch is None and (former := book.former.get(kind)) != name:
                kept.change(data_dir, {key: former})
                return f"{name} is not used any more: {book.refused[name]}"
        watch = book.watch
        if watch is None:
            return told
        if watch.running and not on_trial:  # else it is the other one that is suspected
            watch.starts += 1
        if watch.starts >= MOST_STARTS:
            why = f"PersLM ended {watch.starts} times without being asked to while it was new"
            go_back(data_dir, book, watch, why)
            return f"{watch.name} is taken back: {why}"
        watch.running = True
        write(data_dir, book)
    except OSError as error:
        log.warning("updates_not_settled error=%s", error.strerror)
        return ""
    return told


def _ended_in_trial(data_dir: Path, book: Book) -> str:
    """The process ended in the middle of a trial: the model in use was and is the former one. Raises OSError.

    One end may be a pulled plug; a model whose trial takes the board down again is never tried any more.
    """
    name, book.trying = book.trying, ""
    times = book.ended_in_trial.get(name, 0) + 1
    book.ended_in_trial = {**book.ended_in_trial, name: times}
    why = f"PersLM ended {times} times without being asked to while it was tried"
    if times >= MOST_STARTS:
        book.refused = {**book.refused, name: why}
        book.note(name, "refused", why)
    write(data_dir, book)
    return f"{name} is not tried any more: {why}" if name in book.refused else ""


def begin_trial(data_dir: Path, book: Book, name: str) -> None:
    """Note that a model is tried from now on, for the case that this ends the process. Durable; raises OSError."""
    book.trying = name
    write(data_dir, book)


def end_trial(data_dir: Path, book: Book) -> None:
    """The trial is over, whatever came of it. What cannot be written costs a model one of its two ends."""
    ended = {name: times for name, times in book.ended_in_trial.items() if name != book.trying}
    book.trying, book.ended_in_trial = "", ended
    try:
        write(data_dir, book)
    except OSError as error:
        log.warning("updates_not_written error=%s", error.strerror)


def ended(data_dir: Path) -> None:
    """The process ends in an orderly way: that is no sign against the new model."""
    book = read(data_dir)
    if book.watch is not None and book.watch.running:
        book.watch.running, book.watch.starts = False, 0
        try:
            write(data_dir, book)
        except OSError as error:
            log.warning("updates_not_written error=%s", error.strerror)
