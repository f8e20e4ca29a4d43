"""THE file: hear -> recall -> think -> reply by sentence -> remember.

A turn takes an `Ask` (text, or sound that is recognized first) and tells its events as they happen; it returns a
`Turn` once the reply is complete and durably remembered. One turn runs at a time, two may wait, a third is told
"busy". `interrupt` ends the running turn within one token, and what was said until then is remembered as
interrupted. The pipeline knows no transport, no file and no device: who asks brings a `tell` function.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup
from numpy import float32
from numpy.typing import NDArray

from perslm_runtime.audio import Pcm
from perslm_runtime.embed import Embedder
from perslm_runtime.errors import BusyError, EngineError, InputError, MemoryStoreError, PersLMError
from perslm_runtime.lane import Gate, Lane, Stop
from perslm_runtime.memory import Memory, Recalled, Receipt
from perslm_runtime.model import ChatModel, ReplyEnd
from perslm_runtime.prompt import user_text
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.spoken import speakable
from perslm_runtime.stt import SpeechToText, Transcript
from perslm_runtime.tts import Piper

log = logging.getLogger("perslm.turn")

_MOST_WAITING = 2
_FACT = re.compile(r"\s*(?:please[, ]+)?remember(?:\s+that|:|,)?\s+(?P<fact>.{3,})", re.IGNORECASE | re.DOTALL)
_TURNS_TAKEN_UP = 6  # of a conversation that is gone on with; the context drops what does not fit
_BACKFILL = 16  # vectors computed per idle moment: about 0.2 s on this machine, 2 s on a Pi 4

Vector = NDArray[float32]


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants: `text`, or `sound` to be recognized. `speak` asks for audio events.

    `conversation` names a conversation to go on with; "" is this process's own.
    """

    text: str = ""
    sound: Pcm | None = None
    speak: bool = False
    conversation: str = ""
    person: str = "owner"


