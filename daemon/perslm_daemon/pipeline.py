"""THE file: hear -> intent | recall -> think -> reply by sentence -> remember.

A turn takes an `Ask` (text, or sound that is recognized first), tells its events as they happen, and returns a
`Turn` once the reply is durably remembered. One runs at a time, two may wait, a third is told "busy". What a skill
answers never touches the model. `interrupt` ends the running turn within one token, and it is remembered as such.
The pipeline knows no transport, no file and no device: who asks brings a `tell` function.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Self, TypeVar

import anyio
from anyio.abc import ObjectSendStream, TaskGroup

from perslm_daemon import engine_calls
from perslm_daemon.aloud import Aloud
from perslm_daemon.idling import Idling
from perslm_daemon.moment import Moment, meanwhile
from perslm_daemon.prepared import Ahead
from perslm_daemon.recollection import Recollection
from perslm_daemon.spoken_forgetting import SpokenForgetting
from perslm_daemon.turn import (
    GUEST,
    Answered,
    Ask,
    Gathered,
    Heard,
    Parts,
    Preview,
    Progress,
    Remembered,
    Sentence,
    Skills,
    Tell,
    Told,
    Turn,
    Vector,
    log_failed,
    log_turn,
    ms_since,
    only_error,
    source_sentence,
    without_echoes,
)
from perslm_daemon.turn_queue import TurnQueue
from perslm_runtime.errors import EngineError, InputError, PersLMError
from perslm_runtime.lane import Gate
from perslm_runtime.lane_job import working_for
from perslm_runtime.memory import Recalled
from perslm_runtime.memory_backup import Keep
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import Forgetting, Forgotten
from perslm_runtime.memory_prune import Budget
from perslm_runtime.model import ReplyEnd
from perslm_runtime.sentences import SentenceSplitter

log = logging.getLogger("perslm.pipeline")

T = TypeVar("T")
_Found = tuple[Vector | None, tuple[Recalled, ...]]


class Pipeline:
    """Runs turns over `parts`; an async context manager (it tidies up between turns).

    `recall_k` memories at most are put before the model. Cancelling a running `ask` stops its engines and
    remembers what was said so far as interrupted.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        model_id: str,
        embedder: str = "",
        recall_k: int = 3,
        budget: Budget = Budget(),  # noqa: B008 - frozen
        keep: Keep = Keep(),  # noqa: B008 - frozen
    ) -> None:
        self.parts = parts
        self.model_id = model_id
        self._recall_k = recall_k
        self.recollection = Recollection(parts, embedder, budget, keep)
        self.forgetting = SpokenForgetting(self.recollection, self._forget)
        """Asked before the skills: a sentence that wants something forgotten. Only in a turn, or `alone`."""
        self.elsewhere: list[Callable[[], Awaitable[Sequence[str]]]] = []
        """Asked after a forgetting to drop words that are kept outside the memory; they say what they cannot."""
        self.skills: Skills | None = None
        """Asked first: an intent it answers is the reply. Set where there is something that it can do."""
        self.moment: Moment | None = None
        """What is said where a skill keeps somebody waiting; None for nothing."""
        self.preview: Preview | None = None
        """What a question that changes nothing would be answered now; for `prepare`."""
        self._aloud = None if parts.tts is None else Aloud(parts.tts)
        self._ahead = Ahead[tuple[str, str, str], _Found]()
        self.relief: Callable[[], Awaitable[None]] | None = None
        """Waits until background work may go on; set where the board's heat and memory are watched."""
        self._session = uuid.uuid4().hex[:12]
        self.queue = TurnQueue()
        self._scope: anyio.CancelScope | None = None
        self._conversation: tuple[str, str, int] | None = None
        self._idling = Idling(self._rest, self.recollection.tidy)
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._idling.open(self._tasks)
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks, self._tasks = self._tasks, None
        self._idling.open(None)
        if tasks is not None:
            tasks.cancel_scope.cancel()
            # Not handed the error: it would come out wrapped in an exception group.
            await tasks.__aexit__(None, None, None)

    def interrupt(self) -> bool:
        """End the running turn now; False when none runs. Waiting asks go on."""
        if self._scope is not None:
            self._scope.cancel()
        return self._scope is not None

    async def ask(self, ask: Ask, tell: Tell) -> Turn:
        """Run one turn; `tell` gets its events in order. Raises `BusyError` when two asks already wait.

        Raises `InputError` for text or sound that cannot be used and `EngineError` when the model fails;
        trouble with memory or speech is in `Turn.problems` and the reply still comes.
        """
        began = time.perf_counter()
        async with self._in_turn(first=ask.goes_first):
            try:
                person = self.recollection.asker(ask.person, vouched=ask.vouched)
                named = replace(ask, conversation=ask.conversation or self._session, person=person)
                with working_for(ask.turn):
                    return await self._run(Progress(named, tell, began))
            except Exception as error:
                log_failed(ask, error)
                raise

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The engines for work that is no turn: it queues, is told busy and is interrupted like one."""
        async with self._in_turn():
            await self._idling.stop()
            with anyio.CancelScope() as self._scope:
                yield

    async def giving_way(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, in `alone`: cancelled where somebody speaks, and done again once they are answered."""
        scope = self._scope
        while True:
            with self.queue.giving_way() as given:
                await work()
            if not given.cancelled_caught:
                return
            self._scope = None  # of whoever goes first, from here on
            await self.queue.let_pass()
            await self._idling.stop()
            self._scope = scope

    @asynccontextmanager
    async def _in_turn(self, *, first: bool = False) -> AsyncIterator[None]:
        await self.queue.enter(first=first)
        try:
            self._idling.cancel()  # told now, awaited only before the model is needed
            yield
        finally:
            self._scope = None
            self.queue.leave()
            if not self.queue.waiting:
                self._idling.begin()

    # One turn

    async def _run(self, now: Progress) -> Turn:
        now.ask = await self._hear(now)
        now.known = time.perf_counter()
        finished = False
        try:
            with anyio.CancelScope() as self._scope:
                if not await self._answered_by_skill(now):
                    await self._idling.stop()
                    await self._recall(now)
                    await self._answer(now)
                if now.ask.speak:
                    await now.tell(Told())
                finished = True
        finally:
            self._scope = None
            # Also when the asker is cancelled: what was said aloud happened, and is remembered.
            with anyio.CancelScope(shield=True):
                saved = await self._remember(now, interrupted=not finished) if finished or now.reply else None
        now.timings = replace(now.timings, total=ms_since(now.began))
        turn = Turn(
            now.ask.turn, "" if now.traceless else now.ask.text, now.reply, now.recalled,
            self.model_id if now.intent is None else "", now.timings, interrupted=not finished,
            remembered_as=saved, problems=tuple(now.problems), end=now.end, intent=now.intent, done=now.done,
        )  # fmt: skip
        log_turn(turn, now.ask.source)
        return turn

    async def _hear(self, now: Progress) -> Ask:
        ask = now.ask
        if ask.sound is not None:
            if self.parts.stt is None:
                raise EngineError("this process has no recognizer: set voice.enabled=true")
            heard = await self.parts.stt.call(engine_calls.recognize, ask.sound)
            now.timings = replace(now.timings, stt=ms_since(now.began))
            if not heard.text.strip():
                raise InputError("no words were recognized in the recording: speak closer to the microphone")
            ask = replace(ask, text=heard.text)
            await now.tell(Heard(heard.text))
        if not ask.text.strip():
            raise InputError("the question is empty: say or type something")
        return ask

    async def _answered_by_skill(self, now: Progress) -> bool:
        """Let the skills have it first; what they answer is told as a reply of the model is."""
        began = time.perf_counter()
        answered: Answered | Gathered | None = await self.forgetting(now.ask)
        now.traceless = answered is not None
        if answered is None and self.skills is not None:
            answered = await self._by_skills(now, self.skills)
        now.timings = replace(now.timings, intent=ms_since(began))
        if answered is not None:
            now.source = answered.source
        if isinstance(answered, Gathered):
            now.gathered = answered.pieces
        if not isinstance(answered, Answered):
            return False
        now.intent, now.done = answered.intent, answered.done
        await self._tell_reply(now, answered.text)
        return True

    async def _by_skills(self, now: Progress, skills: Skills) -> Answered | Gathered | None:
        """What the skills answer; who waits for it aloud hears a word after a silence."""
        moment = self.moment
        if moment is None or not now.ask.speak or self.parts.tts is None:
            return await skills(now.ask)

        async def say() -> None:
            async with self._speaking(now, Gate()) as sentences, sentences:
                await self._say(now, moment.words, sentences)

        return await meanwhile(lambda: skills(now.ask), moment.after_s, say)

    async def _recall(self, now: Progress) -> None:
        """Look for what helps, by words and (where there is an embedder) meaning; trouble is only noted."""
        text, person = now.ask.text, now.ask.person
        now.recalled = now.gathered
        began = time.perf_counter()
        ahead = await self._ahead.take((person, now.ask.conversation, text))
        if not self.recollection.serves(person):
            return
        try:
            now.vector, found = ahead or await self._found(text, person)
            now.recalled = (*now.gathered, *found)
        except PersLMError as error:
            now.problems.append(f"nothing could be recalled: {error}")
        now.timings = replace(now.timings, recall=ms_since(began))
        await now.tell(Remembered(now.recalled))

    async def _found(self, text: str, person: str) -> _Found:
        vector, found = await self.recollection.found(text, self._recall_k, person)
        return vector, without_echoes(found)

    async def _answer(self, now: Progress) -> None:
        """Think and speak at the same time: a sentence is synthesized while the next is generated."""
        await self._enter_conversation(now.ask)
        spoken = Gate()
        async with self._speaking(now, spoken) as sentences:
            await self._think(now, sentences, spoken)

    async def _tell_reply(self, now: Progress, text: str) -> None:
        """A reply that is known at once, sentence by sentence like one of the model."""
        async with self._speaking(now, Gate()) as sentences, sentences:
            splitter = SentenceSplitter()
            for piece in [*splitter.feed(text), *splitter.flush()]:
                now.reply += piece
                await self._say(now, piece, sentences)

    @asynccontextmanager
    async def _speaking(self, now: Progress, spoken: Gate) -> AsyncIterator[ObjectSendStream[Sentence]]:
        """Where sentences go to be spoken, if they are to be; leaving waits until all are."""
        sentences, to_say = anyio.create_memory_object_stream[Sentence](4)
        try:
            async with anyio.create_task_group() as tasks:
                if now.ask.speak and self._aloud is not None:
                    tasks.start_soon(self._aloud.say, now, to_say, spoken)
                else:
                    to_say.close()
                    spoken.open()
                yield sentences
        except BaseExceptionGroup as group:
            raise only_error(group) from None

    async def _say(self, now: Progress, text: str, sentences: ObjectSendStream[Sentence]) -> None:
        sentence = Sentence(now.said, text)
        now.said += 1
        await now.tell(sentence)
        with suppress(anyio.BrokenResourceError):  # nobody speaks, or speaking failed and said so
            await sentences.send(sentence)

    async def _think(self, now: Progress, sentences: ObjectSendStream[Sentence], spoken: Gate) -> None:
        async with sentences:  # closed also where the first call is cancelled
            lines = await self.recollection.lines(now.ask.text, now.vector, now.ask.person)
            said = await self.parts.model.call(engine_calls.with_memories, now.ask.text, now.recalled, lines)
            await self._write(now, said, sentences, spoken)
        if now.end is not None and now.end.first_token_at is not None:
            first_ms = (now.end.first_token_at - now.known) * 1000
            now.timings = replace(now.timings, first_token=first_ms)

    async def _write(self, now: Progress, said: str, sentences: ObjectSendStream[Sentence], spoken: Gate) -> None:
        reply = ""
        async with self.parts.model.stream(engine_calls.sentences, said, spoken) as pieces:
            async for piece in pieces:
                if isinstance(piece, ReplyEnd):
                    now.end = piece
                    continue
                reply += piece
                now.reply = reply.strip()
                if piece.isspace():
                    continue
                if now.timings.first_sentence is None:
                    now.timings = replace(now.timings, first_sentence=now.since_known_ms())
                await self._say(now, piece, sentences)
        if named := source_sentence(now.ask.text, now.reply, now.recalled):
            now.reply += f" {named}"
            await self._say(now, f" {named}", sentences)

    async def prepare(self, text: str) -> None:
        """Make ready to answer what may be all; "" tells that it was not. Nothing is told, remembered or done."""
        self._ahead.drop()
        reply = await self.preview(text) if text and self.preview is not None else ""
        if reply and self._aloud is not None:
            await self._aloud.prepared.make(reply)
        person, conversation, rebuilt = self._conversation or (GUEST, "", 0)
        idle = not self.queue.taken and self.parts.model.busy_since is None
        if reply is None and idle and (conversation, rebuilt) == (self._session, self.parts.model.rebuilt):
            await self._ahead.make((person, conversation, text), partial(self._read_ahead, text, person))

    async def _read_ahead(self, text: str, person: str) -> _Found:
        """What the model's turn would begin with."""
        found = await self._found(text, person) if self.recollection.serves(person) else (None, ())
        lines = await self.recollection.lines(text, found[0], person)
        said = await self.parts.model.call(engine_calls.with_memories, text, found[1], lines)
        await self.parts.model.call(engine_calls.read_ahead, said)
        return found

    async def _remember(self, now: Progress, *, interrupted: bool) -> int | None:
        if now.ask.person == GUEST:
            self.recollection.guests.add(now.ask, now.reply)
        if not self.recollection.serves(now.ask.person) or now.traceless:
            return None
        model_id = self.model_id if now.intent is None else ""
        try:
            return await self.recollection.remember_turn(
                now.ask, now.reply, now.vector, model_id, interrupted=interrupted, source=now.source
            )
        except PersLMError as error:
            now.problems.append(f"this turn could not be remembered: {error}")
            return None

    async def _enter_conversation(self, ask: Ask) -> None:
        """Make the model's conversation the asked one: continue it, or start it from what is on record."""
        wanted = (ask.person, ask.conversation, self.parts.model.rebuilt)
        if wanted == self._conversation:
            return
        earlier = await self.recollection.recent(ask)
        self._conversation = None
        await self.parts.model.call(engine_calls.begin, earlier)
        self._conversation = wanted

    async def forget(self, wanted: Wanted) -> Forgotten:
        """Forget on this disk (`memory_forget.Forgetting`), in the running conversation, and elsewhere.

        Turns go on while copies are erased in. Then the conversation starts anew, and what other parts of the
        daemon keep of words is dropped by `elsewhere`.
        """
        async with self.recollection.copies:
            forgetting = await self.recollection.forget_in_copies(wanted)
        async with self.queue.patiently(), self.recollection.copies:  # in the order of a turn that forgets
            return await self._forget_here(forgetting)

    async def _forget(self, wanted: Wanted) -> Forgotten:
        """The same in a turn, which has no other beside it."""
        async with self.recollection.copies:
            return await self._forget_here(await self.recollection.forget_in_copies(wanted))

    async def _forget_here(self, forgetting: Forgetting) -> Forgotten:
        self._ahead.drop()
        await self._idling.stop()
        with anyio.CancelScope(shield=True):  # who is interrupted here would have forgotten half of it
            forgotten = await self.recollection.lane.call(engine_calls.forget, forgetting)
            left = await self._forget_words() if forgotten.count else ()
        return replace(forgotten, beyond=(*forgotten.beyond, *left))

    async def _forget_words(self) -> Sequence[str]:
        """Drop what is kept of words outside the memory; what cannot be, in phrases."""
        await self._begin_anew()
        self.recollection.guests.forget()
        return [phrase for drop in self.elsewhere for phrase in await drop()]

    async def _begin_anew(self) -> None:
        await self.parts.model.call(engine_calls.forget_conversation)
        self._conversation = None
        self.recollection.profiles.forget()
        if self._aloud is not None:
            self._aloud.prepared.drop()

    async def exchange_memory(self, exchange: Callable[[], T]) -> T:
        """Do `exchange` between two turns while the memory is closed; all that was made of the former one goes."""
        async with self.queue.patiently(), self.recollection.copies:
            self._ahead.drop()
            await self._idling.stop()
            with anyio.CancelScope(shield=True):
                done = await self.recollection.lane.reopen(exchange)
                await self._begin_anew()
        self.tend()
        return done

    async def resize_context(self, context_tokens: int) -> tuple[int, int]:
        """Change the model's context between two turns, the conversation going on; its tokens before and now."""
        async with self.queue.patiently():
            await self._idling.stop()
            return await self.parts.model.call(engine_calls.resize, context_tokens)

    # Between turns

    def tend(self) -> None:
        """See to the memory as after a turn: something came into it without one."""
        self._idling.wanted_again()
        if not (self._idling.at_work or self.queue.taken):
            self._idling.begin()

    async def _rest(self) -> None:
        """Summarise a long conversation; the memory comes after. A skill's turn does not wait for its end."""
        if self.relief is not None:
            await self.relief()
        await self.parts.model.call(engine_calls.compact)
