"""THE file: hear -> intent | recall -> think -> reply by sentence -> remember.

A turn takes an `Ask` (text, or sound that is recognized first) and tells its events as they happen; it returns a
`Turn` once the reply is complete and durably remembered. One turn runs at a time, two may wait, a third is told
"busy". What a skill answers never touches the model. `interrupt` ends the running turn within one token, and what
was said until then is remembered as interrupted. The pipeline knows no transport, no file and no device: who asks
brings a `tell` function.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Self

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup

from perslm_daemon import engine_calls
from perslm_daemon.prepared import Prepared
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
    Spoken,
    Tell,
    Told,
    Turn,
    log_failed,
    log_turn,
    only_error,
    without_echoes,
)
from perslm_daemon.turn_queue import TurnQueue
from perslm_runtime.audio import Pcm, without_lead
from perslm_runtime.errors import EngineError, InputError, PersLMError
from perslm_runtime.lane import Gate, Lane
from perslm_runtime.lane_job import working_for
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import Forgotten
from perslm_runtime.memory_prune import Budget
from perslm_runtime.model import ReplyEnd
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

log = logging.getLogger("perslm.pipeline")


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
    ) -> None:
        self.parts = parts
        self.model_id = model_id
        self._recall_k = recall_k
        self.recollection = Recollection(parts, embedder, budget)
        self._forgetting = SpokenForgetting(self.recollection, self._forget)
        self.elsewhere: list[Callable[[], Awaitable[Sequence[str]]]] = []
        """Asked after a forgetting to drop words that are kept outside the memory; they say what they cannot."""
        self.skills: Skills | None = None
        self.preview: Preview | None = None
        """What a question that changes nothing would be answered now, "" for any other; for `prepare`."""
        self._prepared = None if parts.tts is None else Prepared(parts.tts)
        """Asked first: an intent it answers is the reply. Set where there is something that it can do."""
        self.relief: Callable[[], Awaitable[None]] | None = None
        """Waits until background work may go on; set where the board's heat and memory are watched."""
        self._session = uuid.uuid4().hex[:12]
        self._queue = TurnQueue()
        self._scope: anyio.CancelScope | None = None
        self._conversation: tuple[str, str, int] | None = None
        self._idle_scope: anyio.CancelScope | None = None
        self._untended = False
        self._idle_done = anyio.Event()
        self._idle_done.set()
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            # Not handed the error: it would come out wrapped in an exception group.
            await tasks.__aexit__(None, None, None)

    def interrupt(self) -> bool:
        """End the running turn now; False when none runs. Waiting asks go on."""
        if self._scope is None:
            return False
        self._scope.cancel()
        return True

    async def ask(self, ask: Ask, tell: Tell) -> Turn:
        """Run one turn; `tell` gets its events in order. Raises `BusyError` when two asks already wait.

        Raises `InputError` for text or sound that cannot be used and `EngineError` when the model fails;
        trouble with memory or speech is in `Turn.problems` and the reply still comes.
        """
        began = time.perf_counter()
        async with self._in_turn():
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
            await self._stop_idling()
            with anyio.CancelScope() as self._scope:
                yield

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        await self._queue.enter()
        try:
            if self._idle_scope is not None:
                self._idle_scope.cancel()  # told now, awaited only before the model is needed
            yield
        finally:
            self._scope = None
            self._queue.leave()
            self._start_idling()

    # One turn

    async def _run(self, now: Progress) -> Turn:
        now.ask = await self._hear(now)
        now.known = time.perf_counter()
        finished = False
        try:
            with anyio.CancelScope() as self._scope:
                if not await self._answered_by_skill(now):
                    await self._stop_idling()
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
        now.timings = replace(now.timings, total=_ms(now.began))
        turn = Turn(
            now.ask.turn,
            "" if now.traceless else now.ask.text,
            now.reply,
            now.recalled,
            self.model_id if now.intent is None else "",
            now.timings,
            interrupted=not finished,
            remembered_as=saved,
            problems=tuple(now.problems),
            end=now.end,
            intent=now.intent,
            done=now.done,
        )
        log_turn(turn, now.ask.source)
        return turn

    async def _hear(self, now: Progress) -> Ask:
        ask = now.ask
        if ask.sound is not None:
            if self.parts.stt is None:
                raise EngineError("this process has no recognizer: set voice.enabled=true")
            heard = await self.parts.stt.call(engine_calls.recognize, ask.sound)
            now.timings = replace(now.timings, stt=_ms(now.began))
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
        answered: Answered | Gathered | None = await self._forgetting(now.ask)
        now.traceless = answered is not None
        if answered is None and self.skills is not None:
            answered = await self.skills(now.ask)
        now.timings = replace(now.timings, intent=_ms(began))
        if answered is not None:
            now.source = answered.source
        if isinstance(answered, Gathered):
            now.gathered = answered.pieces
        if not isinstance(answered, Answered):
            return False
        now.intent, now.done = answered.intent, answered.done
        await self._tell_reply(now, answered.text)
        return True

    async def _recall(self, now: Progress) -> None:
        """Look for what helps, by words and (where there is an embedder) meaning; trouble is only noted."""
        person = now.ask.person
        now.recalled = now.gathered
        if not self.recollection.serves(person):
            return
        began = time.perf_counter()
        try:
            now.vector = await self.recollection.embed(now.ask.text)
            memory = self.recollection.lane
            found = await memory.call(engine_calls.recall, now.ask.text, now.vector, self._recall_k, person)
            now.recalled = (*now.gathered, *without_echoes(found))
        except PersLMError as error:
            now.problems.append(f"nothing could be recalled: {error}")
        now.timings = replace(now.timings, recall=_ms(began))
        await now.tell(Remembered(now.recalled))

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
            for seq, piece in enumerate([*splitter.feed(text), *splitter.flush()]):
                now.reply += piece
                await self._say(now, Sentence(seq, piece), sentences)

    @asynccontextmanager
    async def _speaking(self, now: Progress, spoken: Gate) -> AsyncIterator[ObjectSendStream[Sentence]]:
        """Where sentences go to be spoken, if they are to be; leaving waits until all are."""
        sentences, to_say = anyio.create_memory_object_stream[Sentence](4)
        try:
            async with anyio.create_task_group() as tasks:
                if now.ask.speak and self.parts.tts is not None:
                    tasks.start_soon(self._speak, now, self.parts.tts, to_say, spoken)
                else:
                    to_say.close()
                    spoken.open()
                yield sentences
        except BaseExceptionGroup as group:
            raise only_error(group) from None

    async def _say(self, now: Progress, sentence: Sentence, sentences: ObjectSendStream[Sentence]) -> None:
        await now.tell(sentence)
        with suppress(anyio.BrokenResourceError):  # nobody speaks, or speaking failed and said so
            await sentences.send(sentence)

    async def _think(self, now: Progress, sentences: ObjectSendStream[Sentence], spoken: Gate) -> None:
        async with sentences:  # closed also where the first call is cancelled
            said = await self.parts.model.call(engine_calls.with_memories, now.ask.text, now.recalled)
            await self._write(now, said, sentences, spoken)
        if now.end is not None and now.end.first_token_at is not None:
            first_ms = (now.end.first_token_at - now.known) * 1000
            now.timings = replace(now.timings, first_token=first_ms)

    async def _write(self, now: Progress, said: str, sentences: ObjectSendStream[Sentence], spoken: Gate) -> None:
        seq = 0
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
                if seq == 0:
                    now.timings = replace(now.timings, first_sentence=now.since_known_ms())
                await self._say(now, Sentence(seq, piece), sentences)
                seq += 1

    async def _speak(
        self, now: Progress, tts: Lane[Piper], to_say: ObjectReceiveStream[Sentence], spoken: Gate
    ) -> None:
        try:
            async with to_say:
                async for sentence in to_say:
                    words = speakable(sentence.text)
                    if not words:
                        continue
                    async for made in self._sound_of(tts, words):
                        spoken.open()
                        sound = made
                        if now.timings.first_audio is None:
                            sound = without_lead(made)  # Piper begins with 50 ms of nothing
                            now.timings = replace(now.timings, first_audio=now.since_known_ms())
                        await now.tell(Spoken(sentence.seq, sound))
        except PersLMError as error:
            now.problems.append(f"the reply could not be spoken: {error}")
        finally:
            spoken.open()

    async def _sound_of(self, tts: Lane[Piper], words: str) -> AsyncIterator[Pcm]:
        """The sound of a sentence, as it was prepared or piece by piece as it is made."""
        if self._prepared is not None and (pieces := await self._prepared.take(words)):
            for piece in pieces:
                yield piece
            return
        async with tts.stream(engine_calls.speak, words) as sounds:
            async for made in sounds:
                yield made

    async def prepare(self, text: str) -> None:
        """Make the first sound of the answer to `text`, which somebody may have finished saying.

        Only for questions that change nothing; nothing is told, remembered or done.
        """
        if self._prepared is None or self.preview is None:
            return
        await self._prepared.make(await self.preview(text))

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
        """Make the model's conversation the asked one: continue it, or start it with what is on record."""
        wanted = (ask.person, ask.conversation, self.parts.model.rebuilt)
        if wanted == self._conversation:
            return
        earlier = await self.recollection.recent(ask)
        self._conversation = None
        await self.parts.model.call(engine_calls.begin, earlier)
        self._conversation = wanted

    async def forget(self, wanted: Wanted) -> Forgotten:
        """Forget on this disk (`memory_forget.forget_everywhere`), in the running conversation, and elsewhere.

        The conversation starts anew. What other parts of the daemon keep of words is dropped by `elsewhere`.
        """
        async with self._queue.patiently():
            return await self._forget(wanted)

    async def _forget(self, wanted: Wanted) -> Forgotten:
        """The same in a turn, which has no other beside it."""
        await self._stop_idling()
        forgotten = await self.recollection.lane.call(engine_calls.forget, wanted)
        if not forgotten.count:
            return forgotten
        await self.parts.model.call(engine_calls.forget_conversation)
        self._conversation = None
        self.recollection.guests.forget()
        if self._prepared is not None:
            self._prepared.drop()
        left = [phrase for drop in self.elsewhere for phrase in await drop()]
        return replace(forgotten, beyond=(*forgotten.beyond, *left))

    async def resize_context(self, context_tokens: int) -> tuple[int, int]:
        """Change the model's context between two turns; returns its size before and now, in tokens.

        The conversation goes on, less what no longer fits.
        """
        async with self._queue.patiently():
            await self._stop_idling()
            return await self.parts.model.call(engine_calls.resize, context_tokens)

    # Between turns

    def tend(self) -> None:
        """See to the memory as after a turn: something came into it without one."""
        self._untended = True
        if self._idle_scope is None and not self._queue.taken:
            self._start_idling()

    def _start_idling(self) -> None:
        if self._tasks is not None and not self._queue.waiting:
            before, self._idle_done = self._idle_done, anyio.Event()
            scope = self._idle_scope = anyio.CancelScope()
            self._tasks.start_soon(self._idle, scope, before, self._idle_done)

    async def _stop_idling(self) -> None:
        if self._idle_scope is not None:
            self._idle_scope.cancel()
        if self._tasks is not None:
            await self._idle_done.wait()

    async def _idle(self, scope: anyio.CancelScope, before: anyio.Event, done: anyio.Event) -> None:
        """Summarise a long conversation, see to the memory; the next ask stops it at once.

        A skill's turn does not wait for it: then the idling before may still be ending.
        """
        try:
            await before.wait()
            with scope:
                if self.relief is not None:
                    await self.relief()
                await self.parts.model.call(engine_calls.compact)
                self._untended = True
                while self._untended:
                    self._untended = False
                    await self.recollection.tidy()
        except PersLMError as error:
            log.warning("idle_failed error=%s", type(error).__name__)
        finally:
            if self._idle_scope is scope:
                self._idle_scope = None
            done.set()


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000