@dataclass(frozen=True, slots=True)
class Heard:
    """The sound was recognized as `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was recalled for this turn, best first."""

    memories: tuple[Recalled, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the reply, as written; `seq` counts from 0."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The sound of sentence `seq`; long sentences come in several pieces."""

    seq: int
    sound: Pcm


Event = Heard | Remembered | Sentence | Spoken
Tell = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds of one turn; None where it did not happen.

    `stt` and `recall` are durations. `first_token` and `first_audio` count from the moment the text was known
    (after `stt`). `total` counts from the ask to the remembered reply.
    """

    stt: float | None = None
    recall: float | None = None
    first_token: float | None = None
    first_audio: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished turn. `problems` are sentences about what did not work although there is a reply."""

    id: str
    heard: str
    reply: str
    recalled: tuple[Recalled, ...]
    model: str
    timings: Timings
    interrupted: bool = False
    remembered_as: int | None = None
    problems: tuple[str, ...] = ()
    end: ReplyEnd | None = None


@dataclass(slots=True)
class Parts:
    """The engines a pipeline works with, each in its lane; None where this process has none of the kind."""

    model: Lane[ChatModel]
    memory: Lane[Memory] | None = None
    embed: Lane[Embedder] | None = None
    stt: Lane[SpeechToText] | None = None
    tts: Lane[Piper] | None = None


@dataclass(slots=True)
class _Progress:
    """The turn while it runs."""

    ask: Ask
    tell: Tell
    id: str
    began: float
    known: float = 0.0
    timings: Timings = field(default_factory=Timings)
    recalled: tuple[Recalled, ...] = ()
    vector: Vector | None = None
    reply: str = ""
    end: ReplyEnd | None = None
    problems: list[str] = field(default_factory=list)

    def since_known_ms(self) -> float:
        return (time.perf_counter() - self.known) * 1000


class Pipeline:
    """Runs turns over `parts`; an async context manager (it tidies up between turns).

    `recall_k` memories at most are put before the model. Cancelling a running `ask` stops its engines and
    remembers what was said so far as interrupted.
    """

    def __init__(self, parts: Parts, *, model_id: str, embedder: str = "", recall_k: int = 3) -> None:
        self.parts = parts
        self._model_id = model_id
        self._embedder = embedder
        self._recall_k = recall_k
        self._session = uuid.uuid4().hex[:12]
        self._turn = anyio.Lock()
        self._waiting = 0
        self._scope: anyio.CancelScope | None = None
        self._conversation: tuple[str, str] | None = None
        self._idle_scope: anyio.CancelScope | None = None
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
        await self._take_turn()
        try:
            await self._stop_idling()
            named = replace(ask, conversation=ask.conversation or self._session)
            return await self._run(_Progress(named, tell, uuid.uuid4().hex[:12], began))
        finally:
            self._turn.release()
            self._start_idling()

    async def _take_turn(self) -> None:
        try:
            self._turn.acquire_nowait()
        except anyio.WouldBlock:
            if self._waiting >= _MOST_WAITING:
                raise BusyError("two questions are already waiting: ask again in a moment") from None
            self._waiting += 1
            try:
                await self._turn.acquire()
            finally:
                self._waiting -= 1

    # One turn

    async def _run(self, now: _Progress) -> Turn:
        now.ask = await self._hear(now)
        now.known = time.perf_counter()
        finished = False
        try:
            with anyio.CancelScope() as self._scope:
                await self._recall(now)
                await self._answer(now)
                finished = True
        finally:
            self._scope = None
            # Also when the asker is cancelled: what was said aloud happened, and is remembered.
            with anyio.CancelScope(shield=True):
                saved = await self._remember(now, interrupted=not finished) if finished or now.reply else None
        now.timings = replace(now.timings, total=_ms(now.began))
        turn = Turn(
            now.id,
            now.ask.text,
            now.reply,
            now.recalled,
            self._model_id,
            now.timings,
            interrupted=not finished,
            remembered_as=saved,
            problems=tuple(now.problems),
            end=now.end,
        )
        _log_turn(turn)
        return turn

    async def _hear(self, now: _Progress) -> Ask:
        ask = now.ask
        if ask.sound is not None:
            if self.parts.stt is None:
                raise EngineError("this process has no recognizer: set voice.enabled=true")
            heard = await self.parts.stt.call(_recognize, ask.sound)
            now.timings = replace(now.timings, stt=_ms(now.began))
            if not heard.text.strip():
                raise InputError("no words were recognized in the recording: speak closer to the microphone")
            ask = replace(ask, text=heard.text)
            await now.tell(Heard(heard.text))
        if not ask.text.strip():
            raise InputError("the question is empty: say or type something")
        return ask

    async def _recall(self, now: _Progress) -> None:
        """Look for what helps, by words and (where there is an embedder) meaning; trouble is only noted."""
        memory = self.parts.memory
        if memory is None:
            return
        began = time.perf_counter()
        try:
            now.vector = await self._embed(now.ask.text)
            found = await memory.call(_recall, now.ask.text, now.vector, self._recall_k, now.ask.person)
            now.recalled = _without_echoes(found)
        except PersLMError as error:
            now.problems.append(f"nothing could be recalled: {error}")
        now.timings = replace(now.timings, recall=_ms(began))
        await now.tell(Remembered(now.recalled))

    async def _answer(self, now: _Progress) -> None:
        """Think and speak at the same time: a sentence is synthesized while the next is generated."""
        await self._enter_conversation(now.ask)
        sentences, to_say = anyio.create_memory_object_stream[Sentence](4)
        spoken = Gate()
        try:
            async with anyio.create_task_group() as tasks:
                if now.ask.speak and self.parts.tts is not None:
                    tasks.start_soon(self._speak, now, self.parts.tts, to_say, spoken)
                else:
                    to_say.close()
                    spoken.open()
                await self._think(now, sentences, spoken)
        except BaseExceptionGroup as group:
            raise _only_error(group) from None

    async def _think(self, now: _Progress, sentences: ObjectSendStream[Sentence], spoken: Gate) -> None:
        said = user_text(now.ask.text, [memory.text for memory in now.recalled])
        seq = 0
        reply = ""
        async with sentences, self.parts.model.stream(_sentences, said, spoken) as pieces:
            async for piece in pieces:
                if isinstance(piece, ReplyEnd):
                    now.end = piece
                    continue
                reply += piece
                now.reply = reply.strip()
                if piece.isspace():
                    continue
                sentence = Sentence(seq, piece)
                seq += 1
                await now.tell(sentence)
                with suppress(anyio.BrokenResourceError):  # nobody speaks, or speaking failed and said so
                    await sentences.send(sentence)
        if now.end is not None and now.end.first_token_at is not None:
            first_ms = (now.end.first_token_at - now.known) * 1000
            now.timings = replace(now.timings, first_token=first_ms)

    async def _speak(
        self, now: _Progress, tts: Lane[Piper], to_say: ObjectReceiveStream[Sentence], spoken: Gate
    ) -> None:
        try:
            async with to_say:
                async for sentence in to_say:
                    words = speakable(sentence.text)
                    if not words:
                        continue
                    async with tts.stream(_speak, words) as sounds:
                        async for sound in sounds:
                            spoken.open()
                            if now.timings.first_audio is None:
                                now.timings = replace(now.timings, first_audio=now.since_known_ms())
                            await now.tell(Spoken(sentence.seq, sound))
        except PersLMError as error:
            now.problems.append(f"the reply could not be spoken: {error}")
        finally:
            spoken.open()

    async def _remember(self, now: _Progress, *, interrupted: bool) -> int | None:
        memory = self.parts.memory
        if memory is None:
            return None
        try:
            told = _FACT.match(now.ask.text)
            if told is not None:
                await self.remember(told["fact"].strip(), now.ask.person)
            return await memory.call(_remember, now.ask, now.reply, now.vector, interrupted, self._model_id)
        except PersLMError as error:
            now.problems.append(f"this turn could not be remembered: {error}")
            return None

    async def _embed(self, text: str) -> Vector | None:
        if self.parts.embed is None:
            return None
        vectors = await self.parts.embed.call(_embed, [text])
        vector: Vector = vectors[0]
        return vector

    async def _enter_conversation(self, ask: Ask) -> None:
        """Make the model's conversation the asked one: continue it, or start it with what is on record."""
        wanted = (ask.person, ask.conversation)
        if wanted == self._conversation:
            return
        earlier: list[tuple[str, str]] = []
        if self.parts.memory is not None:
            with suppress(PersLMError):  # the turn's own recall has told of it
                earlier = await self.parts.memory.call(_recent, ask.conversation, ask.person)
        self._conversation = None
        await self.parts.model.call(_begin, earlier)
        self._conversation = wanted

    async def remember(self, text: str, person: str = "owner") -> int:
        """Store a fact durably, findable by its words and its meaning; returns its id."""
        if self.parts.memory is None:
            raise MemoryStoreError("the memory is switched off: set memory.enabled=true")
        return await self.parts.memory.call(_remember_fact, text, person, await self._embed(text))

    async def forget(
        self,
        *,
        ids: Sequence[int] = (),
        text: str | None = None,
        since: datetime | None = None,
        everything: bool = False,
    ) -> Receipt:
        """Forget as `Memory.forget` does, and in the running conversation too: it starts anew."""
        memory = self.parts.memory
        if memory is None:
            raise MemoryStoreError("the memory is switched off: set memory.enabled=true")
        async with self._turn:
            await self._stop_idling()
            receipt = await memory.call(_forget, ids, text, since, everything)
            await self.parts.model.call(_begin, [])
            self._conversation = None
        return receipt

    # Between turns

    def _start_idling(self) -> None:
        if self._tasks is not None and not self._waiting:
            self._idle_done = anyio.Event()
            self._tasks.start_soon(self._idle)

    async def _stop_idling(self) -> None:
        if self._idle_scope is not None:
            self._idle_scope.cancel()
        if self._tasks is not None:
            await self._idle_done.wait()

    async def _idle(self) -> None:
        """Summarise a long conversation and compute missing vectors; the next ask stops it at once."""
        try:
            with anyio.CancelScope() as self._idle_scope:
                await self.parts.model.call(_compact)
                await self._fill_vectors()
        except PersLMError as error:
            log.warning("idle_failed error=%s", type(error).__name__)
        finally:
            self._idle_scope = None
            self._idle_done.set()

    async def _fill_vectors(self) -> None:
        memory, embed = self.parts.memory, self.parts.embed
        if memory is None or embed is None:
            return
        while missing := await memory.call(_missing_vectors):
            vectors = await embed.call(_embed, [text for _, text in missing])
            pairs = list(zip((number for number, _ in missing), vectors, strict=True))
            await memory.call(_set_vectors, pairs, self._embedder)


def _without_echoes(found: Sequence[Recalled]) -> tuple[Recalled, ...]:
    """What was recalled, less the turns that only say a recalled fact again ("remember that ...")."""
    facts = [memory.text.strip(" .").lower() for memory in found if memory.kind == "fact"]
    return tuple(
        memory
        for memory in found
        if memory.kind == "fact" or not any(fact in memory.text.lower() for fact in facts)
    )


def _only_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in a task group's exception group; the group itself when there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


# What runs in the lanes' threads


def _recognize(engine: SpeechToText, stop: Stop, sound: Pcm) -> Transcript:
    utterance = engine.listen()
    utterance.accept(sound, stop)
    return utterance.finish(stop)


def _speak(voice: Piper, stop: Stop, words: str) -> Generator[Pcm, None, None]:
    yield from voice.speak(words, stop)


def _embed(embedder: Embedder, stop: Stop, texts: list[str]) -> Vector:
    return embedder.embed(texts, stop)


def _recall(memory: Memory, _stop: Stop, text: str, vector: Vector | None, k: int, person: str) -> list[Recalled]:
    return memory.recall(text, vector=vector, k=k, person=person) if k else []


def _recent(memory: Memory, _stop: Stop, conversation: str, person: str) -> list[tuple[str, str]]:
    turns = memory.recent_turns(conversation, _TURNS_TAKEN_UP)
    return [(turn.said, turn.reply) for turn in turns if turn.person == person]


def _remember_fact(memory: Memory, _stop: Stop, fact: str, person: str, vector: Vector | None) -> int:
    return memory.remember_fact(fact, person=person, vector=vector)


def _remember(
    memory: Memory, _stop: Stop, ask: Ask, reply: str, vector: Vector | None, interrupted: bool, model: str
) -> int:
    """Store the turn; durable when it returns."""
    return memory.remember_turn(
        ask.text,
        reply,
        conversation=ask.conversation,
        person=ask.person,
        interrupted=interrupted,
        model=model,
        vector=vector,
    )


def _forget(
    memory: Memory, _stop: Stop, ids: Sequence[int], text: str | None, since: datetime | None, everything: bool
) -> Receipt:
    return memory.forget(ids=ids, text=text, since=since, everything=everything)


def _missing_vectors(memory: Memory, _stop: Stop) -> list[tuple[int, str]]:
    return memory.missing_vectors(_BACKFILL)


def _set_vectors(memory: Memory, _stop: Stop, pairs: list[tuple[int, Vector]], embedder: str) -> None:
    memory.set_vectors(pairs, embedder)


def _sentences(model: ChatModel, stop: Stop, said: str, spoken: Gate) -> Generator[str | ReplyEnd, None, None]:
    """The reply in speakable pieces, cut in the model's own thread: one hop to the loop per token cost 20 % speed.

    After the first piece the model waits until its sound is out (`spoken`): on a board that decodes with all
    cores the two would halve each other's speed at the one moment somebody is waiting.
    """
    splitter = SentenceSplitter()
    started = False
    with closing(model.reply(stop, said)) as pieces:
        for piece in pieces:
            if isinstance(piece, ReplyEnd):
                yield from splitter.flush()
                yield piece
                return
            text = piece if started else piece.lstrip()  # models open with a space or a newline
            started = started or bool(text)
            for number, sentence in enumerate(splitter.feed(text)):
                yield sentence
                if number == 0:
                    spoken.wait(stop)


def _begin(model: ChatModel, stop: Stop, turns: list[tuple[str, str]]) -> None:
    model.begin(stop, turns)


def _compact(model: ChatModel, stop: Stop) -> str:
    return model.compact(stop) if model.wants_compaction else ""


def _log_turn(turn: Turn) -> None:
    """One line per turn: sizes and times, never the words."""
    times = turn.timings
    end = turn.end
    log.info(
        "turn=%s heard_chars=%d reply_chars=%d recalled=%d interrupted=%s stt_ms=%s recall_ms=%s first_token_ms=%s"
        " first_audio_ms=%s total_ms=%s prefilled=%s reused=%s generated=%s problems=%d",
        turn.id,
        len(turn.heard),
        len(turn.reply),
        len(turn.recalled),
        turn.interrupted,
        *(
            None if value is None else round(value)
            for value in (times.stt, times.recall, times.first_token, times.first_audio, times.total)
        ),
        *((end.prefilled_tokens, end.reused_tokens, end.generated_tokens) if end else (None, None, None)),
        len(turn.problems),
    )


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000
