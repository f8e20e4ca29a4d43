"""Has the language model read what the rules did not understand, when nobody waits: what it tells of people.

Owns the order of the two questions (fact_reading.py). The next turn stops it within a token; then the memory is
asked about again. Knows no words of a person's but those it passes on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from perslm_daemon import engine_calls
from perslm_daemon.turn import Parts
from perslm_runtime.facts import Statement
from perslm_runtime.memory_claims import Unread

log = logging.getLogger("perslm.memory")

_AT_ONCE = 8  # memories: their notes are checked together, because each of the two prompts has a head of its own
_LARGE_BYTES = 600_000_000  # a billion parameters at four bits; what is smaller is right too seldom (DECISIONS.md)


class Reading:
    """Asks the model of `parts` about new memories; `wanted` is "on", "off" or "auto": where it is large."""

    def __init__(self, parts: Parts, wanted: str = "off") -> None:
        self._parts = parts
        self.wanted = wanted
        self.relief: Callable[[], Awaitable[None]] | None = None
        """As `Pipeline.relief`: waited for before every few memories, because a backlog takes minutes."""

    async def read(self) -> None:
        """Ask about all that is new. Cancelling leaves what was not finished for the next time."""
        memory = self._parts.memory
        if memory is None or not await self._can():
            return
        while new := await memory.call(engine_calls.unread, _AT_ONCE):
            if self.relief is not None:
                await self.relief()
            learned = 0
            for one, statements in zip(new, await self._understood(new), strict=True):
                learned += await memory.call(engine_calls.told_by_model, one, statements)
            if learned:
                log.info("memories_read=%d learned=%d", len(new), learned)

    async def _understood(self, new: list[Unread]) -> list[list[Statement]]:
        """What the model noted of each and stood by when asked again."""
        model = self._parts.model
        noted = [
            [await model.call(engine_calls.note, sentence, one.names) for sentence in one.sentences] for one in new
        ]
        return [
            [note.statement for note in notes if note is not None and await model.call(engine_calls.stands, note)]
            for notes in noted
        ]

    async def _can(self) -> bool:
        if self.wanted == "auto":
            return await self._parts.model.call(engine_calls.file_bytes) >= _LARGE_BYTES
        return self.wanted == "on"
