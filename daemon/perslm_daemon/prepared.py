"""What is made before it is sure to be wanted: the first sound of an answer that changes nothing, and the like.

The silence that tells a question's end takes longer than a sentence's synthesis, and than reading the question:
what is made meanwhile costs the asker no time. What turns out not to be wanted is stopped or thrown away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from perslm_daemon import engine_calls
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

K = TypeVar("K")
T = TypeVar("T")


class Prepared:
    """The sound of one sentence, made by `voice` in advance. Used in the event loop only."""

    def __init__(self, voice: Lane[Piper]) -> None:
        self._voice = voice
        self._words = ""
        self._pieces: list[Pcm] = []
        self._made = anyio.Event()
        self._scope: anyio.CancelScope | None = None

    async def make(self, reply: str) -> None:
        """Make the sound of a reply's first sentence, unless it is there or being made; "" makes nothing.

        Trouble is left to whoever speaks it.
        """
        splitter = SentenceSplitter()
        words = speakable(next(iter([*splitter.feed(reply), *splitter.flush()]), ""))
        if not words or words == self._words:
            return
        self.drop()
        self._words, self._pieces, self._made = words, [], anyio.Event()
        made = self._made
        try:
            with anyio.CancelScope() as self._scope:
                pieces = await self._voice.call(_whole, words)
                if words == self._words:
                    self._pieces = pieces
        except PersLMError:
            pass
        finally:
            made.set()

    async def take(self, words: str) -> list[Pcm]:
        """The sound of exactly these words, waited for where it is being made; nothing where it was not wanted."""
        if words != self._words:
            self.drop()
            return []
        await self._made.wait()
        pieces = self._pieces
        self._words, self._pieces = "", []
        return pieces

    def drop(self) -> None:
        """Stop and forget."""
        self._words, self._pieces = "", []
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None


class Ahead(Generic[K, T]):
    """Work for one key at a time, begun before it is sure to be wanted. Used in the event loop only."""

    def __init__(self) -> None:
        self._key: K | None = None
        self._made: T | None = None
        self._done = anyio.Event()
        self._scope: anyio.CancelScope | None = None

    async def make(self, key: K, work: Callable[[], Awaitable[T | None]]) -> None:
        """Do `work` for `key`, in place of any other. Trouble is left to whoever does it in earnest."""
        self.drop()
        self._key = key
        done = self._done = anyio.Event()
        try:
            with anyio.CancelScope() as self._scope:
                made = await work()
                if done is self._done:
                    self._made = made
        except PersLMError:
            pass
        finally:
            done.set()

    async def take(self, key: K) -> T | None:
        """What came of the work for this key, waited for, once; work for another is stopped."""
        if key == self._key:
            await self._done.wait()
        made = self._made if key == self._key else None
        self.drop()
        return made

    def drop(self) -> None:
        """Stop and forget."""
        self._key = self._made = None
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None


def _whole(voice: Piper, stop: Stop, words: str) -> list[Pcm]:
    return list(engine_calls.speak(voice, stop, words))
