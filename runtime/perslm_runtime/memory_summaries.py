"""What days, weeks and months held: the person's own sentences that tell most, chosen by rarity of their words.

No model writes them, so nothing in them was never said. A summary hangs on the memories it quotes: forgetting one
of them deletes it, and the next look makes it anew from the rest.
"""

from __future__ import annotations

import json
import math
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from perslm_runtime import recall
from perslm_runtime.memory_db import Database, Row

Span = Literal["day", "week", "month"]
_SENTENCES = {"day": 4, "week": 6, "month": 8}
_LEAST_TURNS = 3  # a day with fewer is its own summary
_LONGEST_CHARS = 300  # of one quoted turn

_DAYS = """
SELECT person, date(at_us / 1000000, 'unixepoch', 'localtime') AS day FROM memory WHERE kind = 'turn'
GROUP BY person, day HAVING day < ?1 AND count(*) >= ?2
EXCEPT SELECT person, first FROM summary WHERE span = 'day' ORDER BY day LIMIT ?3
"""
_OF_DAY = """
SELECT id, said FROM memory
WHERE person = ?1 AND kind = 'turn' AND date(at_us / 1000000, 'unixepoch', 'localtime') = ?2 ORDER BY id
"""
_LONGER = """
SELECT person, {first} AS start FROM summary WHERE span = 'day'
GROUP BY person, start HAVING {after} <= ?1
EXCEPT SELECT person, first FROM summary WHERE span = '{span}' ORDER BY start LIMIT ?2
"""
_STARTS = {
    "week": ("date(first, 'weekday 0', '-6 days')", "date(start, '+7 days')"),
    "month": ("date(first, 'start of month')", "date(start, '+1 month')"),
}
_QUOTED = """
SELECT DISTINCT memory.id, said FROM summary JOIN summary_source ON summary_source.summary = summary.id
JOIN memory ON memory.id = summary_source.memory
WHERE summary.person = ?1 AND span = 'day' AND first >= ?2 AND first < ?3 ORDER BY memory.id
"""
_ADD = "INSERT INTO summary (uid, person, span, first, text) VALUES (?, ?, ?, ?, ?) RETURNING id"
_SOURCE = "INSERT INTO summary_source (summary, memory) VALUES (?, ?)"
_LIST = """
SELECT span, first, text, (SELECT json_group_array(memory) FROM summary_source WHERE summary = summary.id)
FROM summary JOIN person ON person.id = summary.person
WHERE person.name = ?1 AND (?2 IS NULL OR span = ?2) ORDER BY first, span
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a stretch of days held: its first day, the sentences, and the memories they are of."""

    span: str
    first: date
    text: str
    sources: tuple[int, ...]


class Summaries:
    """The summaries of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looked_on: date | None = None

    def forget_look(self) -> None:
        """Look again today: something was forgotten, and what quoted it has to be made anew."""
        self._looked_on = None

    def make(self, now: datetime, *, most: int = 16) -> int:
        """Summarise days, weeks and months that are over; how many. `now` is local. Looks once a day when done."""
        today = now.date()
        if self._looked_on == today:
            return 0
        made = 0
        for person, day in self._database.rows(_DAYS, (today.isoformat(), _LEAST_TURNS, most)):
            made += self._make(person, "day", day, self._database.rows(_OF_DAY, (person, day)))
        for span in ("week", "month"):
            first, after = _STARTS[span]
            sql = _LONGER.format(first=first, after=after, span=span)
            for person, day in self._database.rows(sql, (today.isoformat(), most)):
                rows = self._database.rows(_QUOTED, (person, day, _end(span, day)))
                made += self._make(person, span, day, rows)
        if made == 0:
            self._looked_on = today
        return made

    def of(self, person: str, span: str | None = None) -> list[Summary]:
        """A person's summaries, by their first day."""
        rows = self._database.rows(_LIST, (person, span))
        return [Summary(row[0], date.fromisoformat(row[1]), row[2], tuple(json.loads(row[3]))) for row in rows]

    def _make(self, person: int, span: str, first: str, rows: Sequence[Row]) -> int:
        chosen = self._telling([(row[0], row[1]) for row in rows], _SENTENCES[span])
        if not chosen:
            return 0
        text = " ".join(" ".join(said.split()) for _, said in chosen)
        with self._database.writing():
            summary = self._database.value(_ADD, (uuid.uuid4().hex, person, span, first, text))
            for memory, _ in chosen:
                self._database.rows(_SOURCE, (summary, memory))
        return 1

    def _telling(self, said: list[tuple[int, str]], most: int) -> list[tuple[int, str]]:
        """The sayings that tell most, in their order: rare words count, questions and repetitions do not."""
        words = {
            memory: set(recall.content_words(self._database.stems(text)))
            for memory, text in said
            if not recall.only_asks(text) and len(text) <= _LONGEST_CHARS
        }
        spread = Counter(stem for stems in words.values() for stem in stems)
        texts = dict(said)
        chosen: list[int] = []
        covered: set[str] = set()
        while len(chosen) < most:
            gain = {
                memory: sum(math.log(1 + len(words) / spread[stem]) for stem in stems - covered)
                / math.sqrt(4 + len(stems))
                for memory, stems in words.items()
                if memory not in chosen and stems - covered
            }
            if not gain:
                break
            best = max(gain, key=lambda memory: (gain[memory], -memory))
            chosen.append(best)
            covered |= words[best]
        return [(memory, texts[memory]) for memory in sorted(chosen)]


def _end(span: str, first: str) -> str:
    day = date.fromisoformat(first)
    if span == "week":
        return (day + timedelta(days=7)).isoformat()
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1).isoformat()
