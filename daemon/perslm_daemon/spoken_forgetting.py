"""Forgetting by voice: "forget that", "forget the last hour", "forget everything about Ludwig".

Understands the sentence, and asks before it forgets several; erasing is handed in. Such a turn leaves no trace: it
names what is to be forgotten.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from perslm_daemon.recollection import Recollection
from perslm_daemon.turn import Answered, Ask
from perslm_runtime.errors import InputError
from perslm_runtime.intent import Intent
from perslm_runtime.memory import Memory
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import Forgotten
from perslm_runtime.memory_lines import clean
from perslm_runtime.recall import STOP_WORDS
from perslm_runtime.spans import span_of

_FORGET = re.compile(r"(?:(?:please|can you|could you|will you) )*forget (?P<what>.+)")
_THAT = re.compile(r"(?:that|this|what (?:i|we) just said|the last thing (?:i|we) said)")
_EVERYTHING = re.compile(r"everything(?: (?:you know )?about me| i (?:have )?(?:ever )?(?:said|told you))?")
_ALL = (
    r"(?:everything|all|anything|what)"
    r"(?: (?:that )?(?:i|we|you|was)(?: (?:have|had|ever))?(?: (?:said|told you|heard|know|talked|asked))?)?"
)
_ABOUT = re.compile(rf"(?:{_ALL} )?(?:about|of|on) (?P<whom>.+)")
_DURING = re.compile(rf"(?:{_ALL} )?(?:(?:in|from|during|of|since|for) )?(?P<span>.+)")
_YES = re.compile(r"(?:yes|yeah|yep|sure|ok|okay|do it|go ahead)(?: please| do it| do that)?")
_SHALL_I = "Shall I forget {count} memories for good?"
_HELD_S = 60.0  # a yes that comes later means something else

Erase = Callable[[Wanted], Awaitable[Forgotten]]


class SpokenForgetting:
    """Answers sentences that ask to forget, and the yes after its question; None for all others."""

    def __init__(self, recollection: Recollection, erase: Erase) -> None:
        self._recollection, self._erase = recollection, erase
        self._asked: tuple[str, str, Wanted, float] | None = None

    async def __call__(self, ask: Ask, *, before: str | None = None) -> Answered | None:
        """Forget, or ask whether to; a yes counts in the same conversation, and anything else lets it be.

        `before` is what was said just before it, where the conversation is not on record: "that" then means the
        latest memory only if it says so.
        """
        words = _words(ask.text)
        asked, self._asked = self._asked, None
        if not self._recollection.serves(ask.person):
            return None
        if asked is not None and _YES.fullmatch(words):
            person, conversation, wanted, until = asked
            meant = (person, conversation) == (ask.person, ask.conversation) and time.monotonic() < until
            return await self._forget(wanted) if meant else None
        doomed = await self._wanted(words, ask.person, before)
        if doomed is None:
            return None
        found = await self._recollection.lane.call(lambda memory, _stop: memory.matching(doomed))
        if len(found) < 2:
            return await self._forget(doomed)
        self._asked = (ask.person, ask.conversation, doomed, time.monotonic() + _HELD_S)
        return _answer(_SHALL_I.format(count=len(found)))

    async def _forget(self, wanted: Wanted) -> Answered:
        count = (await self._erase(wanted)).count
        if not count:
            return _answer("I remember nothing of that.")
        return _answer("It is forgotten for good." if count == 1 else f"{count} memories are forgotten for good.")

    async def _wanted(self, words: str, person: str, before: str | None) -> Wanted | None:
        match = _FORGET.fullmatch(words)
        if match is None:
            return None
        if _THAT.fullmatch(match["what"]):
            return await self._recollection.lane.call(lambda memory, _stop: _latest(memory, person, before))
        if _EVERYTHING.fullmatch(match["what"]):
            return Wanted(since=datetime(1970, 1, 1, tzinfo=UTC), owner=person)
        if about := _ABOUT.fullmatch(match["what"]):
            telling = [word for word in about["whom"].split() if word not in STOP_WORDS]
            if telling and _span(about["whom"]) is None:
                return Wanted(text=" ".join(telling), owner=person)
        if (during := _DURING.fullmatch(match["what"])) and (span := _span(during["span"])) is not None:
            return Wanted(since=span[0], until=span[1], owner=person)
        return None


def is_yes(text: str) -> bool:
    """Whether a sentence agrees to what was asked just before it."""
    return _YES.fullmatch(_words(text)) is not None


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^\w'’:-]+", " ", text.lower()).split())


def _span(words: str) -> tuple[datetime, datetime | None] | None:
    try:
        span = span_of(words, datetime.now().astimezone())
    except InputError:
        return None
    return span.since, span.until


def _latest(memory: Memory, person: str, before: str | None) -> Wanted | None:
    """The person's last turn, with the facts that were told in it; None where it is another than `before`."""
    turns = memory.list("turn", 1, 0, person)
    if not turns or (before is not None and turns[0].said != clean(before)):
        return None
    since = turns[0].when - timedelta(seconds=5)
    facts = [one.id for one in memory.list("fact", 5, 0, person) if one.when >= since]
    return Wanted(ids=(turns[0].id, *facts), owner=person)


def _answer(text: str) -> Answered:
    return Answered(Intent("forget", {}), text)
