"""Listening while we speak ourselves: has somebody begun to talk, and is it not our own voice?

Our voice comes back through the microphone, less what an echo canceller takes away. How loud it comes back is
learned while we speak: what is no louder is taken for us. What is louder is somebody at once where the echo is
cancelled; elsewhere it is recognized first and compared with what we have just said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perslm_daemon.phrases import is_own, is_stop
from perslm_daemon.preroll import SILENCE_DB, Preroll, Samples, level_db
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.stt import SpeechToText
from perslm_runtime.vad import FRAME_S, FRAME_SAMPLES, Silero

_LIKELY = 0.6
_LEARN_S = 0.6  # of our own speech, until its loudness in the microphone is known
_FADES_DB = 0.03  # per step of 32 ms, a decibel a second: a canceller that learns makes the echo softer
_LOUDER_DB = 6.0  # than the echo: nobody speaks over us more softly and is understood
_CANCELLED_DB = 9.0  # than what a canceller leaves (5 to 8 dB of its work come and go)
_FOR_SURE_S = 0.25  # a cough is shorter
_A_WORD_S = 0.12  # of a whole "stop" the detector takes this much for speech; the recognizer judges it
_PAUSE_S = 0.13
_LOOK_EVERY_S = 0.8
_LEAD_S = 0.3
_LONGEST_S = 6.0


@dataclass(frozen=True, slots=True)
class Interruption:
    """Somebody spoke over us: from sample `start`, `level_db` loud; `stop` when the words were "stop" alone."""

    start: int
    level_db: float
    stop: bool


class Overhearing:
    """Watches while we speak; what it learned about our echo is kept from answer to answer.

    `said_lately` gives our last words, `cancelled` tells whether the microphone comes without our echo. `near_db`
    below the loudness of the last speaker nobody is taken for one: a television does not interrupt.
    """

    def __init__(
        self,
        sound: Preroll,
        vad: Lane[Silero],
        stt: Lane[SpeechToText],
        *,
        said_lately: Callable[[], str],
        cancelled: Callable[[], bool],
        near_db: float,
    ) -> None:
        self._sound, self._vad, self._stt = sound, vad, stt
        self._said_lately, self._cancelled, self._near_db = said_lately, cancelled, near_db
        self._echo_db = SILENCE_DB
        self._learned_s = 0.0
        self._recent: deque[float] = deque(maxlen=16)

    async def next(
        self, *, speaking: Callable[[], bool], reference_db: float | None, only_stop: bool
    ) -> Interruption:
        """Wait until somebody speaks over us; `only_stop` waits for "stop" alone."""
        at = self._sound.end
        fresh = True
        run: _Run | None = None
        while True:
            await self._sound.beyond(at + FRAME_SAMPLES)
            at = max(at, self._sound.begins)
            count = (self._sound.end - at) // FRAME_SAMPLES
            block = self._sound.read(at, at + count * FRAME_SAMPLES)
            likely = await self._vad.call(_likely, block, fresh)
            fresh = False
            for number, probability in enumerate(likely):
                frame = block[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES]
                level = level_db(frame)
                first = at + number * FRAME_SAMPLES
                run = self._follow(run, first, probability, level, speaking=speaking(), reference_db=reference_db)
                if run is None:
                    continue
                if not only_stop and run.voiced_s >= _FOR_SURE_S and self._surely(run, speaking()):
                    return Interruption(run.start, run.loud_db, stop=False)
                if not run.due:
                    continue
                found = await self._judge(run, only_stop=only_stop)
                if found is not None:
                    return found
                if run.over or run.seconds > _LONGEST_S:
                    run = None
            at += count * FRAME_SAMPLES

    def _surely(self, run: _Run, speaking: bool) -> bool:
        """Whether it can only be somebody: we are silent, or what is left of our echo is far softer."""
        return not speaking or (self._cancelled() and run.loud_db >= self._echo_db + _CANCELLED_DB)

    def _follow(
        self,
        run: _Run | None,
        first: int,
        probability: float,
        level: float,
        *,
        speaking: bool,
        reference_db: float | None,
    ) -> _Run | None:
        """One step: go on with a stretch of somebody's speech, begin one, or learn our echo."""
        near = reference_db is None or level >= reference_db - self._near_db
        echo_db = self._echo_db if speaking else SILENCE_DB
        somebody = probability >= _LIKELY and level >= echo_db + _LOUDER_DB and near
        if speaking and self._learned_s < _LEARN_S:
            self._learned_s += FRAME_S
            self._echo_db = max(self._echo_db, level)
            return None
        if run is None and not somebody:
            self._learn(level, speaking=speaking)
            return None
        if run is None:
            run = _Run(first)
            self._recent.clear()
        run.step(voiced=probability >= _LIKELY and level >= echo_db + _LOUDER_DB / 2, level=level)
        return None if run.over and run.voiced_s < _A_WORD_S else run

    def _learn(self, level: float, *, speaking: bool) -> None:
        """Follow our echo, half a second late: the first sounds of somebody's word are not our echo."""
        self._echo_db = max(self._echo_db - _FADES_DB, SILENCE_DB)
        self._recent.append(level if speaking else SILENCE_DB)
        if len(self._recent) == self._recent.maxlen:
            self._echo_db = max(self._echo_db, self._recent[0])

    async def _judge(self, run: _Run, *, only_stop: bool) -> Interruption | None:
        """Recognize the stretch so far; None when it is ourselves, or nothing."""
        run.looked_s = run.seconds
        start = run.start - round(_LEAD_S * SPEECH_RATE_HZ)
        sound = Pcm(self._sound.read(start), SPEECH_RATE_HZ)
        text = await self._stt.call(_recognized, sound)
        said = self._said_lately()
        if is_own(text, said):
            self._echo_db = max(self._echo_db, run.loud_db)
            return None
        if not any(letter.isalnum() for letter in text):
            return None
        if is_stop(text):
            return Interruption(run.start, run.loud_db, stop=True)
        return None if only_stop else Interruption(run.start, run.loud_db, stop=False)


@dataclass(slots=True)
class _Run:
    """A stretch of speech that may be somebody's."""

    start: int
    seconds: float = 0.0
    voiced_s: float = 0.0
    silent_s: float = 0.0
    loud_db: float = SILENCE_DB
    looked_s: float = 0.0

    def step(self, *, voiced: bool, level: float) -> None:
        self.seconds += FRAME_S
        self.loud_db = max(self.loud_db, level)
        self.voiced_s += FRAME_S if voiced else 0.0
        self.silent_s = 0.0 if voiced else self.silent_s + FRAME_S

    @property
    def over(self) -> bool:
        return self.silent_s >= _PAUSE_S

    @property
    def due(self) -> bool:
        """Whether it is worth recognizing: it is over, or there is something new since the last time."""
        return self.over or self.seconds - self.looked_s >= _LOOK_EVERY_S


def _likely(vad: Silero, _stop: Stop, block: Samples, fresh: bool) -> list[float]:
    if fresh:
        vad.reset()
    return [vad.probability(Pcm(frame, SPEECH_RATE_HZ)) for frame in block.reshape(-1, FRAME_SAMPLES)]


def _recognized(stt: SpeechToText, stop: Stop, sound: Pcm) -> str:
    utterance = stt.listen()
    utterance.accept(Pcm(np.ascontiguousarray(sound.samples), sound.rate_hz), stop)
    return utterance.finish(stop).text
