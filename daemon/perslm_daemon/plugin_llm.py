"""Replies by a plug-in beside the language model: it is handed the conversation as text, and replies in pieces.

The model stays loaded: it counts, summarises, chooses tools under a grammar, answers the API's chats, and replies
itself where the plug-in does not, in the same turn. A plug-in that failed is asked again after a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from perslm_daemon import plugin_wire as wire
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_engines import started
from perslm_runtime.errors import Cancelled, PluginRefused
from perslm_runtime.lane import Stop
from perslm_runtime.model import ChatModel, ReplyEnd

_AGAIN_S = 60.0
_QUESTION = "What is the capital of Italy?"

Told = Callable[[str], None]
"""Takes why the plug-in is not in use, "" when it is again."""


class PluginChat(ChatModel):
    """A language model whose replies are those of the plug-in that `plugins.replies` names.

    Raises `PluginRefused` where the plug-in cannot be used, before the model is loaded.
    """

    def __init__(self, config: Config, told: Told, *arguments: Any, **options: Any) -> None:
        self._process = started(config, config.plugins.replies, "replies")
        self._plugin, self._seconds, self._told = config.plugins.replies, config.plugins.call_s, told
        self._rests_until = 0.0
        self._summed_up = ""
        try:
            super().__init__(*arguments, **options)
        except Exception:
            self._process.close()
            raise
        self.name = f"{self._plugin} beside {ChatModel.name}"

    def reply(self, stop: Stop, text: str, max_tokens: int | None = None) -> Generator[str | ReplyEnd, None, None]:
        """As `ChatModel.reply`; the model's own where the plug-in gives no piece."""
        limit = max_tokens or self.max_reply_tokens
        if time.monotonic() >= self._rests_until:
            began = yield from self._by_plugin(stop, text, limit)
            if began:
                return
        yield from super().reply(stop, text, max_tokens)

    def read_ahead(self, stop: Stop, text: str) -> None:
        """Compute ahead only what the model itself will answer."""
        if time.monotonic() < self._rests_until:
            super().read_ahead(stop, text)

    def compact(self, stop: Stop) -> str:
        """As `ChatModel.compact`; the summary goes to the plug-in with the next question."""
        self._summed_up = super().compact(stop)
        return self._summed_up

    def prove(self) -> str:
        """Have the model prove itself, and the plug-in begin an answer."""
        own = super().prove()
        asked = wire.Reply((wire.MessageShape("user", _QUESTION),), 4)
        pieces = self._process.stream(Stop(), asked, self._seconds)
        try:
            said = next(pieces, "").strip()
        except PluginRefused as error:
            self._rest(error)
            return f"{own}; {error}"
        finally:
            pieces.close()
        return f"the plug-in {self._plugin} answers {said[:20]!r}; beside it, {own}"

    def close(self) -> None:
        """End the plug-in's process, and free the model."""
        self._process.close()
        super().close()

    def _by_plugin(self, stop: Stop, text: str, limit: int) -> Generator[str | ReplyEnd, None, bool]:
        """The plug-in's reply; whether there was any."""
        user = self.tokens(text)
        if not self._talk.fits(user, limit):
            self._window.note_what_leaves(self._talk, len(user) + limit)
        self._talk.prompt(user, limit)  # what does not fit leaves
        asked = wire.Reply(self._messages(text), limit)
        parts: list[str] = []
        count, why, failed = 0, "end", False
        began_at, first_at = time.perf_counter(), None
        pieces = self._process.stream(stop, asked, self._seconds)
        try:
            for piece in pieces:
                first_at = first_at or time.perf_counter()
                parts.append(piece)
                count += len(self.tokens(piece))
                yield piece
                if count >= limit:
                    why = "length"
                    break
        except Cancelled:
            why = "stopped"
        except PluginRefused as error:
            self._rest(error)
            if not parts:
                return False
            why, failed = "length", True  # what is there was heard already; the next turn is the model's
        finally:
            pieces.close()
            if parts or why == "stopped":
                self._talk.add(user, self.tokens("".join(parts)), text.rpartition("\n\n")[2], text)
        if why == "end" and not parts:
            self._rest(PluginRefused(f"the plug-in {self._plugin} answered nothing"))
            return False
        if not failed:
            self._told("")
        ended = time.perf_counter()
        waited_ms = ((first_at or ended) - began_at) * 1000
        said_ms = (ended - (first_at or ended)) * 1000
        yield ReplyEnd("".join(parts), why, 0, 0, count, waited_ms, said_ms, first_at)
        return True

    def _messages(self, text: str) -> tuple[wire.MessageShape, ...]:
        """The conversation as text: the system's, the examples, what was said and replied, and now this."""
        talk = self._talk
        summary = f"\n\n{self._summed_up}" if talk.summary and self._summed_up else ""
        told = [("system", f"{self._system}{summary}")]
        for said, replied in self._examples:
            told += [("user", said), ("assistant", replied)]
        for run, read in zip(talk.turns, talk.read, strict=True):
            begins = len(self.tokens(read)) + len(talk.opening)
            reply = run[begins : len(run) - len(talk.closing)]
            words = b"".join(map(self._llama.piece, reply)).decode("utf-8", "replace")
            told += [("user", read), ("assistant", words.strip())]
        return tuple(wire.MessageShape(role, words) for role, words in (*told, ("user", text)))

    def _rest(self, error: PluginRefused) -> None:
        self._rests_until = time.monotonic() + _AGAIN_S
        self._told(f"{error}; the model {self.file.parent.name} answers until it is tried again")
