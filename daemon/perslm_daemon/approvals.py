"""Questions that wait for a person's yes: asked in plain words, answered by voice, verb or dashboard, expiring.

Holds what would be done and does it once, after a yes. Knows no tool and no home; logs ids, never words.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.turn import GUEST
from perslm_runtime.errors import InputError

log = logging.getLogger("perslm.approvals")

STANDS_S = 60.0
"""How long a question stands."""
_MOST = 16  # that wait at once; the oldest gives way, and nothing is done

Act = Callable[[], Awaitable[str]]
"""What is done after a yes; returns what came of it as a sentence."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A question that stands until `expires_at` (monotonic seconds)."""

    id: str
    question: str
    tool: str
    person: str
    conversation: str
    expires_at: float

    @property
    def seconds_left(self) -> float:
        """How long it still stands."""
        return max(0.0, self.expires_at - time.monotonic())


class Approvals:
    """The questions that stand. Used in the event loop only; `run` has to run for expiry to be told in time."""

    def __init__(self, bulletin: Bulletin, stands_s: float = STANDS_S) -> None:
        self._bulletin, self._stands_s = bulletin, stands_s
        self._waiting: dict[str, tuple[Approval, Act]] = {}
        self._asked = anyio.Event()

    async def run(self) -> None:
        """Tell of what expires. Runs until it is cancelled."""
        while True:
            self._drop_expired()
            soonest = min((one.expires_at for one, _ in self._waiting.values()), default=None)
            if soonest is None:
                self._asked = anyio.Event()
                await self._asked.wait()
            else:
                await anyio.sleep(max(0.01, soonest - time.monotonic()))

    def ask(
        self, question: str, act: Act, *, tool: str, person: str = "owner", conversation: str = ""
    ) -> Approval:
        """Put a question; `act` is done once, after a yes that comes in time."""
        self._drop_expired()
        while len(self._waiting) >= _MOST:
            self._end(next(iter(self._waiting)), "dropped", "")
        approval = Approval(
            secrets.token_hex(4), question, tool, person, conversation, time.monotonic() + self._stands_s
        )
        self._waiting[approval.id] = (approval, act)
        log.info("approval=%s tool=%s asked", approval.id, tool)
        self._bulletin.tell(
            "approval", id=approval.id, outcome="asked", question=question, tool=tool, seconds=self._stands_s
        )
        self._asked.set()
        return approval

    @property
    def waiting(self) -> tuple[Approval, ...]:
        """The questions that stand, oldest first."""
        self._drop_expired()
        return tuple(one for one, _ in self._waiting.values())

    async def answer(self, yes: bool, id_: str | None = None, *, person: str, by: str) -> tuple[Approval, str]:
        """Answer a question (the only one, where no id is given); what came of it. Raises `InputError`.

        It is taken away before anything is done: two answers never do it twice.
        """
        if person == GUEST:
            raise InputError("only somebody who lives here can allow that")
        waiting = {one.id: one for one in self.waiting}
        if id_ is None and len(waiting) > 1:
            raise InputError(f"{len(waiting)} questions stand: send the id of one ({', '.join(waiting)})")
        found = next(iter(waiting.values()), None) if id_ is None else waiting.get(id_)
        if found is None:
            raise InputError("no question stands that this would answer: it may have expired")
        act = self._end(found.id, "yes" if yes else "no", by)
        return found, await act() if yes else "I leave it."

    def withdraw(self, conversation: str) -> None:
        """Take back what was asked in a conversation: something else was said there instead of a yes."""
        for one in self.waiting:
            if one.conversation == conversation:
                self._end(one.id, "withdrawn", "")

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for one, _ in list(self._waiting.values()):
            if one.expires_at <= now:
                self._end(one.id, "expired", "")

    def _end(self, id_: str, outcome: str, by: str) -> Act:
        approval, act = self._waiting.pop(id_)
        log.info("approval=%s tool=%s %s by=%s", id_, approval.tool, outcome, by or None)
        self._bulletin.tell("approval", id=id_, outcome=outcome, tool=approval.tool, **({"by": by} if by else {}))
        return act
