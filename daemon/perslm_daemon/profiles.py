"""What is known of the people who ask, as lines with their vectors: what is near a question stands beside what is
recalled. Held in RAM, made of the memory's claims, made anew when those have changed and dropped by forgetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perslm_daemon import engine_calls
from perslm_daemon.turn import Parts, Vector
from perslm_runtime.known_lines import Line, near

_MOST_LINES = 256  # of a person; of more the newest
_AT_ONCE = 32  # texts embedded before a reply: 30 ms here, a third of a second on a Pi 4, and only once
_MOST_PEOPLE = 16


@dataclass(frozen=True, slots=True)
class _Profile:
    lines: tuple[Line, ...]
    vectors: Vector  # float32 [lines, d]


class Profiles:
    """The lines of everybody who asked since the start, over the engines of `parts`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._of: dict[str, _Profile] = {}

    async def near(self, text: str, vector: Vector | None, person: str) -> tuple[Line, ...]:
        """The few lines that are near a question, best first; of who asks for the first time only the newest."""
        if vector is None or self._parts.memory is None:
            return ()
        if person not in self._of:
            await self._make(person, _AT_ONCE)
        profile = self._of[person]
        return near(profile.lines, profile.vectors, text, vector)

    async def refresh(self) -> None:
        """Make everybody's anew; for idle time."""
        for person in tuple(self._of):
            await self._make(person, _MOST_LINES)

    def forget(self) -> None:
        """Drop all."""
        self._of.clear()

    async def _make(self, person: str, most_new: int) -> None:
        memory, embed = self._parts.memory, self._parts.embed
        if memory is None or embed is None:
            return
        told: Sequence[Line] = await memory.call(engine_calls.known_lines, person)
        before = self._of.get(person)
        known = (
            {}
            if before is None
            else {line.text: row for line, row in zip(before.lines, before.vectors, strict=True)}
        )
        new = [line.text for line in told[-_MOST_LINES:] if line.text not in known][-most_new:]
        if new:
            known |= dict(zip(new, await embed.call(engine_calls.embed, new), strict=True))
        lines = tuple(line for line in told[-_MOST_LINES:] if line.text in known)
        rows = [known[line.text] for line in lines]
        if len(self._of) >= _MOST_PEOPLE and before is None:
            self._of.pop(next(iter(self._of)))
        self._of[person] = _Profile(lines, np.stack(rows) if rows else np.empty((0, 1), np.float32))
