"""Notes and lists, as sandboxed tools: what is kept in the one notebook of the house, changed and told.

Runs in the child, whose folder has the notebook and nothing else; who asks and when comes along with each call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from perslm_daemon.notebook import Notebook, list_name
from perslm_daemon.tool_world import ToolError, World
from perslm_daemon.wording import stopped

_MOST_NOTES_TOLD = 12
_MOST_TOLD_CHARACTERS = 20_000  # of a list's items for programs: what a message holds, in any script
FILE = "notebook.json"


def note_add(arguments: Mapping[str, Any], world: World) -> str:
    """Keep a note of `person`, made `now`."""
    text = str(arguments["text"])
    now, book = datetime.fromisoformat(str(arguments["now"])), _book(world)
    book.note(text[:1].upper() + text[1:], str(arguments["person"]), now)
    return f"It is noted.{_damage(book)}"


def notes_read(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """A person's notes about something, or all of them."""
    about = str(arguments["about"])
    found = _book(world).notes(str(arguments["person"]), "" if about == "everything" else about)
    if not found:
        return {"text": "There are no notes." if about in ("", "everything") else "No note is about that."}
    more = f" And {len(found) - _MOST_NOTES_TOLD} more." if len(found) > _MOST_NOTES_TOLD else ""
    told = " ".join(stopped(one.text) for one in found[:_MOST_NOTES_TOLD])
    return {"text": told + more, "data": {"count": len(found)}}


def note_drop(arguments: Mapping[str, Any], world: World) -> str:
    """Take out the one note that has these words."""
    _book(world).drop_note(str(arguments["text"]), str(arguments["person"]))
    return "The note is gone."


def list_add(arguments: Mapping[str, Any], world: World) -> str:
    """Put one or several items on a list."""
    which, book = list_name(str(arguments["list"])), _book(world)
    new = book.add(which, items_of(str(arguments["item"])))
    if not new:
        return f"That is on the {which} list already."
    return f"{_and(new)} {'is' if len(new) == 1 else 'are'} on the {which} list.{_damage(book)}"


def list_show(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """What is on a list."""
    which = list_name(str(arguments["list"]))
    items = _book(world).items(which)
    if not items:
        return {"text": f"The {which} list is empty."}
    shown, room = [], _MOST_TOLD_CHARACTERS
    for item in items:
        room -= len(item)
        if room < 0:
            break
        shown.append(item)
    more = f" and {len(items) - len(shown)} more" if len(shown) < len(items) else ""
    told = f"On the {which} list: {_and(shown)}{more}."
    return {"text": told, "source": which, "data": {"items": shown, "count": len(items)}}


def list_remove(arguments: Mapping[str, Any], world: World) -> str:
    """Take one item off a list."""
    which = list_name(str(arguments["list"]))
    gone = _book(world).remove(which, str(arguments["item"]))
    return f"{gone} is off the {which} list."


def list_clear(arguments: Mapping[str, Any], world: World) -> str:
    """Empty a list."""
    which = list_name(str(arguments["list"]))
    count = _book(world).clear(which)
    return f"The {which} list is empty." if count else f"The {which} list was empty already."


def items_of(said: str) -> tuple[str, ...]:
    """The items in what was said: "milk, eggs and bread" is three, "macaroni and cheese" may be one dish."""
    parts = [part.strip() for part in said.split(",") if part.strip()]
    if len(parts) > 1:
        last = re.sub(r"^and ", "", parts.pop())
        parts += last.split(" and ")
    elif re.fullmatch(r"\w+ and \w+", said.strip()) and said.strip().lower() not in _DISHES:
        parts = said.split(" and ")
    return tuple(re.sub(r"^(?:some|a|an) (?=\w)", "", part.strip(" .")) for part in parts if part.strip(" ."))


_DISHES = frozenset(
    ("macaroni and cheese", "fish and chips", "salt and pepper", "bread and butter", "gin and tonic")
)


def _book(world: World) -> Notebook:
    if world.folder is None:
        raise ToolError("there is no folder for the notes")
    return Notebook(world.folder / FILE)


def _damage(book: Notebook) -> str:
    if not book.put_aside:
        return ""
    return f" The notes and lists of before were damaged and are kept as {book.put_aside}."


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
