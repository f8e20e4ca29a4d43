"""What PersLM is asked of itself: to remember, what it knows, and what it can do. Skills of the pipeline.

Forgetting is spoken_forgetting.py's. Guests hear and change nothing of what is remembered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.home import Home
from perslm_daemon.recollection import TELLS, Recollection
from perslm_daemon.turn import GUEST, Answered, Ask
from perslm_daemon.wording import stopped
from perslm_runtime.errors import PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane

_MOST_KNOWN = 8
_ORDINARY = re.compile(
    r"a|an|the|my|your|our|his|her|is|are|was|of|to|in|on|at|and|or|that|about|me|i|you|it|for|with", re.IGNORECASE
)


@dataclass(slots=True)
class About:
    """Answers what is asked of PersLM itself; None leaves the sentence to others."""

    recognizer: Lane[Any]
    recollection: Recollection
    home: Home | None = None

    async def __call__(self, ask: Ask) -> Answered | None:
        """Do it and say what came of it."""
        try:
            intent: Intent | None = await self.recognizer.call(engine_calls.about, ask.text)
            return None if intent is None else await self.do(intent, ask)
        except PersLMError as error:
            return Answered(Intent("about"), f"{str(error)[:1].upper()}{str(error)[1:]}.")

    async def do(self, intent: Intent, ask: Ask) -> Answered | None:
        """Carry out an intent, whoever understood it."""
        what = intent.text("what")
        if intent.name == "help":
            return Answered(intent, self._help())
        if not self.recollection.serves(ask.person):
            answers = ask.person == GUEST and not what
            return Answered(intent, "What I remember belongs to the people who live here.") if answers else None
        if intent.name == "remember":
            if not TELLS.match(ask.text):  # else it is stored with the turn
                await self.recollection.remember(stopped(what[:1].upper() + what[1:]), ask.person)
            return Answered(intent, "I will remember that.")
        said = await self._known(what, ask.person)
        return None if said is None else Answered(intent, said)

    async def _known(self, what: str, person: str) -> str | None:
        """The facts that are remembered, or those about something; None where the model has to answer."""
        if not what:
            facts = await self.recollection.lane.call(lambda memory, stopped: memory.list("fact", 200, 0, person))
            if not facts:
                return "You have not asked me to remember anything yet."
            more = f" And {len(facts) - _MOST_KNOWN} more." if len(facts) > _MOST_KNOWN else ""
            return " ".join(stopped(fact.text) for fact in facts[:_MOST_KNOWN]) + more
        found = await self.recollection.recall(what, _MOST_KNOWN, person)
        words = {word.lower() for word in what.split() if not _ORDINARY.fullmatch(word)}
        about = [
            one.text
            for one in found
            if one.kind == "fact" and words & set(re.findall(r"[\w']+", one.text.lower()))
        ]
        return " ".join(map(stopped, about)) or None

    def _help(self) -> str:
        """What can be said, with names of this home."""
        said = ["I answer questions, set timers, alarms and reminders, and remember what you tell me."]
        shown = [device for device in self.home.devices() if not device.hidden] if self.home is not None else []
        lamp = next((device for device in shown if device.domain == "light"), None)
        if lamp is not None:
            said.append(f"I work the devices of this home. Say for example: turn on {lamp.name},")
            said.append("is any window open, or turn everything off.")
        said.append("Say: set a timer for ten minutes, or: what do you know about me.")
        return " ".join(said)
