"""Examples that people let go to their training host: a queue beside the memories they were made of.

Owns their states: waiting (to be looked at, changed, dropped), sent, withdrawing (the host has to be told),
withdrawn. What lies here is redacted already, and is redacted again with what is known by then before it goes.
Whether anything may go at all is decided by who calls. One thread uses it, the memory's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perslm_runtime.errors import InputError
from perslm_runtime.memory_db import Database, Row
from perslm_runtime.memory_lines import clean, from_us

if TYPE_CHECKING:
    from perslm_runtime.redaction import Redaction

KINDS = ("corrections", "failed", "conversations")
STATES = ("waiting", "sent", "withdrawing", "withdrawn")
MOST_WAITING = 1000
"""Of each person; the oldest gives way."""

_COLUMNS = "SELECT id, uid, person, kind, at_us, body, state, changed_us, receipt FROM example "
_ADD = "INSERT INTO example (uid, person, kind, at_us, body, changed_us) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"
_SOURCE = "INSERT INTO example_source (example, memory) SELECT ?, id FROM memory WHERE id = ?"
_SAME = """
SELECT example FROM example_source JOIN example ON example.id = example
WHERE memory = ? AND kind = ? AND state IN ('waiting', 'sent')
"""
_TOO_MANY = """
DELETE FROM example WHERE id IN (
    SELECT id FROM example WHERE person = ?1 AND state = 'waiting' ORDER BY id DESC LIMIT -1 OFFSET ?2
)
"""
_OF_PERSON = f"""{_COLUMNS}
WHERE person = ?1 AND state IN (SELECT value FROM json_each(?2)) ORDER BY id DESC LIMIT ?3
"""  # noqa: S608 - of constants
_ONE = f"{_COLUMNS} WHERE id = ?1 AND person = ?2"
# What was on its way when the process ended has no receipt: it goes again, and the host keeps it once.
_READY = f"""{_COLUMNS}
WHERE (state = 'waiting' AND changed_us <= ?1 OR state = 'sent' AND receipt = '') AND EXISTS (
    SELECT 1 FROM json_each(?2) WHERE value ->> 0 = person AND value ->> 1 = kind
) ORDER BY id LIMIT ?3
"""  # noqa: S608 - of constants
_UNTIMED = "SELECT id FROM example WHERE state = 'waiting' AND changed_us = 0 LIMIT 1"
_BEGIN = "UPDATE example SET changed_us = ? WHERE state = 'waiting' AND changed_us = 0"
_BODY = "UPDATE example SET body = ?, changed_us = ? WHERE id = ? AND person = ? AND state = 'waiting'"
_DROP = "DELETE FROM example WHERE id = ? AND person = ? AND state = 'waiting'"
_DROP_KIND = "DELETE FROM example WHERE person = ? AND kind = ? AND state = 'waiting'"
_TURN_ROUND = """
UPDATE example SET state = 'withdrawing', body = ''
WHERE person = ? AND kind = ? AND state = 'sent' AND receipt = ''
"""
_WITHDRAW = """
UPDATE example SET state = 'withdrawing', body = ''
WHERE person = ?1 AND state = 'sent' AND (?2 IS NULL OR id = ?2)
"""
_SENDING = "UPDATE example SET state = 'sent', changed_us = ? WHERE uid = ? AND state = 'waiting'"
_SENT = "UPDATE example SET receipt = ? WHERE uid = ? AND state = 'sent'"
_WITHDRAWING = "SELECT uid FROM example WHERE state = 'withdrawing' ORDER BY id LIMIT ?"
_WITHDRAWN = "UPDATE example SET state = 'withdrawn', body = '', changed_us = ? WHERE uid = ?"
_COUNT = "SELECT state, kind, count(*) FROM example WHERE ?1 IS NULL OR person = ?1 GROUP BY state, kind"
_NAMES = "SELECT value FROM claim WHERE relation IN ('name', 'works at') UNION SELECT name FROM person"
_PLACES = "SELECT value FROM claim WHERE relation IN ('lives in', 'comes from', 'address')"


@dataclass(frozen=True, slots=True)
class Example:
    """One example: whose it is, of which kind, when it happened, what would be sent, and what became of it."""

    id: int
    uid: str
    person: str
    kind: str
    at: datetime
    body: Mapping[str, Any]
    state: str
    changed: datetime
    receipt: str


class Examples:
    """The queue in one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._redaction: tuple[tuple[str, ...], Redaction] | None = None

    def add(
        self,
        person: str,
        kind: str,
        body: Mapping[str, Any],
        sources: Sequence[int],
        at_us: int,
        region: str = "US",
        *,
        waits: bool = True,
    ) -> int | None:
        """Queue an example, redacted, made of the memories `sources`; its id, None where it is queued already.

        One whose memories are gone meanwhile is not queued. Where the clock is not set (not `waits`) its time of
        waiting begins with `begin_waiting`.
        """
        if any(self._database.value(_SAME, (memory, kind)) is not None for memory in sources[:1]):
            return None
        text = _json(redacted(self.redaction(region), body))
        since = at_us if waits else 0
        with self._database.writing():
            example = int(self._database.value(_ADD, (uuid.uuid4().hex, clean(person), kind, at_us, text, since)))
            for memory in sources:
                self._database.rows(_SOURCE, (example, memory))
                if not self._database.changed_rows:
                    self._database.rows("DELETE FROM example WHERE id = ?", (example,))
                    return None
            self._database.rows(_TOO_MANY, (clean(person), MOST_WAITING))
        return example

    def begin_waiting(self, now_us: int) -> None:
        """The clock is set now: what was queued before that waits from here on."""
        if self._database.value(_UNTIMED) is not None:
            with self._database.writing():
                self._database.rows(_BEGIN, (now_us,))

    def of(self, person: str, states: Sequence[str], limit: int = 200) -> list[Example]:
        """A person's examples in these states, the latest first."""
        rows = self._database.rows(_OF_PERSON, (clean(person), json.dumps(list(states)), limit))
        return [_example(row) for row in rows]

    def one(self, example: int, person: str) -> Example:
        """A person's example. Raises `InputError` where there is none of this id."""
        rows = self._database.rows(_ONE, (example, clean(person)))
        if not rows:
            raise InputError(
                f"there is no example {example} of {person}: `perslm share list` tells which there are"
            )
        return _example(rows[0])

    def to_send(
        self, before_us: int, allowed: Iterable[tuple[str, str]], limit: int, now_us: int, region: str = "US"
    ) -> list[Example]:
        """What waits since before then and is of a (person, kind) that is allowed, to be sent; it counts as sent.

        Durably so, before any of it leaves: what is forgotten or dropped meanwhile is then taken back at the host.
        It is redacted anew, with what is known by now.
        """
        pairs = json.dumps([list(pair) for pair in allowed])
        redaction = self.redaction(region)
        found: list[Example] = []
        rows = self._database.rows(_READY, (before_us, pairs, limit))
        if rows:
            with self._database.writing():
                for row in rows:
                    body = _json(redacted(redaction, json.loads(row[5])))
                    self._database.rows("UPDATE example SET body = ? WHERE id = ?", (body, row[0]))
                    self._database.rows(_SENDING, (now_us, row[1]))
                    found.append(_example((*row[:5], body, *row[6:])))
        return found

    def edit(self, example: int, person: str, body: Mapping[str, Any], now_us: int) -> None:
        """Put other words in the place of an example's. Raises `InputError` for one that waits no more."""
        with self._database.writing():
            self._database.rows(_BODY, (_json(body), now_us, example, clean(person)))
            if not self._database.changed_rows:
                state = self.one(example, person).state
                raise InputError(f"example {example} is {state}: only what waits can be changed")

    def drop(self, example: int, person: str) -> str:
        """Take an example back; "dropped" where it waited, else "withdrawing" or "withdrawn"."""
        state = self.one(example, person).state
        with self._database.writing():
            self._database.rows(_DROP, (example, clean(person)))
            self._database.rows(_WITHDRAW, (clean(person), example))
        self._database.wipe_freed()
        return {"waiting": "dropped", "sent": "withdrawing"}.get(state, state)

    def drop_kind(self, person: str, kind: str) -> int:
        """Drop what waits of a kind; how many."""
        with self._database.writing():
            self._database.rows(_DROP_KIND, (clean(person), kind))
            dropped = self._database.changed_rows
            self._database.rows(_TURN_ROUND, (clean(person), kind))  # nobody knows whether it came
        self._database.wipe_freed()
        return dropped

    def withdraw(self, person: str) -> int:
        """Take back everything of a person that was sent; how many the host has to be told of."""
        with self._database.writing():
            self._database.rows(_WITHDRAW, (clean(person), None))
            return self._database.changed_rows

    def sent(self, uids: Iterable[str], receipt: str) -> None:
        """The host has them, and gave this receipt."""
        with self._database.writing():
            for uid in uids:
                self._database.rows(_SENT, (receipt, uid))

    def withdrawing(self, limit: int) -> list[str]:
        """The uids that the host has to be told are taken back."""
        return [row[0] for row in self._database.rows(_WITHDRAWING, (limit,))]

    def withdrawn(self, uids: Iterable[str], now_us: int) -> None:
        """The host knows that they are taken back."""
        with self._database.writing():
            for uid in uids:
                self._database.rows(_WITHDRAWN, (now_us, uid))

    def counts(self, person: str | None = None) -> dict[str, dict[str, int]]:
        """How many in each state, by kind; of everybody where no person is named."""
        found: dict[str, dict[str, int]] = {}
        for state, kind, count in self._database.rows(_COUNT, (person,)):
            found.setdefault(state, {})[kind] = count
        return found

    def redaction(self, region: str = "US") -> Redaction:
        """What takes out the names and places that this memory knows, and everything private by its form."""
        from perslm_runtime.redaction import Redaction  # noqa: PLC0415 - only who shares pays for phone numbers

        known = tuple(sorted(row[0] for row in self._database.rows(_NAMES) if row[0].lower() not in _NOBODY))
        places = tuple(sorted(row[0] for row in self._database.rows(_PLACES)))
        key = (region, *known, "", *places)
        if self._redaction is None or self._redaction[0] != key:
            self._redaction = (key, Redaction(known, places, (region, "US", "GB", "DE")))
        return self._redaction[1]


def redacted(redaction: Redaction, body: Mapping[str, Any]) -> dict[str, Any]:
    """An example's body with everything private taken out of what people said and were told."""
    return {**body, **{part: redaction.of_data(body[part]) for part in _WORDS if part in body}}


_WORDS = ("messages", "meant", "intents")
_NOBODY = frozenset(("owner", "(everybody)", "(guest)"))


def _example(row: Row) -> Example:
    number, uid, person, kind, at_us, body, state, changed_us, receipt = row
    said = json.loads(body) if body else {}
    return Example(number, uid, person, kind, from_us(at_us), said, state, from_us(changed_us), receipt)


def _json(body: Mapping[str, Any]) -> str:
    return clean(json.dumps(body, ensure_ascii=False))
