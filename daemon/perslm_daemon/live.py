"""The voice loop: idle -> listening -> processing -> responding, each with its limit, so that it never sticks.

A wake word, the button or a question of ours opens the ears; what was heard becomes a turn; its sound goes to
the mouth. Whoever speaks over us ends speech and generation, and is heard from their first word on. Knows no
device, no engine and no transport; it never logs a word.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol

import anyio
import anyio.abc

from perslm_daemon.arbitration import Arbitration
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.chimes import Chime, chime
from perslm_daemon.config_sections import Ears as Wanted
from perslm_daemon.ears import Ears
from perslm_daemon.hearing import Heard as HeardSpeech
from perslm_daemon.hearing import Start
from perslm_daemon.mouth import Mouth
from perslm_daemon.overhearing import Interruption
from perslm_daemon.phrases import is_own, is_stop
from perslm_daemon.turn import Partial, Tell, Turn
from perslm_daemon.voice_turn import Answer, Caller, Opening, RunTurn, first_of
from perslm_daemon.wake_listener import Woken
from perslm_runtime.audio import SPEECH_RATE_HZ
from perslm_runtime.errors import BusyError, DeviceError, InputError, PersLMError

log = logging.getLogger("perslm.live")

_PROCESSING_S = 60.0  # until the first sentence: a Pi 4 with its largest model needs 15
_RESPONDING_S = 300.0
_AFTER_LONGEST_S = 30.0  # for the recognizer, once listening has reached its own limit
_BARGE_LEAD_S = 0.3
_NO_SOUND_S = 2.0
_LOOK_AROUND_S = 0.2


class State(Enum):
    """What the voice is doing; the value of `activity`."""

    IDLE = "idle"
    LISTENING = "listening"
    PROCESSING = "processing"
    RESPONDING = "responding"


class Rings(Protocol):
    """What may be ringing while nobody is listened to: alarms and timers."""

    @property
    def ringing(self) -> Sequence[object]:
        """What rings now."""

    async def stop(self) -> Sequence[object]:
        """Stop what rings, and return it."""


class Live:
    """The voice of one node; `run` it beside everything else.

    `ask` runs a turn and `interrupt` ends the one that runs, `arbitration` knows whether another board answers a
    wake word, `why_deaf` says why nobody can be heard now, "" when somebody can.
    """

    def __init__(
        self,
        ears: Ears,
        mouth: Mouth,
        ask: RunTurn,
        bulletin: Bulletin,
        wanted: Wanted,
        *,
        person: str = "owner",
        interrupt: Callable[[], bool] = lambda: False,
        arbitration: Arbitration | None = None,
        why_deaf: Callable[[], str] = lambda: "",
        rings: Rings | None = None,
        prepare: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._prepare = prepare
        self._ears, self._mouth, self._ask, self._bulletin, self._wanted = ears, mouth, ask, bulletin, wanted
        self._person = person
        self._interrupt_turn, self._arbitration = interrupt, arbitration
        self._why_deaf, self._rings = why_deaf, rings
        self.follow_up = wanted.follow_up
        """Whether an answer that asks something is followed by listening; a setting."""
        self.state = State.IDLE
        self._opening: Opening | None = None
        self._heard: HeardSpeech | None = None
        self._answer: Answer | None = None
        self._called = anyio.Event()
        self._next: Opening | None = None
        self._hushed = anyio.Event()
        self._last_level_db: float | None = None
        self._tasks: anyio.abc.TaskGroup | None = None

    def expect(self, names: Callable[[], Sequence[str]]) -> None:
        """Names that are likely to be said, asked for anew at each listening."""
        self._ears.vocabulary = names

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen and answer until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                await tasks.start(self._ears.run, self._woken)
                self._ears.attend(closely=False)
                task_status.started()
                await self._loop()
        finally:
            self._tasks = None
            if self._next is not None and self._next.caller is not None:
                self._next.caller.end(None, InputError("PersLM stopped while it was to listen: ask again later"))

    # What others ask of it

    async def listen(self, tell: Tell) -> Turn:
        """One turn without a wake word. Raises `DeviceError` where nobody can be heard, `InputError` for none."""
        why = self._why_deaf()
        if why:
            raise DeviceError(why)
        if self._next is not None and self._next.caller is not None:
            raise BusyError("somebody is about to be listened to: ask again in a moment")
        caller = Caller(tell)
        self._call(Opening("button", Start(self._ears.sound.end), caller=caller))
        try:
            await caller.done.wait()
        except anyio.get_cancelled_exc_class():
            self.stop()
            raise
        if caller.turn is None:
            raise caller.error or InputError("nothing was heard: speak after the sound")
        return caller.turn

    def stop(self) -> bool:
        """End listening, thinking and speaking, whichever it is; False when there was nothing to end."""
        busy = self.state is not State.IDLE or self._mouth.speaking
        self._silence()
        self._hushed.set()
        return busy

    async def _all_quiet(self) -> None:
        """What somebody meant who said "stop": also what rings."""
        self._bulletin.tell("heard_stop")
        self.stop()
        if self._rings is not None:
            await self._rings.stop()

    def deafened(self) -> None:
        """The microphone was muted: what was heard so far is forgotten, and listening ends."""
        self._ears.forget()
        if self.state is State.LISTENING:
            self._hushed.set()

    def _woken(self, woken: Woken) -> None:
        self._bulletin.tell("wake_word_detected", wake_word=woken.word, score=round(woken.score, 3))
        self._call(Opening("wake", Start(woken.start, woken.level_db, after_wake=True), woken=woken))

    def _call(self, opening: Opening) -> None:
        if self._next is not None and self._next.caller is not None:
            self._next.caller.end(None, InputError("somebody else was listened to: try again"))
        self._silence()
        self._next = opening
        self._called.set()

    def _silence(self) -> None:
        """Silence and no further token now: leaving a state may wait 60 ms for an engine that it gives up."""
        self._mouth.silence()
        if self._answer is not None:
            self._answer.interrupt(self._interrupt_turn)

    # The loop

    async def _loop(self) -> None:
        while True:
            try:
                match self.state:
                    case State.IDLE:
                        following = await self._idle()
                    case State.LISTENING:
                        limit_s = self._wanted.longest_s + _AFTER_LONGEST_S
                        following = await self._within(limit_s, self._listening)
                    case State.PROCESSING:
                        following = await self._within(_PROCESSING_S, self._processing)
                    case State.RESPONDING:
                        following = await self._within(_RESPONDING_S, self._responding)
            except PersLMError as error:
                following = await self._failed(error)
            self._enter(following)

    def _enter(self, state: State) -> None:
        if state is State.IDLE:
            self._drop_answer()
            if self._opening is not None and self._opening.caller is not None:
                self._opening.caller.end(None)
            self._opening = None
        if state is not self.state:
            self.state = state
            self._ears.attend(closely=state is not State.IDLE)
            self._bulletin.post("activity", state.value)
            if state is State.IDLE:
                self._bulletin.tell("idle")

    async def _within(self, limit_s: float, work: Callable[[], Awaitable[State]]) -> State:
        with anyio.move_on_after(limit_s):
            return await work()
        log.warning("state_timed_out state=%s limit_s=%g", self.state.value, limit_s)
        raise InputError(f"{self.state.value} took more than {limit_s:g} s and was given up: ask again")

    async def _failed(self, error: PersLMError) -> State:
        log.warning("voice_failed state=%s error=%s", self.state.value, type(error).__name__)
        self._bulletin.tell("error", message=str(error))
        if self._opening is not None and self._opening.caller is not None:
            self._opening.caller.end(None, error)
        self._drop_answer()
        await self._chime(Chime.ERROR)
        return State.IDLE

    def _taken(self) -> Opening | None:
        """The opening that waits, if one does, as the one in force."""
        opening, self._next = self._next, None
        self._called = anyio.Event()
        if opening is not None:
            before = self._opening.caller if self._opening is not None else None
            if before is not None and before is not opening.caller:
                before.end(None)
            self._opening = opening
        return opening

    # The states

    async def _idle(self) -> State:
        """Wait to be called. What is being said or rings meanwhile can be ended by "stop" alone."""
        self._hushed = anyio.Event()
        interruption = await first_of(self._call_comes, self._hear_stop)
        if isinstance(interruption, Interruption):
            await self._all_quiet()
            return State.IDLE
        return State.LISTENING if self._taken() is not None else State.IDLE

    async def _call_comes(self) -> None:
        await self._called.wait()

    async def _hear_stop(self) -> Interruption:
        while self._wanted.barge_in == "off" or not self._aloud():  # noqa: ASYNC110 - a look now and then will do
            await anyio.sleep(_LOOK_AROUND_S)
        return await self._ears.overhear(speaking=self._aloud, only_stop=True)

    def _aloud(self) -> bool:
        return self._mouth.speaking or (self._rings is not None and bool(self._rings.ringing))

    async def _listening(self) -> State:
        """Hear one utterance; a wake word meanwhile begins anew, another board may take it."""
        opening = self._opening
        if opening is None:
            return State.IDLE
        self._heard = None
        self._hushed = anyio.Event()
        self._bulletin.tell("listening", how=opening.how)
        self._mouth.silence()
        with self._mouth.ducked():
            await first_of(self._hear, self._hush_comes, self._call_comes, self._welcome, self._deaf)
        if self._next is not None:
            return State.LISTENING if self._taken() is not None else State.IDLE
        return await self._after_hearing(opening, self._heard_now())

    def _heard_now(self) -> HeardSpeech | None:
        """What `_hear` has left; None when somebody hushed us or another board answers."""
        return self._heard

    async def _hear(self) -> None:
        opening = self._opening
        if opening is None:
            return
        heard = await self._ears.hear(
            opening.start,
            phrase=opening.woken.phrase if opening.woken else "",
            nothing_s=opening.nothing_s,
            on_partial=self._partial,
            on_trial=self._tried,
        )
        self._heard = heard

    async def _hush_comes(self) -> None:
        await self._hushed.wait()

    async def _welcome(self) -> None:
        """Chime, where this board answers and nobody speaks yet. Returns when another board answers."""
        opening = self._opening
        woken = opening.woken if opening is not None else None
        if opening is None or opening.how in ("follow_up", "barge_in"):
            return await anyio.sleep_forever()
        if woken is not None and not await self._is_ours(woken):
            self._bulletin.tell("left_to_another", wake_word=woken.word)
            return None
        if woken is None or not await self._ears.goes_on(woken):
            await self._chime(Chime.WAKE)
        if woken is None or self._arbitration is None:
            await anyio.sleep_forever()
        else:
            await self._arbitration.lost()  # a slower board that heard it better
            self._bulletin.tell("left_to_another", wake_word=woken.word)
        return None

    async def _is_ours(self, woken: Woken) -> bool:
        return self._arbitration is None or await self._arbitration.ours(
            woken.phrase, level_db=woken.level_db, over_floor_db=woken.over_floor_db, score=woken.score
        )

    async def _deaf(self) -> None:
        """Raise `DeviceError` when the microphone is gone: nobody waits for words that cannot come."""
        end, since = self._ears.sound.end, anyio.current_time()
        while True:
            await anyio.sleep(_LOOK_AROUND_S)
            if why := self._why_deaf():
                raise DeviceError(why)
            if self._ears.sound.end != end:
                end, since = self._ears.sound.end, anyio.current_time()
            elif anyio.current_time() - since > _NO_SOUND_S:
                raise DeviceError("the microphone gives no sound: plug it in again, or look at `perslm status`")

    async def _after_hearing(self, opening: Opening, heard: HeardSpeech | None) -> State:
        if heard is None:
            return State.IDLE
        ours = opening.how in ("follow_up", "barge_in") and is_own(heard.text, self._mouth.said_lately())
        if not heard.text or ours:
            if opening.how != "follow_up":
                await self._chime(Chime.END)
            return State.IDLE
        self._last_level_db = heard.level_db
        log.info(
            "heard how=%s why=%s chars=%d endpoint_ms=%d stt_ms=%d",
            opening.how,
            heard.why.value,
            len(heard.text),
            heard.endpoint_s * 1000,
            heard.stt_s * 1000,
        )
        if is_stop(heard.text):
            await self._all_quiet()
            return State.IDLE
        answer = self._answer = Answer(opening, heard)
        if self._tasks is not None:
            self._tasks.start_soon(answer.run, self._ask, self._person)
        return State.PROCESSING

    def _tried(self, text: str) -> None:
        """These may be all the words: what can be made ready for them is. "" when they were not."""
        if self._prepare is not None and self._tasks is not None:
            self._tasks.start_soon(self._prepare, text)

    def _partial(self, text: str) -> None:
        self._bulletin.tell("stt_partial", text=text)
        caller = self._opening.caller if self._opening is not None else None
        if caller is not None and self._tasks is not None:
            self._tasks.start_soon(caller.told, Partial(text))

    async def _processing(self) -> State:
        """Wait for the answer's first sound. Whoever goes on before it is heard anew, from their first word on."""
        answer = self._answer
        if answer is None:
            return State.IDLE
        self._bulletin.tell("thinking")
        self._hushed = anyio.Event()
        more = await first_of(
            answer.began.wait, answer.done.wait, self._call_comes, self._hush_comes, self._spoken_over
        )
        if answer.began.is_set() and not answer.done.is_set() and self._next is None and not self._hushed.is_set():
            return State.RESPONDING
        if isinstance(more, Interruption) and not answer.done.is_set():
            start = Start(answer.heard.start, answer.heard.level_db)
            before = answer.opening
            self._call(Opening("barge_in", start, before.woken, caller=before.caller))
        return await self._after_answer(answer)

    async def _responding(self) -> State:
        """Wait until the answer was heard; whoever speaks over it is heard instead."""
        answer = self._answer
        if answer is None:
            return State.IDLE
        self._hushed = anyio.Event()
        over = await first_of(answer.done.wait, self._call_comes, self._hush_comes, self._spoken_over)
        if isinstance(over, Interruption) and not answer.done.is_set():
            self._silence()
            if over.stop:
                await self._all_quiet()
            else:
                lead = round(_BARGE_LEAD_S * SPEECH_RATE_HZ)
                self._call(Opening("barge_in", Start(over.start - lead, over.level_db)))
        return await self._after_answer(answer)

    async def _spoken_over(self) -> Interruption:
        if self._wanted.barge_in == "off":
            await anyio.sleep_forever()
        return await self._ears.overhear(
            speaking=lambda: self._mouth.speaking,
            reference_db=self._last_level_db,
            only_stop=self._wanted.barge_in == "wake",
        )

    async def _after_answer(self, answer: Answer) -> State:
        """The answer is over, or somebody wants something else: listen to them, follow up, or rest."""
        if self._next is not None or self._hushed.is_set():
            self._silence()
        with anyio.move_on_after(_AFTER_LONGEST_S):
            await answer.done.wait()
        self._settle(answer)
        if self._next is not None:
            return State.LISTENING if self._taken() is not None else State.IDLE
        if answer.error is not None:
            raise answer.error
        turn = answer.turn
        asks = turn is not None and not turn.interrupted and turn.reply.rstrip().endswith("?")
        if asks and self.follow_up and not self._why_deaf():
            start = Start(self._ears.sound.end, self._last_level_db)
            self._opening = Opening("follow_up", start, nothing_s=self._wanted.follow_up_s)
            return State.LISTENING
        return State.IDLE

    # Answers

    def _settle(self, answer: Answer) -> None:
        if answer.turn is not None:
            self._bulletin.post("voice_timings", answer.timings())
        caller = answer.opening.caller
        if caller is not None and (self._next is None or self._next.caller is not caller):
            caller.end(answer.turn, answer.error)
        if self._answer is answer:
            self._answer = None

    def _drop_answer(self) -> None:
        if self._answer is not None:
            self._silence()
            self._settle(self._answer)

    async def _chime(self, which: Chime) -> None:
        """Play a chime, and let the ears know what it sounds like."""
        with suppress(PersLMError):  # no loudspeaker: the words still count
            self._ears.chimed(chime(which))
            await self._mouth.chime(which)
