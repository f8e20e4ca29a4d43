"""A reply to a list of messages that comes whole with each request, beside the running conversation.

Knows the engine and messages, not who asks. The cache's state after the last such reply is kept, because who
sends a whole list sends it again, longer, with the next request: then only what is new is computed. A reply may be
held to a grammar: a token is sampled as ever, and only one that the grammar refuses is replaced by the likeliest.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from perslm_runtime.errors import Cancelled, InputError
from perslm_runtime.lane import Stop
from perslm_runtime.llama import Llama, Sampling
from perslm_runtime.llama_grammar import Grammar
from perslm_runtime.prompt import ChatFormat, Conversation, Tokenize, start_conversation

_MOST_KEPT_BYTES = 24_000_000  # of the state after a reply: 1,500 to 2,000 tokens of the models of the catalogue
_LONGEST_STOP = 200  # characters
_GIVEN_EVERY_S = 0.025  # a hop to the loop per token costs a fifth of the speed; the eye sees 40 a second as flow


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ended and what it cost. Times are milliseconds, `why` is "end", "length" or "stopped".

    `first_token_at` is the `time.perf_counter()` of the first token, None when there was none.
    """

    text: str
    why: str
    prefilled_tokens: int
    reused_tokens: int
    generated_tokens: int
    prefill_ms: float
    decode_ms: float
    first_token_at: float | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a list; `role` is "system", "user" or "assistant"."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What is wanted: messages of which the last is a user's, and how the reply may be.

    `gbnf` holds the whole reply to a grammar. `stops` are texts at which it ends, before them. Without a system
    message the model's own is used, with its examples.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    sampling: Sampling | None = None
    gbnf: str = ""
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompletionEnd:
    """How a reply ended and what it cost, in tokens and ms. `why` is "end", "length" or "stop".

    `reused_tokens` of the prompt were in a cache; `first_token_at` is a `time.perf_counter()`.
    """

    text: str
    why: str
    prompt_tokens: int
    reused_tokens: int
    reply_tokens: int
    prefill_ms: float
    decode_ms: float
    first_token_at: float | None
    aside_ms: float = 0.0


@dataclass(slots=True)
class Draft:
    """What is written of a reply so far, by which it goes on where it was stopped.

    `tokens` are the engine's; `given` is how many characters have arrived, which whoever reads keeps up to date.
    """

    tokens: list[int] = field(default_factory=list)
    given: int = 0
    reused_tokens: int | None = None


@dataclass(slots=True)
class Aside:
    """A conversation's tokens while its cache is put aside, and the milliseconds that took."""

    cached: list[int]
    ms: float = 0.0


class Run:
    """What one generation has done so far; read even when it ends early."""

    __slots__ = ("decode_ms", "first_token_at", "prefill_ms", "prefilled", "started", "tokens", "why")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.why = "stopped"
        self.started = False
        self.prefilled = 0
        self.prefill_ms = 0.0
        self.decode_ms = 0.0
        self.first_token_at: float | None = None


class LastList:
    """The cache's state after the last list of messages and its reply."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._state = b""

    def forget(self) -> None:
        """Drop it: the cache has another shape now, or something in it was to be forgotten."""
        self._tokens, self._state = [], b""

    def keep(self, llama: Llama, tokens: list[int]) -> None:
        """Keep the state that the cache is in, which holds `tokens`."""
        self.forget()
        if llama.state_bytes <= _MOST_KEPT_BYTES:
            self._tokens, self._state = tokens, llama.state()

    def fill(self, llama: Llama, cached: Sequence[int], prompt: Sequence[int]) -> int:
        """Make the cache begin with as much of `prompt` as is known; returns how many tokens that is.

        `cached` is what it holds now.
        """
        ours, theirs = shared(self._tokens, prompt), shared(cached, prompt)
        if ours > theirs and llama.restore(memoryview(self._state)) and llama.truncate(ours):
            return ours
        if ours <= theirs and llama.truncate(theirs):
            return theirs
        llama.clear()
        return 0


def shared(have: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens both begin with; never the whole prompt, whose last token has to be computed."""
    count = 0
    for one, other in zip(have, prompt[:-1], strict=False):
        if one != other:
            break
        count += 1
    return count


def prompt_of(
    tokenize: Tokenize,
    form: ChatFormat,
    wanted: Completion,
    own: tuple[str, Sequence[tuple[str, str]]],
    limit: int,
) -> list[int]:
    """The tokens of a list of messages; `own` is the system text and examples where it has none.

    Raises `InputError` where the list is in no order that the model knows, or does not fit `limit` with its reply.
    """
    system = "\n\n".join(message.text for message in wanted.messages if message.role == "system")
    texts, examples = (system, ()) if system else own
    talk = start_conversation(tokenize, form, texts, examples, limit)
    said = [message for message in wanted.messages if message.role != "system"]
    if not said or said[-1].role != "user":
        raise InputError("the last message has to be a user's")
    pending: list[str] = []
    for message in said[:-1]:
        if message.role == "user":
            pending.append(message.text)
        else:
            talk.add(tokenize("\n\n".join(pending), special=False), tokenize(message.text, special=False))
            pending = []
    user = tokenize("\n\n".join([*pending, said[-1].text]), special=False)
    _require_room(talk, user, wanted.max_tokens)
    return talk.prompt(user, wanted.max_tokens)


