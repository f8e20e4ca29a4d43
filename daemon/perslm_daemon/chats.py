"""A chat whose messages come whole with each request: through the same queue and engines as a turn, beside it.

The person's running conversation is neither seen nor changed. What may be recalled, done and remembered for it is
said with each request. It knows no transport, and nothing of the words is logged.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio

from perslm_daemon import engine_calls
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.spoken_forgetting import is_yes
from perslm_daemon.turn import Answered, Ask, Gathered, ms_since, only_error, source_sentence, without_echoes
from perslm_runtime.completing import Completion, CompletionEnd, Draft
from perslm_runtime.known_lines import Line, beside
from perslm_runtime.lane_job import working_for
from perslm_runtime.memory import Recalled
from perslm_runtime.prompt import user_text

log = logging.getLogger("perslm.turn")

_RECALLED = 3
_LINES_WORDS = 60

TellText = Callable[[str], Awaitable[None]]
"""Where the pieces of the reply go."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A completion that is wanted, and for whom.

    `acts` lets what is understood without the model be answered so (timers, the clock, the home), `recalls` puts
    the person's memories before the model, `keeps` remembers the question and its reply, `forgets` lets it ask to
    forget, as in a turn.
    """

    completion: Completion
    person: str
    acts: bool = False
    recalls: bool = False
    keeps: bool = False
    forgets: bool = False
    source: str = "http"
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def question(self) -> str:
        """The newest message."""
        return self.completion.messages[-1].text

    @property
    def thread(self) -> str:
        """Names what was said until the newest message, or where that is a yes, until what it says yes to."""
        said = self.completion.messages[: -2 if is_yes(self.question) else None]
        return hashlib.sha256(repr([(one.role, one.text) for one in said]).encode()).hexdigest()


@dataclass(slots=True)
class ChatEnd:
    """What came of a chat. `why` is "end", "length", "stop" or, interrupted, "stopped"; times are milliseconds.

    Token counts are 0 for what was answered without the model; `intent` is then its name.
    """

    text: str = ""
    why: str = "stopped"
    prompt_tokens: int = 0
    reused_tokens: int = 0
    reply_tokens: int = 0
    recalled: int = 0
    gathered: tuple[Recalled, ...] = ()
    intent: str | None = None
    first_token_ms: float | None = None
    total_ms: float = 0.0


class Chats:
    """Runs chats over a pipeline's engines."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def run(self, chat: Chat, tell: TellText) -> ChatEnd:
        """Run one; `tell` gets the reply in pieces. Raises as `Pipeline.ask` does; `BusyError` before any piece.

        Cancelling stops the model within one token.
        """
        began, end = time.perf_counter(), ChatEnd()

        async def told(piece: str) -> None:
            if end.first_token_ms is None:
                end.first_token_ms = ms_since(began)
            end.text += piece
            await tell(piece)

        async with self._pipeline.alone():
            with working_for(chat.id):
                traceless = await self._forgot(chat, told, end)
                if not traceless and not await self._acted(chat, told, end):
                    await self._thought(chat, told, end)
                if chat.keeps and not traceless:
                    await self._remember(chat, end)
        end.total_ms = ms_since(began)
        _log(chat, end)
        return end

    async def _forgot(self, chat: Chat, told: TellText, end: ChatEnd) -> bool:
        """Let what asks to forget be done; such a chat leaves no trace, as such a turn leaves none."""
        if not chat.forgets:
            return False
        asked = replace(_ask(chat), conversation=chat.thread)
        said = [one.text for one in chat.completion.messages[:-1] if one.role == "user"]
        answered = await self._pipeline.forgetting(asked, before=said[-1] if said else "")
        return await _answered_without(answered, told, end)

    async def _acted(self, chat: Chat, told: TellText, end: ChatEnd) -> bool:
        """Let the skills have it first, as in a turn."""
        if not chat.acts or self._pipeline.skills is None:
            return False
        answered = await self._pipeline.skills(_ask(chat))
        if isinstance(answered, Gathered):
            end.gathered = answered.pieces
            return False
        return await _answered_without(answered, told, end)

    async def _thought(self, chat: Chat, told: TellText, end: ChatEnd) -> None:
        """Have the model answer, with what helps before the newest message, and name the document it is from."""
        found, lines = await self._recalled(chat, end)
        end.recalled = len(found)
        await self._answered(with_memories(chat, found, lines), told, end)
        named = source_sentence(chat.question, end.text, found)
        if named and end.why == "end" and not chat.completion.gbnf:
            await told(f" {named}")

    async def _recalled(self, chat: Chat, end: ChatEnd) -> tuple[tuple[Recalled, ...], tuple[Line, ...]]:
        """What tools have read for it and the person's memories; what is known of them near the newest message."""
        recollection = self._pipeline.recollection
        if not chat.recalls or not recollection.serves(chat.person):
            return end.gathered, ()
        vector, found = await recollection.found(chat.question, _RECALLED, chat.person)
        lines = await recollection.lines(chat.question, vector, chat.person)
        return (*end.gathered, *without_echoes(found)), lines

    async def _answered(self, wanted: Completion, told: TellText, end: ChatEnd) -> None:
        """Have the reply written, and hand it on beside that: who is slow to read it holds up no engine."""
        draft, pieces = Draft(), _Pieces()

        async def write() -> None:
            async with self._pipeline.parts.model.stream(engine_calls.complete, wanted, draft) as written:
                async for piece in written:
                    if isinstance(piece, CompletionEnd):
                        end.why = piece.why
                        end.prompt_tokens, end.reused_tokens = piece.prompt_tokens, piece.reused_tokens
                        end.reply_tokens = piece.reply_tokens
                    else:
                        draft.given += len(piece)
                        pieces.put(piece)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pieces.hand_to, told)
                try:
                    await self._pipeline.giving_way(write)
                finally:
                    pieces.end()
        except BaseExceptionGroup as group:
            raise only_error(group) from None

    async def _remember(self, chat: Chat, end: ChatEnd) -> None:
        pipeline = self._pipeline
        if not pipeline.recollection.serves(chat.person):
            return
        asked = replace(_ask(chat), conversation=chat.id)
        model = pipeline.model_id if end.intent is None else ""
        await pipeline.recollection.remember_turn(asked, end.text, None, model, interrupted=False)


