"""Notes and lists, kept in one file: notes are a person's, lists are the house's. Runs in a sandboxed child.

A change is on the disk when it returns; a file that is not whole is put aside. What is noted is no memory: it is
never recalled by itself, and stays until it is taken out. Whoever calls keeps changes apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from perslm_daemon.whole_file import put_aside, replace_whole
from perslm_runtime.errors import InputError, PersLMError

MOST_NOTES, MOST_LISTS, MOST_ITEMS = 1000, 50, 500
MOST_CHARACTERS = 500

T = TypeVar("T")


class NotebookNotKept(PersLMError):
    """The notes and lists cannot be read or written."""

    exit_code = 1


class NotebookDamaged(NotebookNotKept):
    """The notes and lists cannot be understood; a change begins new ones and keeps the file beside them."""


class Note(msgspec.Struct, frozen=True):
    """A note: what it says, whose it is, and when it was made (ISO 8601)."""

    text: str
    person: str
    at: str


class Pages(msgspec.Struct):
    """All of it: notes, oldest first, and lists by name."""

    notes: list[Note] = []
    lists: dict[str, list[str]] = {}


class Notebook:
    """The notes and lists of one file, which is read with every call."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.put_aside = ""
        """The name under which a damaged file is kept, once a change has begun a new one."""

    def note(self, text: str, person: str, now: datetime) -> None:
        """Add a note. Raises `InputError` where there are too many."""

        def add(pages: Pages) -> None:
            if len(pages.notes) >= MOST_NOTES:
                raise InputError(f"there are {MOST_NOTES} notes already: take some out first")
            pages.notes.append(Note(text[:MOST_CHARACTERS], person, now.isoformat(timespec="seconds")))

        self._change(add)

    def notes(self, person: str, about: str = "") -> list[Note]:
        """A person's notes, newest first; with `about` those that have one of its words."""
        words = set(_words(about))
        found = [one for one in _load(self._file).notes if one.person == person]
        return [one for one in reversed(found) if not words or words & set(_words(one.text))]

    def drop_note(self, text: str, person: str) -> str:
        """Take out the one note that has all these words; its text. Raises `InputError` for none or several."""
        words = set(_words(text))

        def drop(pages: Pages) -> str:
            found = [one for one in pages.notes if one.person == person and words <= set(_words(one.text))]
            if len(found) != 1:
                raise InputError(f"{len(found) or 'no'} notes fit: say more of the one you mean")
            pages.notes.remove(found[0])
            return found[0].text

        return self._change(drop)

    def lists(self) -> dict[str, tuple[str, ...]]:
        """Every list by name."""
        return {name: tuple(items) for name, items in _load(self._file).lists.items()}

    def items(self, name: str) -> tuple[str, ...]:
        """The items of a list; () where there is none of this name."""
        return self.lists().get(list_name(name), ())

    def add(self, name: str, items: tuple[str, ...]) -> tuple[str, ...]:
        """Put items on a list, which is made where there is none; those that were not on it yet."""

        def add(pages: Pages) -> tuple[str, ...]:
            kept = pages.lists.get(list_name(name))
            if kept is None:
                if len(pages.lists) >= MOST_LISTS:
                    raise InputError(f"there are {MOST_LISTS} lists already: empty one first")
                kept = pages.lists[list_name(name)] = []
            there = {item.lower() for item in kept}
            new = tuple(item[:MOST_CHARACTERS] for item in items if item.lower() not in there)
            if len(kept) + len(new) > MOST_ITEMS:
                raise InputError(f"a list has at most {MOST_ITEMS} items: take some off first")
            kept.extend(new)
            return new

        return self._change(add)

    def remove(self, name: str, item: str) -> str:
        """Take an item off a list, as it is written there. Raises `InputError` where it is not on it."""

        def remove(pages: Pages) -> str:
            kept = pages.lists.get(list_name(name), [])
            found = [one for one in kept if one.lower() == item.lower()] or [
                one for one in kept if set(_words(item)) <= set(_words(one))
            ]
            if len(found) != 1:
                raise InputError(f"{len(found) or 'no'} items of the {list_name(name)} list fit {item[:80]!r}")
            kept.remove(found[0])
            return found[0]

        return self._change(remove)

    def clear(self, name: str) -> int:
        """Take a list away; how many items it had."""

        def clear(pages: Pages) -> int:
            return len(pages.lists.pop(list_name(name), []))

        return self._change(clear)

    def _change(self, change: Callable[[Pages], T]) -> T:
        try:
            pages = _load(self._file)
        except NotebookDamaged:
            self.put_aside, pages = put_aside(self._file), Pages()
        before = msgspec.json.encode(pages)
        told = change(pages)
        body = msgspec.json.encode(pages)
        if body != before:
            _save(self._file, body)
        return told


def list_name(said: str) -> str:
    """A list by the name that is kept: "my Shopping List" is "shopping"."""
    words = [word for word in _words(said) if word not in ("my", "the", "our", "list")]
    return " ".join(words)[:60] or "shopping"


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _load(file: Path) -> Pages:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Pages)
    except FileNotFoundError:
        return Pages()
    except OSError as error:
        raise NotebookNotKept(f"the notes in {file} cannot be read ({error.strerror}): check it") from error
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise NotebookDamaged(
            f"the notes in {file.name} are damaged: the next note begins anew and keeps them beside it"
        ) from error


def _save(file: Path, body: bytes) -> None:
    try:
        replace_whole(file, body)
    except OSError as error:
        raise NotebookNotKept(
            f"the notes cannot be written to {file} ({error.strerror}): check the disk"
        ) from error
