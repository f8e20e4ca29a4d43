"""Speech on its way to a Wyoming client: text cut into sentences, each spoken, the sound as events of one format.

The format is the voice's own: 16 bit, mono, at its rate. Home Assistant writes one WAV header for a whole answer,
so it never changes. Knows no connection.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterator

import numpy as np

from perslm_daemon import engine_calls
from perslm_daemon.wyoming_wire import AudioChunk, AudioStart, AudioStop, Eventable
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import InputError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

WIDTH, CHANNELS = 2, 1
_CHUNK_SAMPLES = 1024  # as Home Assistant sends to satellites: 46 ms


class Sounding:
    """One run of sound, from audio-start to audio-stop; `put` sends its events."""

    def __init__(self, put: Callable[[Eventable], None], rate_hz: int) -> None:
        self._put, self._rate_hz = put, rate_hz
        self._samples = 0
        self.begun = False

    @property
    def seconds(self) -> float:
        """How much sound there was so far."""
        return self._samples / self._rate_hz

    def begin(self) -> None:
        """Send audio-start, once."""
        if not self.begun:
            self.begun = True
            self._put(AudioStart(self._rate_hz, WIDTH, CHANNELS, timestamp=0))

    def take(self, sound: Pcm) -> None:
        """Send a piece of sound."""
        self.begin()
        for start in range(0, len(sound.samples), _CHUNK_SAMPLES):
            part = np.ascontiguousarray(sound.samples[start : start + _CHUNK_SAMPLES], "<i2")
            at_ms = round(self.seconds * 1000)
            self._put(AudioChunk(self._rate_hz, WIDTH, CHANNELS, part.tobytes(), timestamp=at_ms))
            self._samples += len(part)

    def end(self) -> None:
        """Send audio-stop, where there was a start."""
        if self.begun:
            self._put(AudioStop(timestamp=round(self.seconds * 1000)))


async def spoken(voice: Lane[Piper], text: str) -> AsyncGenerator[Pcm]:
    """The sound of a sentence, piece by piece; nothing for what has nothing to say."""
    words = speakable(text)
    if not words:
        return
    async with voice.stream(engine_calls.speak, words) as sounds:
        async for sound in sounds:
            yield sound


def voice_rate(voice: Piper, _stop: Stop) -> int:
    """The rate of a voice in hertz, asked in its lane."""
    return voice.rate_hz


def names_of(voice_id: str) -> Iterator[str]:
    """The names a voice answers to: "piper-en_US-joe-medium", "en_US-joe-medium" and "joe", in lower case."""
    whole = voice_id.lower()
    yield whole
    short = whole.removeprefix("piper-")
    yield short
    if (found := re.fullmatch(r"[a-z]{2,3}_[a-z]{2}-(.+)-(?:x_low|low|medium|high)", short)) is not None:
        yield found[1]


def language_of(voice_id: str, otherwise: str) -> str:
    """The language in a voice's id: "en_US"; `otherwise` where it names none."""
    found = re.search(r"(?:^|-)([a-z]{2,3}_[A-Z]{2})-", voice_id)
    return found[1] if found else otherwise


def require_voice(asked: object, voice_id: str, language: str) -> None:
    """Raise `InputError` when somebody asks for a voice (Wyoming's `voice` object) that is not this one."""
    if not isinstance(asked, dict):
        return
    name = asked.get("name")
    if isinstance(name, str) and name and name.lower() not in names_of(voice_id):
        raise InputError(f"there is no voice {name[:80]!r} here: ask for {voice_id}, or name none")
    wanted = asked.get("language")
    if not name and isinstance(wanted, str) and wanted and _base(wanted) != _base(language):
        raise InputError(f"no voice here speaks {wanted[:20]!r}: {voice_id} speaks {language}")


def _base(language: str) -> str:
    return language.replace("-", "_").partition("_")[0].lower()
