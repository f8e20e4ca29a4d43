"""Wyoming's handle: transcript{text, context} -> handled or not-handled, sentence by sentence where that is read.

Nobody is known over Wyoming, so everybody is a guest: what the owner told is not recalled, and nothing is
unlocked, disarmed or opened. A conversation goes on under its `conversation_id`.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from perslm_daemon.turn import GUEST, Ask, Event, Sentence, Tell, Turn
from perslm_daemon.wyoming_jobs import Jobs
from perslm_daemon.wyoming_wire import Event as WireEvent
from perslm_daemon.wyoming_wire import (
    Handled,
    HandledChunk,
    HandledStart,
    HandledStop,
    NotHandled,
    Transcript,
    Wire,
    text_in,
)
from perslm_runtime.errors import InputError

_LONGEST_ID = 128

AskTurn = Callable[[Ask, Tell], Awaitable[Turn]]


class Answering:
    """One client's handle; `turn` runs a turn as the daemon does it."""

    def __init__(self, turn: AskTurn, wire: Wire, jobs: Jobs) -> None:
        self._turn, self._wire, self._jobs = turn, wire, jobs
        self._own = uuid.uuid4().hex  # the conversation of a client that names none

    def take(self, event: WireEvent) -> bool:
        """Take an event; False when it is none of handle's. Raises `InputError` and `BusyError`."""
        if not Transcript.is_type(event.type):
            return False
        text, conversation = text_in(event), self._conversation(event)

        async def answer() -> None:
            await self._answer(text, conversation)

        self._jobs.start(answer)
        return True

    def _conversation(self, event: WireEvent) -> str:
        context = event.data.get("context")
        named = context.get("conversation_id") if isinstance(context, dict) else None
        return named[:_LONGEST_ID] if isinstance(named, str) and named else self._own

    async def _answer(self, text: str, conversation: str) -> None:
        context = {"conversation_id": conversation}
        begun = False

        async def tell(event: Event) -> None:
            nonlocal begun
            if isinstance(event, Sentence):
                if not begun:
                    begun = True
                    self._wire.put(HandledStart(context))
                self._wire.put(HandledChunk(event.text))

        try:
            asked = Ask(text, conversation=conversation, person=GUEST, source="wyoming")
            turn = await self._turn(asked, tell)
        except InputError as error:
            self._wire.put(NotHandled(str(error), context))
            return
        # The whole answer once more, before the end of the pieces: most clients read nothing else.
        if turn.reply:
            self._wire.put(Handled(turn.reply, context))
        else:
            self._wire.put(NotHandled("there is no answer" if not turn.interrupted else "stopped", context))
        if begun:
            self._wire.put(HandledStop())
