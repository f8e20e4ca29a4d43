"""What PersLM is asked of itself: to remember and forget, what it knows, and what it can do. A pipeline's skills.

Forgetting everything waits for a yes, in the same conversation and soon. Guests hear and change nothing of it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.home import Home
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import GUEST, Answered, Ask
from perslm_runtime.errors import PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane

log = logging.getLogger("perslm.skills")

_SURE_S = 30.0
_JUST_NOW = timedelta(minutes=5)
_MOST_KNOWN = 8
_YES = re.compile(r"\W*(yes|yeah|yep|sure|do it|yes please|i am sure|i'm sure|confirm)\b.{0,20}", re.IGNORECASE)
_ORDINARY = re.compile(
    r"a|an|the|my|your|our|his|her|is|are|was|of|to|in|on|at|and|or|that|about|me|i|you|it|for|with", re.IGNORECASE
)


@dataclass(slots=True)
class About:
    """Answers what is asked of PersLM itself; None leaves the sentence to others."""

    recognizer: Lane[Any]
    pipeline: Pipeline
    home: Home | None = None
    now: Callable[[], float] = time.monotonic
    _sure: dict[str, float] = field(default_factory=dict)

    async def __call__(self, ask: Ask) -> Answered | None:
        """Do it and say what came of it."""
        try:
            intent: Intent | None = await self.recognizer.call(engine_calls.about, ask.text)
            if intent is None:
                return None
            said = await self._done(intent, ask)
        except PersLMError as error:
            intent, said = Intent("about"), f"{str(error)[:1].upper()}{str(error)[1:]}."
        return None if said is None else Answered(intent, said)

    async def confirmed(self, ask: Ask) -> Answered | None:
        """Forget everything where that waited for this yes. Ask it of every sentence: any other ends the wait."""
        waits = self._sure.pop(ask.conversation, None)
        if waits is None or self.now() >= waits or not _YES.fullmatch(ask.text):
            return None
        try:
            said = await self._forget(everything=True) or "There was nothing to forget."
        except PersLMError as error:
            said = f"{str(error)[:1].upper()}{str(error)[1:]}."
        return Answered(Intent("forget_all"), said)

    async def do(self, intent: Intent, ask: Ask) -> Answered | None:
        """Carry out an intent that somebody else understood."""
        said = await self._done(intent, ask)
        return None if said is None else Answered(intent, said)

    async def _done(self, intent: Intent, ask: Ask) -> str | None:
        if intent.name == "help":
            return self._help()
        what = intent.text("what")
        if self.pipeline.parts.memory is None or (ask.person == GUEST and what):
            return None
        if ask.person == GUEST:
            return "What I remember belongs to the people who live here."
        return await self._of_memory(intent.name, what, ask)

    async def _of_memory(self, name: str, what: str, ask: Ask) -> str | None:
        match name:
            case "remember":
                await self.pipeline.remember(_fact(what), ask.person)
                return "I will remember that."
            case "known":
                return await self._known(what, ask.person)
            case "forget_all":
                self._sure[ask.conversation] = self.now() + _SURE_S
                return "Do you really want me to forget everything?"
            case "forget_last":
                return await self._forget(since=datetime.now(UTC) - _JUST_NOW)
        return await self._forget(text=_without_ordinary(what), quietly=True)

    async def _known(self, what: str, person: str) -> str | None:
        """The facts that are remembered, or those about something; None where the model has to answer."""
        memory = self.pipeline.parts.memory
        if memory is None:
            return None
        if not what:
            entries = await memory.call(lambda store, _stop: store.list(limit=200))
            facts = [one.text for one in entries if one.kind == "fact" and one.person == person]
            if not facts:
                return "You have not asked me to remember anything yet."
            more = f" And {len(facts) - _MOST_KNOWN} more." if len(facts) > _MOST_KNOWN else ""
            return " ".join(_stop(fact) for fact in facts[:_MOST_KNOWN]) + more
        found = await self.pipeline.recall(what, _MOST_KNOWN, person)
        words = set(_without_ordinary(what).lower().split())
        about = [
            one.text
            for one in found
            if one.kind == "fact" and words & set(re.findall(r"[\w']+", one.text.lower()))
        ]
        return " ".join(map(_stop, about)) or None

    async def _forget(
        self,
        text: str | None = None,
        since: datetime | None = None,
        *,
        everything: bool = False,
        quietly: bool = False,
    ) -> str | None:
        """Forget in the memory and in the model's conversation; the pipeline's own `forget` would wait for us."""
        parts = self.pipeline.parts
        if parts.memory is None or (text is not None and not text):
            return None
        receipt = await parts.memory.call(engine_calls.forget, (), text, since, everything)
        if not receipt.count:
            return None if quietly else "There was nothing to forget."
        await parts.model.call(engine_calls.begin, [])
        log.info("forgotten count=%d", receipt.count)
        return "I have forgotten it." if receipt.count == 1 else f"I have forgotten {receipt.count} memories."

    def _help(self) -> str:
        """What can be said, with names of this home."""
        said = ["I answer questions, set timers, alarms and reminders, and remember what you tell me."]
        shown = [device for device in self.home.devices() if not device.hidden] if self.home is not None else []
        lamp = next((device for device in shown if device.domain == "light"), None)
        if lamp is not None:
            said.append(
                f"I work the devices of this home. Say for example: turn on {lamp.name}, is any window open,"
            )
            said.append("or turn everything off.")
        said.append("Say: set a timer for ten minutes, or: what do you know about me.")
        return " ".join(said)


def _fact(what: str) -> str:
    return _stop(what[:1].upper() + what[1:])


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _without_ordinary(text: str) -> str:
    return " ".join(word for word in text.split() if not _ORDINARY.fullmatch(word))
