"""Wyoming's tts: a text in, or its pieces as they are written, and its sound out as soon as a sentence is whole.

Whole: synthesize -> audio-start, audio-chunk..., audio-stop. In pieces: synthesize-start, synthesize-chunk..., the
whole text once more as synthesize (for servers that know no pieces: ignored), synthesize-stop -> a run of sound
for each sentence, all of one format, and synthesize-stopped, whatever happened: Home Assistant waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio

from perslm_daemon.wyoming_jobs import Job, Jobs, Places, refuse
from perslm_daemon.wyoming_voice import Sounding, require_voice, spoken
from perslm_daemon.wyoming_wire import (
    MAX_TEXT_CHARS,
    Event,
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    Wire,
    text_in,
)
from perslm_runtime.errors import BusyError, InputError, PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.tts import Piper

_STALLED_S = 60.0  # nothing more of a text for so long: who writes it has gone away


@dataclass(frozen=True, slots=True)
class Speaker:
    """What speaks, for all clients: a voice, its id, language and rate."""

    voice: Lane[Piper]
    id: str
    language: str
    rate_hz: int
    places: Places


@dataclass(slots=True)
class _Reading:
    """A text that is still being written: pieces that are ready to be said, and what else there is to know."""

    voice: object
    splitter: SentenceSplitter = field(default_factory=SentenceSplitter)
    ready: list[str] = field(default_factory=list)
    chars: int = 0
    ended: bool = False
    news: anyio.Event = field(default_factory=anyio.Event)

    def feed(self, text: str) -> None:
        """Take the next piece of text. Raises `InputError` when it is too long."""
        self.chars += len(text)
        if self.chars > MAX_TEXT_CHARS:
            raise InputError(f"the text has more than {MAX_TEXT_CHARS} characters")
        self.ready += self.splitter.feed(text)
        self.news.set()

    def end(self) -> None:
        """No more will come."""
        self.ready += self.splitter.flush()
        self.ended = True
        self.news.set()

    async def sentences(self) -> AsyncGenerator[str]:
        """The sentences as they become whole."""
        while True:
            self.news = anyio.Event()
            while self.ready:
                yield self.ready.pop(0)
            if self.ended:
                return
            with anyio.move_on_after(_STALLED_S) as late:
                await self.news.wait()
            if late.cancelled_caught:
                return


class Reading:
    """One client's tts."""

    def __init__(self, speaker: Speaker, wire: Wire, jobs: Jobs) -> None:
        self._speaker, self._wire, self._jobs = speaker, wire, jobs
        self._text: _Reading | None = None

    def take(self, event: Event) -> bool:
        """Take an event; False when it is none of tts's. Raises `InputError` and `BusyError`."""
        if Synthesize.is_type(event.type):
            if self._text is None:
                self._whole(event)
        elif SynthesizeStart.is_type(event.type):
            self._begin(event)
        elif SynthesizeChunk.is_type(event.type):
            self._feed(event)
        elif SynthesizeStop.is_type(event.type):
            self._end()
        else:
            return False
        return True

    def _whole(self, event: Event) -> None:
        text, voice = text_in(event), event.data.get("voice")
        sounding = self._sounding()

        async def say() -> None:
            require_voice(voice, self._speaker.id, self._speaker.language)
            sounding.begin()
            splitter = SentenceSplitter()
            for sentence in (*splitter.feed(text), *splitter.flush()):
                await self._say(sentence, sounding)

        def end() -> None:  # older clients wait for an audio-stop, also after an error
            sounding.begin()
            sounding.end()

        self._start(say, end)

    def _begin(self, event: Event) -> None:
        if self._text is not None:
            self._text.end()
        self._text = reading = _Reading(event.data.get("voice"))

        async def say() -> None:
            require_voice(reading.voice, self._speaker.id, self._speaker.language)
            async with aclosing(reading.sentences()) as sentences:
                async for sentence in sentences:
                    sounding = self._sounding()
                    await self._say(sentence, sounding)
                    sounding.end()

        self._start(say, lambda: self._wire.put(SynthesizeStopped()))

    def _feed(self, event: Event) -> None:
        if self._text is None or self._text.ended:
            return
        try:
            self._text.feed(text_in(event))
        except InputError:
            self._text.end()
            raise

    def _end(self) -> None:
        if self._text is not None:
            self._text.end()
            self._text = None

    def _start(self, say: Job, end: Callable[[], None]) -> None:
        """Let `say` run in its turn, its error be told, and then `end`, whatever happened."""

        async def run() -> None:
            try:
                await say()
            except PersLMError as error:
                refuse(self._wire, error)
            end()

        try:
            self._jobs.start(run, self._speaker.places)
        except BusyError as error:
            refuse(self._wire, error)
            end()

    async def _say(self, sentence: str, sounding: Sounding) -> None:
        async with aclosing(spoken(self._speaker.voice, sentence)) as sounds:
            async for sound in sounds:
                sounding.take(sound)

    def _sounding(self) -> Sounding:
        return Sounding(self._wire.put, self._speaker.rate_hz)
