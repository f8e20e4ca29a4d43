"""One utterance that arrives over a wire in pieces: when it ends, and its words.

Sound comes as fast as the other side sends it: live from a microphone, or a whole file at once. The end of speech
is heard by voice activity where somebody speaks live; a file ends where the sender says so. Each utterance has a
detector of its own (2.5 ms to build) in the detectors' common thread: they remember what they heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import numpy as np
from numpy.typing import NDArray

from perslm_daemon import engine_calls
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, from_bytes, require_speech, resample
from perslm_runtime.errors import InputError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.stt import SpeechToText
from perslm_runtime.vad import FRAME_S, FRAME_SAMPLES, Silero

_ENTER, _STAY = 0.5, 0.35  # Silero's own: begin above the first, stay above the second
_SPEECH_S = 0.13  # of speech; a click is shorter
_LIVE = 0.5  # of the time that the sound lasts, at least, is how long live sound takes to come
_SETTLED_S = 1.0  # nothing new for so long: who sent faster than live has sent all
_STALLED_S = 15.0  # nothing new for so long, and no end: the sender has forgotten it


MOST_BYTES = 16 * 1024 * 1024
"""Of one utterance, as it came: more than a minute of the largest form that a microphone has."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: of silence that end an utterance, of nothing at all until that is the end, and the longest.

    `live_s` is the longest where the end is heard here: a television goes on for hours.
    """

    silence_s: float = 0.6
    nothing_s: float = 8.0
    live_s: float = 15.0
    longest_s: float = 120.0


SENSITIVITY = {"aggressive": 0.3, "default": 0.6, "relaxed": 1.2}
"""Silence in seconds that ends an utterance, by Wyoming's `vad_sensitivity`."""


class Ending:
    """Follows speech in steps of 32 ms; pure."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._run_s = 0.0
        self.heard_s = 0.0
        """Seconds judged so far."""
        self.began_s: float | None = None
        """When speech began, None while it has not."""
        self._voiced_s = 0.0

    def step(self, probability: float) -> None:
        """Take 32 ms: how likely they are speech, 0 to 1."""
        self.heard_s += FRAME_S
        if probability < (_STAY if self._run_s else _ENTER):
            self._run_s = 0.0
            return
        self._run_s += FRAME_S
        if self._run_s >= _SPEECH_S:
            self._voiced_s = self.heard_s
            if self.began_s is None:
                self.began_s = self.heard_s - self._run_s

    @property
    def over(self) -> bool:
        """Whether the speaker has finished, or never began."""
        if self.heard_s >= self._patience.live_s:
            return True
        if self.began_s is None:
            return self.heard_s >= self._patience.nothing_s
        return self.heard_s - self._voiced_s >= self._patience.silence_s


@dataclass(frozen=True, slots=True)
class Raw:
    """A piece of sound as it came."""

    data: bytes
    rate_hz: int
    width: int
    channels: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.data) / (self.width * self.channels * self.rate_hz)

    def pcm(self) -> Pcm:
        """Made mono 16 bit, at its own rate; done in an engine's thread, where megabytes hold nobody up."""
        return from_bytes(self.data, rate_hz=self.rate_hz, width=self.width, channels=self.channels)


@dataclass(slots=True)
class _Judge:
    """A detector of one utterance, and the samples that were too few for it."""

    detector: Silero
    rest: NDArray[np.int16]


