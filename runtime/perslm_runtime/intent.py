"""An intent: what a sentence wants, with its slots, as it travels through a turn. Knows nothing of sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perslm_runtime.when import When

Slot = str | int | float | When


@dataclass(frozen=True, slots=True)
class Intent:
    """What is wanted. Slots: `duration`, `of` (seconds), `when`, `name`, `what`, `level`, `step` (percent)."""

    name: str
    slots: Mapping[str, Slot] = field(default_factory=dict)

    def seconds(self, slot: str = "duration") -> int | None:
        """A slot of seconds."""
        value = self.slots.get(slot)
        return value if isinstance(value, int) else None

    def text(self, slot: str) -> str:
        """A slot of words; "" where there is none."""
        value = self.slots.get(slot)
        return value if isinstance(value, str) else ""

    @property
    def when(self) -> When | None:
        """The day and time that was said."""
        value = self.slots.get("when")
        return value if isinstance(value, When) else None


def slots_data(intent: Intent) -> dict[str, str | int | float]:
    """Slots as they go over a wire: a day and time as text."""
    return {name: _said(value) if isinstance(value, When) else value for name, value in intent.slots.items()}


def _said(when: When) -> str:
    clock = [] if when.hour is None else [f"{when.hour:02}:{when.minute:02}" + " exact" * when.exact]
    part = [when.part.name.lower()] if when.part else []
    fields = (
        (name, getattr(when, name)) for name in ("days", "weekday", "date") if getattr(when, name) is not None
    )
    every = [f"every={','.join(map(str, sorted(when.every)))}"] if when.every else []
    return " ".join([*clock, *part, *(f"{name}={value}" for name, value in fields), *every])
