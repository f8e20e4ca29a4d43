"""One turn by voice as data: why somebody is listened to, who waits for it, and the answer while it runs.

live.py decides what follows what; here is what it holds on to meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio

from perslm_daemon.hearing import Heard as HeardSpeech
from perslm_daemon.hearing import Start
from perslm_daemon.turn import Ask, Event, Heard, Spoken, Tell, Turn, only_error
from perslm_daemon.wake_listener import Woken
from perslm_runtime.errors import Cancelled, PersLMError

T = TypeVar("T")
RunTurn = Callable[[Ask, Tell], Awaitable[Turn]]
How = Literal["wake", "button", "follow_up", "barge_in"]


@dataclass(slots=True)
class Caller:
    """Who asked for one turn by `listen`: gets its events, then the turn or an error."""

    tell: Tell
    done: anyio.Event = field(default_factory=anyio.Event)
    turn: Turn | None = None
    error: PersLMError | None = None

    def end(self, turn: Turn | None, error: PersLMError | None = None) -> None:
        """Let the caller go on; only the first time counts."""
        if not self.done.is_set():
            self.turn, self.error = turn, error
            self.done.set()

    async def told(self, event: Event) -> None:
        """Tell the caller an event."""
        await self.tell(event)


@dataclass(frozen=True, slots=True)
class Opening:
    """Why somebody is listened to, from which sample on, and who else wants to know what comes of it."""

    how: How
    start: Start
    woken: Woken | None = None
    nothing_s: float | None = None
    caller: Caller | None = None


@dataclass(slots=True)
class Answer:
    """A turn while it runs and is spoken: `began` with its first sound, `done` when it was heard or is over."""

    opening: Opening
    heard: HeardSpeech
    began: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)
    turn: Turn | None = None
    error: PersLMError | None = None
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _runs: bool = False
    _interrupted: bool = False

    async def run(self, ask: RunTurn, person: str) -> None:
        """Ask, and tell the caller on the way; an error is kept."""
        caller = self.opening.caller

        async def tell(event: Event) -> None:
            self._runs = True
            if isinstance(event, Spoken):
                self.began.set()
            if caller is not None:
                await caller.tell(event)

        try:
            with self._scope:
                if caller is not None:
                    await caller.tell(Heard(self.heard.text))
                self.turn = await ask(Ask(self.heard.text, speak=True, person=person, source="voice"), tell)
        except Cancelled:
            pass
        except PersLMError as error:
            self.error = error
        finally:
            self.done.set()

    def interrupt(self, interrupt_turn: Callable[[], bool]) -> None:
        """No further token; what was said until now is remembered as interrupted. Only the first time counts."""
        if self.done.is_set() or self._interrupted:
            return
        self._interrupted = True
        if not (self._runs and self.turn is None and interrupt_turn()):
            self._scope.cancel()

    def timings(self) -> dict[str, float]:
        """Milliseconds one after the other, from the end of speech to the answer's first sound."""
        heard, times = self.heard, self.turn.timings if self.turn is not None else None
        sentence = (times.first_sentence or times.first_token or 0.0) if times is not None else 0.0
        recall = min(times.recall or 0.0, sentence) if times is not None else 0.0
        audio = (times.first_audio if times is not None else None) or sentence
        return {
            "endpoint": round(heard.endpoint_s * 1000, 1),
            "stt": round(heard.stt_s * 1000, 1),
            "recall": round(recall, 1),
            "first_sentence": round(sentence - recall, 1),
            "first_pcm": round(max(0.0, audio - sentence), 1),
        }


async def first_of(*waits: Callable[[], Awaitable[T]]) -> T | None:
    """Run all until the first returns, and return what it did; the others are cancelled."""
    results: list[T] = []

    async def run(wait: Callable[[], Awaitable[T]], scope: anyio.CancelScope) -> None:
        results.append(await wait())
        scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for wait in waits:
                tasks.start_soon(run, wait, tasks.cancel_scope)
    except BaseExceptionGroup as group:
        raise only_error(group) from None
    return results[0] if results else None
