"""What came of a wish, as a turn tells it: its intent with what was said, how it ended, and a whole sentence."""

from __future__ import annotations

from collections.abc import Sequence

from perslm_daemon.home_device import Happened, Outcome
from perslm_runtime.home_wish import Wish
from perslm_runtime.intent import Intent, Slot


def intent_of(wish: Wish) -> Intent:
    """A wish as it is told: what was said of places and things, and its value."""
    slots: dict[str, Slot] = {}
    said = ", ".join(target.said for target in wish.targets if target.said)
    areas = [area for target in (*wish.targets, *([wish.place] if wish.place else [])) for area in target.areas]
    floors = [
        floor for target in (*wish.targets, *([wish.place] if wish.place else [])) for floor in target.floors
    ]
    if said:
        slots["target"] = said
    if areas:
        slots["area"] = ", ".join(areas)
    if floors:
        slots["floor"] = ", ".join(floors)
    if wish.number is not None:
        slots["number"] = wish.number
    if wish.word:
        slots["word"] = wish.word
    return Intent(wish.name, slots)


def how(outcomes: Sequence[Outcome]) -> str:
    """How an action ended, in the word of a turn's `Done`."""
    if not outcomes:
        return "nothing"
    kinds = {one.happened for one in outcomes}
    if Happened.NEEDS_CONFIRMATION in kinds:
        return "asked"
    if kinds == {Happened.TOLD}:
        return "told"
    if kinds == {Happened.FORBIDDEN}:
        return "forbidden"
    good = [one.happened.good for one in outcomes]
    return "done" if all(good) else "partly" if any(good) else "failed"


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    if not text:
        return ""
    said = text[:1].upper() + text[1:]
    return said if said.endswith((".", "?", "!")) else f"{said}."