def _require_room(talk: Conversation, user: Sequence[int], reserve: int) -> None:
    needs = talk.used + len(user) + len(talk.opening)
    if needs + reserve > talk.limit:
        raise InputError(
            f"the messages take {needs} tokens and the reply may take {reserve}, and the context has {talk.limit}:"
            " send fewer messages, ask for a shorter reply, or set model.context_tokens higher"
        )


def complete(
    llama: Llama,
    last: LastList,
    cached: Sequence[int],
    prompt: list[int],
    wanted: Completion,
    draft: Draft,
    stop: Stop,
) -> Generator[str | CompletionEnd, None, None]:
    """Fill the cache with `prompt` and write the reply: pieces of text, then one `CompletionEnd`.

    Stopping raises `Cancelled` within one token; called again with the same `draft` it goes on there. The sampler
    is left as `wanted` has it.
    """
    began = time.perf_counter()
    whole = [*prompt, *draft.tokens]
    reused = last.fill(llama, cached, whole)
    if draft.reused_tokens is None:
        draft.reused_tokens = reused
    last.forget()
    llama.decode(whole[reused:], stop)
    filled = time.perf_counter()
    if wanted.sampling is not None:
        llama.set_sampling(wanted.sampling)
    llama.reset_sampling()
    writing = _Writing(llama, wanted, draft)
    try:
        yield from writing.pieces(stop)
        last.keep(llama, [*prompt, *writing.held])
    except (Cancelled, GeneratorExit):  # it may go on, or its list of messages come again
        last.keep(llama, [*prompt, *writing.held])
        raise
    finally:
        writing.close()
    yield CompletionEnd(
        writing.text,
        writing.why,
        len(prompt),
        draft.reused_tokens,
        writing.count,
        (filled - began) * 1000,
        (time.perf_counter() - filled) * 1000,
        writing.first_token_at,
    )


class _Writing:
    """One reply while it is written, from what is in its draft on. `held` are its tokens that the cache holds."""

    def __init__(self, llama: Llama, wanted: Completion, draft: Draft) -> None:
        self._llama, self._wanted, self._draft = llama, wanted, draft
        self._grammar = Grammar(llama, wanted.gbnf) if wanted.gbnf else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""
        self.why = "length"
        self.held = list(draft.tokens)
        self.first_token_at: float | None = None
        llama.seen(draft.tokens)
        for token in draft.tokens:
            if self._grammar is not None:
                self._grammar.accept(token)
            self.text += self._decoder.decode(llama.piece(token))

    @property
    def count(self) -> int:
        """How many tokens the reply has."""
        return len(self._draft.tokens)

    def close(self) -> None:
        if self._grammar is not None:
            self._grammar.close()

    def pieces(self, stop: Stop) -> Generator[str, None, None]:
        """The text, in pieces no shorter than they need to be; what may begin a stop waits until it does not."""
        given, at = self._draft.given, 0.0
        for _ in self._tokens(stop):
            if (cut := self._stop_at()) is not None:
                self.text, self.why = self.text[:cut], "stop"
                break
            now = time.perf_counter()
            safe = len(self.text) - self._waiting()
            if safe > given and now - at >= _GIVEN_EVERY_S:
                yield self.text[given:safe]
                given, at = safe, now
        if given < len(self.text):
            yield self.text[given:]

    def _tokens(self, stop: Stop) -> Generator[None, None, None]:
        if self.count:
            yield  # it was stopped behind a token that may have ended it
        while self.count < self._wanted.max_tokens:
            stop.check()
            token = self._next()
            if token is None:
                self.why = "end"
                break
            self.first_token_at = self.first_token_at or time.perf_counter()
            self._draft.tokens.append(token)
            self.text += self._decoder.decode(self._llama.piece(token))
            yield
            if self.count < self._wanted.max_tokens:
                self._llama.decode_one(token, stop)
                self.held.append(token)
        self.text += self._decoder.decode(b"", final=True)

    def _next(self) -> int | None:
        """The next token, None where the reply ends."""
        token = self._llama.sample()
        grammar = self._grammar
        if grammar is None:
            return None if self._llama.is_end(token) else token
        if self._llama.is_end(token) or not grammar.allows(token):
            if grammar.complete:  # it wants to end, or to go on with what is no part of the form
                return None
            grammar.refused += 1
            token = grammar.likeliest()
        grammar.accept(token)
        return token

    def _stop_at(self) -> int | None:
        """Where the first stop begins in the text, or None."""
        found = [at for text in self._wanted.stops if (at := self.text.find(text)) >= 0]
        return min(found, default=None)

    def _waiting(self) -> int:
        """How many characters at the end may be the beginning of a stop."""
        longest = 0
        for text in self._wanted.stops:
            for size in range(min(len(text) - 1, len(self.text)), longest, -1):
                if self.text.endswith(text[:size]):
                    longest = size
                    break
        return longest


def checked_stops(stops: Sequence[str]) -> tuple[str, ...]:
    """Stops as they may be asked for. Raises `InputError`."""
    if len(stops) > 4 or any(not 0 < len(text) <= _LONGEST_STOP for text in stops):
        raise InputError(f"at most 4 stops of 1 to {_LONGEST_STOP} characters can be watched for")
    return tuple(stops)
