"""What the house is told of the schedule: the event of each change, and the retained values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perslm_daemon.schedule_file import Item, Kind, State
from perslm_daemon.schedule_words import View

WAITS = frozenset((State.RUNNING, State.SNOOZED, State.UNKNOWN))
"""The states in which something is due at some time."""


@dataclass(slots=True)
class Change:
    """What one look or one command does: items to put and to take away, and events to tell."""

    put: dict[str, Item] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    events: list[tuple[str, Item]] = field(default_factory=list)

    def tell(self, event_type: str, item: Item) -> None:
        """Put an item and tell of it."""
        self.put[item.id] = item
        self.events.append((event_type, item))

    def end(self, event_type: str, item: Item) -> None:
        """Take an item away and tell of it."""
        self.put.pop(item.id, None)
        self.gone.add(item.id)
        self.events.append((event_type, item))


def event_of(item: Item) -> Mapping[str, Any]:
    """The fields of an item's event."""
    told: dict[str, Any] = {
        "id": item.id,
        "kind": item.kind.value,
        "name": item.name,
        "seconds": round(item.total_s),
    }
    if item.text:
        told["text"] = item.text
    if item.late_s:
        told["late_s"] = round(item.late_s)
    if item.why:
        told |= {"why": item.why, "off": item.off}
    return told


def kept(view: View) -> dict[str, Any]:
    """An item as the retained value has it: nothing in it changes by the second."""
    item = view.item
    at = view.at.isoformat(timespec="seconds") if view.at else None
    told = {"id": item.id, "kind": item.kind.value, "name": item.name, "state": item.state.value, "at": at}
    if item.state is State.PAUSED:
        told["seconds_left"] = str(round(item.left_s))
    if item.kind is Kind.COMMAND:
        told["text"] = item.text
    return told


def next_one(views: Iterable[View]) -> dict[str, Any]:
    """The soonest that waits, as a value; `at` is None where there is none."""
    for view in views:
        if view.item.state in WAITS and view.at is not None:
            at = view.at.isoformat(timespec="seconds")
            return {"at": at, "id": view.item.id, "name": view.item.name or view.item.text}
    return {"at": None, "id": None, "name": None}
