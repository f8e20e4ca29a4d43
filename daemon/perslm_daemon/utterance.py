"""One thing on its way to be said: its pieces, what it matters, and what became of it.

Filled at one end, played at the other; knows neither voice nor device. mouth.py keeps the order.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

import anyio

from perslm_daemon.chimes import Chime
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import PersLMError

_MOST_QUEUED_S = 120.0  # of one reply: 160 tokens are a minute


class Priority(IntEnum):
    """What matters more."""

    THINKING = 0
    ANSWER = 1
    REMINDER = 2
    ALARM = 3


class Kind(Enum):
    """What kind of sound it is: words, a chime, or the sound of thinking."""

    VOICE = "voice"
    CHIME = "chime"
    THINKING = "thinking"


@dataclass(frozen=True, slots=True)
class Played:
    """A chime that was heard from `at` on (`time.monotonic()`), as near as the device tells: its samples."""

    chime: Chime
    at: float
    sound: Pcm

    @property
    def until(self) -> float:
        """When it had ended."""
        return self.at + self.sound.seconds


class Utterance:
    """Something on its way to the speaker: pieces come in at one end and are played at the other."""

    def __init__(self, priority: Priority, kind: Kind, number: int) -> None:
        self.priority, self.kind, self.number = priority, kind, number
        self.queued_s = self.heard_s = 0.0
        self.closed = self.interrupted = False
        self.error: PersLMError | None = None
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()
        self.began_at = 0.0
        self.words: list[tuple[float, str]] = []
        self._pieces: deque[tuple[Pcm, str]] = deque()
        self._moved = anyio.Event()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be played, and nothing will."""
        return self.closed and not self._pieces

    @property
    def ready(self) -> bool:
        """Whether there is something to play, or it is known that there never will be."""
        return bool(self._pieces) or self.closed

    def put(self, sound: Pcm, words: str = "") -> None:
        """Add a piece; `words` are what is said from here on."""
        if not self.done.is_set():
            self._pieces.append((sound, words))
            self.queued_s += sound.seconds
            self._move()

    def close(self) -> None:
        """Nothing follows."""
        self.closed = True
        self._move()

    def end(self, *, interrupted: bool) -> None:
        """It is over; what was not played is dropped."""
        self.interrupted = self.interrupted or interrupted
        self._pieces.clear()
        self.queued_s = 0.0
        self.done.set()
        self._move()

    async def until_queued(self, most_s: float) -> None:
        """Return when at most so much waits to be played, or when it is over."""
        while self.queued_s > most_s and not self.done.is_set():
            await self._moved.wait()

    async def sounds(self) -> AsyncIterator[Pcm]:
        """Every piece as it comes, until closed."""
        self.began_at = time.monotonic()
        while True:
            while self._pieces:
                sound, words = self._pieces.popleft()
                if words:
                    self.words.append((time.monotonic(), words))
                yield sound
                self.queued_s = max(0.0, self.queued_s - sound.seconds)
                self._move()
            if self.closed:
                return
            await self._moved.wait()

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


class Reply:
    """One answer that is spoken while it is made."""

    def __init__(self, utterance: Utterance, offer: Callable[[Utterance], None]) -> None:
        self._utterance = utterance
        self._offer = offer

    @property
    def interrupted(self) -> bool:
        """Whether it was cut off: what is taken after that is not heard."""
        return self._utterance.interrupted

    async def heard(self) -> None:
        """Say that nothing follows, and return once all was heard, or was cut off."""
        self._utterance.close()
        self._offer(self._utterance)
        await self._utterance.done.wait()

    async def take(self, sound: Pcm, words: str = "") -> None:
        """Say `sound` after what was taken before; returns once it is queued. `words` are its text.

        Raises `DeviceError` when the loudspeaker is not there or was lost.
        """
        utterance = self._utterance
        if utterance.error is not None:
            raise utterance.error
        if utterance.done.is_set():
            return
        utterance.put(sound, words)
        self._offer(utterance)
        await utterance.until_queued(_MOST_QUEUED_S)
