"""The language model as an engine: a conversation in, pieces of text out.

Owns the KV cache's contents: which tokens it holds, what of them the next prompt shares, and the saved state
of the prompt's head. A turn computes only what is new. It knows no memory, no sentence and no sound; it is
used in one thread (a lane), and every long method takes a `Stop`.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from perslm_runtime.choosing import Choice, Form, SideHead, choose, prompt_of_call
from perslm_runtime.completing import Aside, Completion, CompletionEnd, Draft, LastList, ReplyEnd, Run, complete
from perslm_runtime.completing import prompt_of as prompt_of_list
from perslm_runtime.context import Window
from perslm_runtime.errors import Cancelled, EngineError, InputError
from perslm_runtime.known_lines import Line
from perslm_runtime.lane import Stop, stop_of_build
from perslm_runtime.llama import Llama, LlamaOptions, Sampling, system_info
from perslm_runtime.llama_library import BINDING_VERSION
from perslm_runtime.prompt import (
    CHATML,
    SUMMARY_REQUEST,
    Conversation,
    chat_format,
    start_conversation,
)
from perslm_runtime.snapshot import load_snapshot, model_identity, save_snapshot, snapshot_key

__all__ = ["ChatModel", "ReplyEnd"]

T = TypeVar("T")

_Sources = Mapping[str, str]
_NONE: _Sources = {}
_SUMMARY_TOKENS = 96
_KEPT_TURNS = 2
_TIMED_TOKENS = 16  # fewer tell nothing about the speed
_COMPACT_ABOVE = 0.65  # of the context: below, a turn with a full reply still fits without dropping any


class ChatModel:
    """A 4-bit model with one running conversation.

    Building it loads the file and puts the prompt's head into the cache: from the snapshot on disk when there
    is one that fits, else by prefill, which is then saved. Raises `EngineError` when the file cannot be used.
    """

    name = "llama.cpp"

    def __init__(
        self,
        file: Path,
        options: LlamaOptions,
        *,
        system: str,
        examples: Sequence[tuple[str, str]] = (),
        sampling: Sampling | None = None,
        max_reply_tokens: int = 160,
        snapshots: Path | None = None,
        adapter: Path | None = None,
    ) -> None:
        self.file, self.max_reply_tokens = file, max_reply_tokens
        self._llama = Llama(file, options, adapter)
        self._sampling = sampling or Sampling()
        self._llama.set_sampling(self._sampling)
        self._system = system
        self._examples = tuple(examples)
        self._snapshots = snapshots
        self._cached: list[int] = []
        self._prefill_tokens_per_s: float | None = None
        self._asked_tokens = options.context_tokens  # llama.cpp may round up
        try:
            self._format = chat_format(self._llama.chat_template or CHATML)
            self._talk = self._new_talk()
            self._window = Window(self.tokens, max_reply_tokens)
            self._check_room()
            self._side = SideHead(self._llama, snapshots, self._snapshot_key)
            self._last_list = LastList()
            self._key = self._snapshot_key(self._talk.head)
            self.head_from, self.head_ms = self._fill_head(stop_of_build())
        except Exception:
            self._llama.close()
            raise

    @property
    def description(self) -> str:
        """Architecture, size and quantization as the file states them."""
        return self._llama.description

    @property
    def head_tokens(self) -> int:
        """Tokens of the fixed prompt head."""
        return len(self._talk.head)

    @property
    def opening_tokens(self) -> int:
        """Tokens between a question and its reply."""
        return len(self._talk.opening)

    @property
    def turn_overhead_tokens(self) -> int:
        """Tokens a turn adds besides what is said and replied."""
        return len(self._talk.opening) + len(self._talk.closing)

    @property
    def used_tokens(self) -> int:
        """Tokens the conversation takes up in the context."""
        return self._talk.used

    @property
    def wants_compaction(self) -> bool:
        """Whether the conversation should be summarised when nobody waits (`compact`)."""
        return self._talk.used > _COMPACT_ABOVE * self._talk.limit and len(self._talk.turns) > _KEPT_TURNS

    @property
    def notes(self) -> tuple[str, ...]:
        """What was told in turns that have left the window, as far as it is kept: the person's own sentences."""
        return tuple(self._talk.gone)

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._llama.close()

    def prove(self) -> str:
        """Answer one fixed question with up to four tokens, outside the conversation."""
        said = self.tokens("What is the capital of Italy?")
        prompt = [*self._talk.head, *said, *self._talk.opening]
        stop = Stop()
        text = "".join(self._pieces(prompt, 4, stop)).strip()
        self._keep_only(len(self._talk.head), stop)
        if not text:
            raise EngineError(f"{self.file.name} answers nothing: run `perslm models verify`")
        return f"{self.description} answers {text!r}"

    @property
    def context_tokens(self) -> int:
        """Tokens of prompt and reply that are kept together now."""
        return self._llama.context_tokens

    def resize(self, stop: Stop, context_tokens: int) -> int:
        """Change the context's size; the conversation stays, less its oldest turns where they no longer fit.

        It is never made smaller than the head with a reply needs. Returns the size there is then.
        """
        stop.check()
        wanted = max(context_tokens, self._least_tokens())
        if wanted == self._asked_tokens:
            return self._llama.context_tokens
        self._llama.resize(wanted)
        self._asked_tokens = wanted
        self._talk.limit = self._llama.context_tokens
        self._key = self._snapshot_key(self._talk.head)
        self._cached = []
        self._side.forget()
        self._last_list.forget()
        self._fill_head(stop)
        return self._llama.context_tokens

    # The conversation

    def begin(self, stop: Stop, turns: Sequence[tuple[str, str]] = ()) -> None:
        """Start another conversation, with what was said before as (question, reply) pairs.

        What a completion left in memory goes too: something that was recalled for it may have been forgotten.
        """
        stop.check()
        self._last_list.forget()
        self._talk = self._new_talk()
        for said, reply in turns:
            self._talk.add(self.tokens(said), self.tokens(reply), said)

    def with_memories(
        self, question: str, memories: Sequence[str], sources: _Sources = _NONE, lines: Sequence[Line] = ()
    ) -> str:
        """The user text of `question` (prompt.user_text) with as many of `memories`, best first, as fit.

        They fit when they leave the window to the conversation and are read in two seconds at the speed this model
        had so far. `sources` names the documents that memories are pieces of; `lines` tell of the person.
        """
        speed = self._prefill_tokens_per_s
        return self._window.question_text(self._talk, question, memories, sources, lines, speed)

    def forget(self, stop: Stop) -> None:
        """Start another conversation and overwrite the cache's memory, in which the words of this one still are.

        Files need nothing: only heads are saved, and those hold no word that anybody said.
        """
        self._talk = self._new_talk()
        self._last_list.forget()
        self._llama.clear()
        self._cached = []
        self._fill_head(stop)

    def reply(self, stop: Stop, text: str, max_tokens: int | None = None) -> Generator[str | ReplyEnd, None, None]:
        """Answer `text` (as prompt.user_text makes it): pieces of text, then one `ReplyEnd`.

        Stopping ends it within one token; what was generated until then stays in the conversation. The
        pieces are valid Unicode: bytes of an unfinished character wait for the rest.
        """
        limit = max_tokens or self.max_reply_tokens
        user = self.tokens(text)
        if not self._talk.fits(user, limit):
            self._window.note_what_leaves(self._talk, len(user) + limit)
        prompt = self._talk.prompt(user, limit)
        run = Run()
        parts: list[str] = []
        try:
            for piece in self._pieces(prompt, limit, stop, run):
                parts.append(piece)
                yield piece
        except Cancelled:
            run.why = "stopped"
        finally:
            # Also when the consumer leaves: the cache and the conversation must tell the same story.
            if run.started:
                self._talk.add(user, run.tokens, text.rpartition("\n\n")[2], text)
        reused = len(prompt) - run.prefilled
        yield ReplyEnd(
            "".join(parts), run.why, run.prefilled, reused, len(run.tokens), run.prefill_ms, run.decode_ms,
            run.first_token_at,
        )  # fmt: skip

    def read_ahead(self, stop: Stop, text: str) -> None:
        """Compute what a `reply` to `text` begins with; another text costs no more than it would have anyway."""
        user = self.tokens(text)
        if self._talk.fits(user, self.max_reply_tokens):  # else turns would have to leave
            self._cache(self._talk.prompt(user, self.max_reply_tokens), stop)

    def compact(self, stop: Stop) -> str:
        """Replace the older turns by a summary the model writes; returns the summary.

        For idle time: the talk is still in the cache, so asking for the summary costs its own few tokens. Names,
        numbers and promises stay in the person's own words.
        When stopped, the conversation is as before. The new, shorter prompt is put into the cache at once.
        """
        user = self.tokens(SUMMARY_REQUEST)
        try:
            prompt = self._talk.prompt(user, _SUMMARY_TOKENS)
        except InputError:
            self._talk.compact([], _KEPT_TURNS)
            self._talk.summary = self._window.summary_run(self._talk, "")
            return ""
        text = "".join(self._pieces(prompt, _SUMMARY_TOKENS, stop)).strip()
        stop.check()
        self._talk.compact([], _KEPT_TURNS)
        summary = self._talk.summary = self._window.summary_run(self._talk, text)
        rest = [token for turn in self._talk.turns for token in turn]
        with suppress(Cancelled):
            self._cache([*self._talk.head, *summary, *rest], stop)
        return text

    def choose(
        self,
        stop: Stop,
        system: str,
        examples: Sequence[tuple[str, str]],
        text: str,
        form: Form,
        max_tokens: int = 64,
    ) -> Choice:
        """Answer `text` in `form`, beside the conversation: it neither sees it nor changes it.

        `system` and `examples` are this prompt's head. Its state is kept in memory and on disk like the
        conversation's head, so keep it the same by the byte and put what changes into `text`. The conversation's
        cache is put aside as bytes and taken back, also when stopped (`Cancelled`, within one token). Raises
        `InputError` when the prompt does not fit the context.
        """
        llama = self._llama
        prompt, head = prompt_of_call(llama, self._format, system, examples, text, max_tokens)
        with self._aside() as aside:
            choice = choose(llama, self._side, prompt, head, form, max_tokens, stop)
        return replace(choice, aside_ms=aside.ms)

    def complete(self, stop: Stop, wanted: Completion, draft: Draft) -> Generator[str | CompletionEnd, None, None]:
        """Answer a list of messages, beside the conversation: pieces of text, then one `CompletionEnd`.

        The conversation's cache is put aside and taken back, also when the consumer leaves. Stopping raises
        `Cancelled` within one token, `draft` has what was written; `InputError` where the messages do not fit.
        """
        llama = self._llama
        own = (self._system, self._examples)
        prompt = prompt_of_list(llama.tokenize, self._format, wanted, own, llama.context_tokens)
        end: CompletionEnd | None = None
        try:
            with self._aside() as aside:
                for piece in complete(llama, self._last_list, aside.cached, prompt, wanted, draft, stop):
                    if isinstance(piece, CompletionEnd):
                        end = piece
                    else:
                        yield piece
        finally:
            if wanted.sampling is not None:
                llama.set_sampling(self._sampling)
        if end is not None:
            yield replace(end, aside_ms=aside.ms)

    @contextmanager
    def _aside(self) -> Iterator[Aside]:
        """Take the conversation's cache out, which still lies there in the block, and back behind it."""
        llama = self._llama
        began = time.perf_counter()
        aside = Aside(self._cached)
        state = llama.state() if aside.cached else b""
        self._cached = []
        aside.ms = (time.perf_counter() - began) * 1000
        try:
            yield aside
        finally:
            back = time.perf_counter()
            if state and llama.restore(memoryview(state)):
                self._cached = aside.cached
            else:
                llama.clear()
            aside.ms += (time.perf_counter() - back) * 1000

    # The cache

    def _pieces(
        self, prompt: Sequence[int], limit: int, stop: Stop, run: Run | None = None
    ) -> Generator[str, None, None]:
        run = run or Run()
        llama = self._llama
        began = time.perf_counter()
        run.prefilled = self._cache(prompt, stop)
        run.started = True
        filled = time.perf_counter()
        run.prefill_ms = (filled - began) * 1000
        if run.prefilled >= _TIMED_TOKENS:
            self._prefill_tokens_per_s = run.prefilled / (filled - began)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        llama.reset_sampling()
        run.why = "length"
        try:
            for count in range(1, limit + 1):
                stop.check()
                token = llama.sample()
                if llama.is_end(token):
                    run.why = "end"
                    break
                if not run.tokens:
                    run.first_token_at = time.perf_counter()
                run.tokens.append(token)
                text = decoder.decode(llama.piece(token))
                if text:
                    yield text
                if count < limit:
                    llama.decode_one(token, stop)
                    self._cached.append(token)
            rest = decoder.decode(b"", final=True)
            if rest:
                yield rest
        finally:
            run.decode_ms = (time.perf_counter() - filled) * 1000
            if stop:
                self._keep_only(len(self._cached), Stop())

    def _cache(self, tokens: Sequence[int], stop: Stop) -> int:
        """Make the cache hold exactly `tokens`, with fresh logits for the last; returns how many it computed."""
        shared = 0
        for have, want in zip(self._cached, tokens[:-1], strict=False):
            if have != want:
                break
            shared += 1
        self._keep_only(shared, stop)
        # Models whose memory cannot be cut give up more than asked: compute from what is really there.
        start = len(self._cached)
        try:
            self._llama.decode(tokens[start:], stop)
        except Cancelled:
            self._keep_only(start, Stop())
            raise
        self._cached = list(tokens)
        return len(tokens) - start

    def _keep_only(self, length: int, stop: Stop) -> None:
        """Cut the cache to `length` tokens; where the model cannot (recurrent ones), fall back to the head."""
        if self._llama.truncate(length):
            del self._cached[length:]
            return
        self._llama.clear()
        self._cached = []
        if length >= len(self._talk.head):
            self._fill_head(stop)

    def _fill_head(self, stop: Stop) -> tuple[str, float]:
        """Put the head into the cache; returns where from ("snapshot" or "prefill") and milliseconds."""
        began = time.perf_counter()
        head = self._talk.head
        if self._snapshots is not None:
            state = load_snapshot(self._snapshots, self._key)
            if state is not None and self._llama.restore(state):
                self._cached = list(head)
                return "snapshot", (time.perf_counter() - began) * 1000
        self._llama.clear()
        self._cached = []
        self._llama.decode(head, stop)
        self._cached = list(head)
        took = (time.perf_counter() - began) * 1000
        if self._snapshots is not None:
            save_snapshot(self._snapshots, self._key, self._llama.state())
        return "prefill", took

    def save_head_for(self, system: str, folder: Path) -> bool:
        """Save the head's state under the name that a board looks for whose llama.cpp says `system` of itself.

        The state's form does not depend on the processor, so a card can carry one that was made elsewhere. Call it
        before any turn. False when the disk would not take it.
        """
        return save_snapshot(folder, self._snapshot_key(self._talk.head, system), self._llama.state())

    def _snapshot_key(self, head: Sequence[int], system: str | None = None) -> str:
        options = self._llama.options
        shape = f"{self._llama.context_tokens} {self._llama.kv} {options.flash_attention} {options.batch_tokens}"
        build = f"{BINDING_VERSION} {system_info() if system is None else system}"
        return snapshot_key(b"".join(map(model_identity, self._llama.files)), build, shape, head)

    def _new_talk(self) -> Conversation:
        return start_conversation(
            self._llama.tokenize, self._format, self._system, self._examples, self._llama.context_tokens
        )

    def _check_room(self) -> None:
        least = self._least_tokens()
        if least > self._talk.limit:
            raise EngineError(
                f"the prompt's head and a reply need {least} tokens and the context has {self._talk.limit}:"
                " set model.context_tokens higher or model.max_reply_tokens lower"
            )

    def _least_tokens(self) -> int:
        return len(self._talk.head) + self.max_reply_tokens + 64

    def tokens(self, text: str) -> list[int]:
        """Token ids of `text` as a person's words: control tokens in it are plain characters."""
        return self._llama.tokenize(text, special=False)

    def on_bare_library(self, work: Callable[[Llama], T]) -> T:
        """Run `work` on the llama.cpp context itself, outside any conversation (for benchmarks)."""
        self._cached = []
        try:
            return work(self._llama)
        finally:
            self._llama.clear()