class Hearing:
    """One utterance. `take` and `close` never wait; `words` waits for its end and returns the text.

    With `ends` the end of live speech is heard here; without, it is where `close` was called. What comes after the
    end, or beyond the longest, is left out.
    """

    def __init__(
        self,
        vad: Lane[Silero] | None,
        stt: Lane[SpeechToText],
        patience: Patience,
        *,
        ends: bool,
        on_voice: Callable[[bool, int], None] | None = None,
    ) -> None:
        self._vad, self._stt, self._patience = vad, stt, patience
        self._ends = ends and vad is not None
        self._on_voice = on_voice or (lambda _speaks, _at_ms: None)
        self._ending = Ending(patience)
        self._pieces: list[Raw] = []
        self._seconds = 0.0
        self._bytes = 0
        self._first_at = self._last_at = 0.0
        self._news = anyio.Event()
        self.over = False
        """Whether more sound is of no use."""

    def take(self, raw: Raw) -> None:
        """Take the next sound. Raises `InputError` when its rate is another than that of the sound before."""
        if self.over:
            return
        if self._pieces and self._pieces[0].rate_hz != raw.rate_hz:
            raise InputError("the sound changes its rate in the middle: send one utterance at one rate")
        self._last_at = time.monotonic()
        self._first_at = self._first_at or self._last_at
        self._pieces.append(raw)
        self._seconds += raw.seconds
        self._bytes += len(raw.data)
        if self._seconds >= self._patience.longest_s or self._bytes >= MOST_BYTES:
            self.over = True
        self._news.set()

    def close(self) -> None:
        """Say that this was all."""
        self.over = True
        self._news.set()

    async def words(self) -> str:
        """Wait for the end, and return what was said; "" where nobody spoke."""
        await self._until_over()
        self.over = True
        if self._vad is not None and self._ending.began_s is None:
            return ""
        try:
            return await self._stt.call(_recognized, self._pieces, self._patience.longest_s)
        finally:
            self._pieces = []

    async def _until_over(self) -> None:
        judge = _Judge(await self._vad.call(_detector), np.zeros(0, np.int16)) if self._vad is not None else None
        judged = 0
        try:
            while True:
                self._news = anyio.Event()
                while judge is not None and judged < len(self._pieces):
                    fresh, judged = self._pieces[judged:], len(self._pieces)
                    await self._follow(judge, fresh)
                ended = self._ends and self._ending.over
                if self.over or (ended and self._live):
                    return
                with anyio.move_on_after(_SETTLED_S if ended else _STALLED_S) as late:
                    await self._news.wait()
                if late.cancelled_caught:
                    return
        finally:
            if judge is not None:
                judge.detector.close()
            if self._ending.began_s is not None:
                self._on_voice(False, round(self._ending.heard_s * 1000))

    @property
    def _live(self) -> bool:
        return self._last_at - self._first_at >= _LIVE * self._seconds

    async def _follow(self, judge: _Judge, fresh: list[Raw]) -> None:
        assert self._vad is not None  # noqa: S101 - a judge is made of it
        spoke = self._ending.began_s is not None
        for probability in await self._vad.call(_judged, judge, fresh):
            self._ending.step(probability)
        if not spoke and self._ending.began_s is not None:
            self._on_voice(True, round(self._ending.began_s * 1000))


def _detector(_common: Silero, _stop: Stop) -> Silero:
    return Silero()


def _judged(_common: Silero, stop: Stop, judge: _Judge, fresh: list[Raw]) -> list[float]:
    """How likely each next 32 ms are speech."""
    sound = np.concatenate([judge.rest, *(roughly_resampled(piece.pcm()) for piece in fresh)])
    count = len(sound) // FRAME_SAMPLES
    judge.rest = sound[count * FRAME_SAMPLES :]
    likely: list[float] = []
    for number, frame in enumerate(sound[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)):
        if number % 32 == 0:
            stop.check()
        likely.append(judge.detector.probability(Pcm(frame, SPEECH_RATE_HZ)))
    return likely


def roughly_resampled(pcm: Pcm) -> NDArray[np.int16]:
    """A piece of sound at 16 kHz, by the straight line between means: good enough to judge whether it is speech.

    `resample` costs 30 ms for 23 ms of 44.1 kHz sound, because its filters are made anew for each piece.
    """
    if pcm.rate_hz == SPEECH_RATE_HZ or not len(pcm.samples):
        return pcm.samples
    count = max(1, round(len(pcm.samples) * SPEECH_RATE_HZ / pcm.rate_hz))
    width = max(1, round(pcm.rate_hz / SPEECH_RATE_HZ))
    smooth = np.convolve(pcm.samples.astype(np.float32), np.full(width, 1 / width, np.float32), "same")
    at = np.arange(count) * (pcm.rate_hz / SPEECH_RATE_HZ)
    rough: NDArray[np.int16] = np.interp(at, np.arange(len(smooth)), smooth).astype(np.int16)
    return rough


def _recognized(engine: SpeechToText, stop: Stop, pieces: list[Raw], longest_s: float) -> str:
    """The words in the whole sound, resampled in one piece; "" where it is as good as silent."""
    if not pieces:
        return ""
    whole = Pcm(np.concatenate([piece.pcm().samples for piece in pieces]), pieces[0].rate_hz)
    whole = Pcm(whole.samples[: round(longest_s * whole.rate_hz)], whole.rate_hz)
    try:
        require_speech(whole, longest_s=longest_s)
    except InputError:
        return ""
    return engine_calls.recognize(engine, stop, resample(whole, SPEECH_RATE_HZ)).text.strip()
