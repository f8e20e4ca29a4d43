"""How a memory's row is read: one query, one value."""

from __future__ import annotations

from perslm_runtime.memory_db import Row
from perslm_runtime.memory_lines import Entry, from_us

ENTRY = """
SELECT memory.id, memory.uid, memory.kind, person.name, memory.at_us, memory.said, memory.reply,
       memory.conversation, memory.interrupted, memory.model, memory.source,
       teller.name, memory.kept, document.uid, used.times, used.last_us
FROM memory JOIN person ON person.id = memory.person
LEFT JOIN person AS teller ON teller.id = memory.teller
LEFT JOIN document ON document.id = memory.document
LEFT JOIN used ON used.id = memory.id
"""
"""To be followed by a WHERE or an ORDER BY."""


def entry_of(row: Row) -> Entry:
    """The memory in a row of `ENTRY`."""
    memory, uid, kind, person, at_us, said, reply, conversation, interrupted, model, source, *rest = row
    teller, kept, document, times, last_us = rest
    return Entry(
        memory,
        uid,
        kind,
        person,
        from_us(at_us),
        said,
        reply,
        conversation,
        bool(interrupted),
        model,
        source,
        teller,
        bool(kept),
        document,
        None if times is None else (times, from_us(last_us)),
    )
