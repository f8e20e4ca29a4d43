"""Tools by sentences: what somebody asks for in plain words is called, and a yes to a question is taken as one.

A skill of the pipeline. Who speaks decides here, so nothing is asked that the tool does not ask by itself. What
a tool read for the model is handed on, with where it is from.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from perslm_daemon.tools import Caller, Result, Tools, clipped
from perslm_daemon.turn import Answered, Ask, Gathered
from perslm_runtime.completeness import Ending, ends_in_a_number
from perslm_runtime.errors import PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.memory import Recalled
from perslm_runtime.tool_call import Value
from perslm_runtime.tool_sentences import call_of

log = logging.getLogger("perslm.tools")

_YES = re.compile(
    r"(?:yes|yeah|yep|yup|sure|ok|okay|please do|do it|do that|go ahead|of course|correct)"
    r"(?:[ ,]+(?:please|do it|do that|go ahead|thanks))?",
    re.IGNORECASE,
)
_NO = re.compile(
    r"(?:no|nope|nah|don't|do not|never ?mind|cancel|leave it|stop|better not)(?:[ ,]+.{0,40})?", re.IGNORECASE
)
_SPOKEN_CHARACTERS = 500  # of a page that a weak model would only spoil: half a minute


@dataclass(frozen=True, slots=True)
class ToolTalk:
    """Answers sentences that ask for a tool; None leaves a sentence to others.

    `answers_from_text` says that the model is good enough to answer from a text that was read.
    """

    tools: Tools
    answers_from_text: bool = False

    async def __call__(self, ask: Ask) -> Answered | Gathered | None:
        """Call what is asked for, or take a yes or a no."""
        if (answered := await self._answer(ask)) is not None:
            return answered
        call = call_of(ask.text)
        if call is None or (self.tools.get(call.tool) is None and call.tool not in self.tools.absent):
            return None
        try:
            result = await self.tools.call(call.tool, call.arguments, caller_of(ask))
        except PersLMError as error:
            return Answered(Intent(call.tool, _slots(call.arguments)), sentence(str(error)))
        if result.approval is None and not result.speaks and self.answers_from_text:
            return Gathered(Intent(call.tool, _slots(call.arguments)), (piece_of(result),), result.source)
        return Answered(Intent(call.tool, _slots(call.arguments)), spoken(result), source=result.source)

    async def _answer(self, ask: Ask) -> Answered | None:
        """What came of a yes or a no; whatever else is said takes the question back."""
        if not self.waits(ask):
            return None
        words = ask.text.strip(" .!?,")
        asked = [one for one in self.tools.approvals.waiting if one.conversation == ask.conversation][-1]
        yes = _YES.fullmatch(words) is not None
        if not yes and _NO.fullmatch(words) is None:
            self.tools.approvals.withdraw(ask.conversation)
            return None
        try:
            _, said = await self.tools.approvals.answer(yes, asked.id, person=ask.person, by=ask.source)
        except PersLMError as error:
            said = sentence(str(error))
        return Answered(Intent("approve", {"id": asked.id}), said)

    def waits(self, ask: Ask) -> bool:
        """Whether a question of a tool stands in this conversation; what was asked by hand stands in none."""
        return bool(ask.conversation) and any(
            one.conversation == ask.conversation for one in self.tools.approvals.waiting
        )

    def ending(self, text: str) -> Ending | None:
        """How finished `text` is as a sentence for a tool."""
        if call_of(text) is None or ends_in_a_number(text):
            return None
        return Ending.FINISHED

    async def preview(self, text: str) -> str | None:
        """What a sum comes to; "" for what another tool would do, None for anything else."""
        call = call_of(text)
        if call is None or (self.tools.get(call.tool) is None and call.tool not in self.tools.absent):
            return None
        if call.tool != "calculate":
            return ""
        found = await self.tools.preview(call.tool, call.arguments, Caller())
        return sentence(f"that is {found}") if found is not None else ""


def caller_of(ask: Ask) -> Caller:
    """Whoever asks, as a caller of tools: their own words decide."""
    return Caller(ask.person, ask.source, ask.turn, ask.conversation)


def spoken(result: Result) -> str:
    """A result as it is said."""
    if result.approval is not None:
        return result.text
    if result.tool == "calculate":
        return sentence(f"that is {result.text}")
    if not result.speaks:
        source = result.source.partition(" ")[2]
        return sentence(f"From {source}: {clipped(' '.join(result.text.split()), _SPOKEN_CHARACTERS)}")
    return sentence(result.text)


def piece_of(result: Result) -> Recalled:
    """A result as it is put before the model: a text with its source."""
    text = clipped(" ".join(result.text.split()), 1500)
    return Recalled(0, "tool", text, 1.0, datetime.now(UTC), f"read by {result.tool}", result.source)


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    said = text[:1].upper() + text[1:]
    return said if said.endswith((".", "?", "!", "…")) else f"{said}."


def _slots(arguments: Mapping[str, Value]) -> dict[str, Value]:
    return dict(arguments)