class _Pieces:
    """Text on its way: put in without waiting, so that nothing is lost where the writer is stopped."""

    def __init__(self) -> None:
        self._waiting, self._ended, self._more = list[str](), False, anyio.Event()

    def put(self, piece: str) -> None:
        self._waiting.append(piece)
        self._more.set()

    def end(self) -> None:
        self._ended = True
        self._more.set()

    async def hand_to(self, told: TellText) -> None:
        """Hand it all on, in order, until the end."""
        while self._waiting or not self._ended:
            if not self._waiting:
                await self._more.wait()
            self._more = anyio.Event()
            pieces, self._waiting = self._waiting, []
            for piece in pieces:
                await told(piece)


def with_memories(chat: Chat, found: Sequence[Recalled], lines: Sequence[Line]) -> Completion:
    """The completion, its newest message with what was `found` before it, and `lines` that nothing says yet."""
    messages = chat.completion.messages
    read = [*(one.text for one in messages), *(memory.text for memory in found)]
    known = beside(lines, read, _LINES_WORDS, lambda text: len(text.split()))
    if not found and not known:
        return chat.completion
    sources = {memory.text: memory.source for memory in found if memory.kind in ("chunk", "tool")}
    given = user_text(chat.question, [*(memory.text for memory in found), *reversed(known)], sources=sources)
    return replace(chat.completion, messages=(*messages[:-1], replace(messages[-1], text=given)))


def _ask(chat: Chat) -> Ask:
    return Ask(chat.question, person=chat.person, source=chat.source, turn=chat.id)


async def _answered_without(answered: Answered | None, told: TellText, end: ChatEnd) -> bool:
    """Tell what was answered without the model; False where it was not."""
    if answered is None:
        return False
    end.intent, end.why = answered.intent.name, "end"
    await told(answered.text)
    return True


def _log(chat: Chat, end: ChatEnd) -> None:
    log.info(
        "chat=%s source=%s intent=%s messages=%d reply_chars=%d recalled=%d why=%s prompt=%d reused=%d"
        " generated=%d first_token_ms=%s total_ms=%d",
        chat.id,
        chat.source,
        end.intent,
        len(chat.completion.messages),
        len(end.text),
        end.recalled,
        end.why,
        end.prompt_tokens,
        end.reused_tokens,
        end.reply_tokens,
        None if end.first_token_ms is None else round(end.first_token_ms),
        end.total_ms,
    )
