"""What is answered about a thing that no device of the home is, where else a model would tell something of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.turn import Answered, Ask, Done
from perslm_runtime.errors import PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane


def not_here(said: str, *, known: bool) -> Answered:
    """The answer about `said`; `known` is whether there is any device at all."""
    are = "are" if said.endswith("s") and not said.endswith("ss") else "is"
    why = "" if known else ": I have found no device in this home yet"
    intent = Intent("not_here", {"target": said})
    return Answered(intent, f"There {are} no {said} that I know{why}.", (Done(intent, (), "nothing"),))


@dataclass(frozen=True, slots=True)
class NoHome:
    """Answers in the place of the home where PersLM works none: nothing is switched, opened or known there."""

    recognizer: Lane[Any]
    why: str = "they come with the broker, and home.enabled has to be on"

    async def __call__(self, ask: Ask) -> Answered | None:
        """Say that no device is worked here, where one is meant."""
        try:
            wishes = await self.recognizer.call(engine_calls.wishes, ask.text, "no home", ())
            later = await self.recognizer.call(engine_calls.later, ask.text)
            said = await self.recognizer.call(engine_calls.strange, ask.text, "no home", ())
        except PersLMError:
            return None
        named = next((target.said for wish in wishes for target in wish.targets if target.noun), "")
        if not (said or named or later is not None):
            return None
        intent = Intent("not_here", {"target": said or named or (later.command if later is not None else "")})
        return Answered(intent, f"I work no devices here: {self.why}.", (Done(intent, (), "nothing"),))
