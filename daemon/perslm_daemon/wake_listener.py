"""Always listening for the wake words: reads the pre-roll as it grows, tells what was heard, how sure, how loud.

Runs through everything, our own speech included: a wake word interrupts. What we say ourselves is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perslm_daemon.phrases import words_of
from perslm_daemon.preroll import Preroll
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.wake import Detection, MicroWakeWord

# Two strides of the models; a shorter step costs only hops. While nothing is going on, four: listening then costs
# a third less, and a wake word is noticed 30 ms later on average, which the pre-roll makes good.
_STEP_SAMPLES = SPEECH_RATE_HZ * 60 // 1000
_PATIENT_STEP_SAMPLES = 2 * _STEP_SAMPLES
_PHRASE_S = 0.8
_ROOM_S = 4.0


@dataclass(frozen=True, slots=True)
class Woken:
    """A wake word was heard: `start` is the sample after its phrase, levels are in decibels below full scale."""

    word: str
    phrase: str
    score: float
    level_db: float
    floor_db: float
    start: int

    @property
    def over_floor_db(self) -> float:
        """How far the voice stood out of the room: who is nearest hears it best."""
        return self.level_db - self.floor_db


class WakeListener:
    """Listens for the words of a `MicroWakeWord`; `run` it beside everything else.

    `on_woken` is called in the loop. `said_lately` gives what we have said in the last
    seconds; while `patient`, it looks at more sound at a time.
    """

    def __init__(
        self,
        sound: Preroll,
        wake: Lane[MicroWakeWord],
        on_woken: Callable[[Woken], None],
        said_lately: Callable[[], str],
        patient: Callable[[], bool] = lambda: False,
    ) -> None:
        self._patient = patient
        self._sound, self._wake = sound, wake
        self._on_woken, self._said_lately = on_woken, said_lately
        self.phrases: dict[str, str] = {}
        """What to say for each word; known once it runs."""

    async def run(self) -> None:
        """Listen until cancelled. Raises `EngineError` when the engine fails and cannot be built again."""
        self.phrases = await self._wake.call(lambda engine, _stop: engine.words)
        at = self._sound.end
        while True:
            await self._sound.beyond(at + (_PATIENT_STEP_SAMPLES if self._patient() else _STEP_SAMPLES))
            gap = self._sound.begins > at
            if gap:  # what comes now does not follow what came before
                at = self._sound.begins
            end = self._sound.end
            pcm = Pcm(self._sound.read(at, end), SPEECH_RATE_HZ)
            for found in await self._wake.call(_listened, pcm, gap):
                self._tell(found, end)
            at = end

    def _tell(self, found: Detection, end: int) -> None:
        phrase = self.phrases.get(found.word, found.word)
        if _says(self._said_lately(), phrase):
            return
        start = end - round(found.ended_ago_s * SPEECH_RATE_HZ)
        level_db = self._sound.loudness_db(start - round(_PHRASE_S * SPEECH_RATE_HZ), start)
        floor_db = self._sound.floor_db(start - round(_ROOM_S * SPEECH_RATE_HZ), start)
        self._on_woken(Woken(found.word, phrase, found.score, level_db, floor_db, start))


def _says(said: str, phrase: str) -> bool:
    return bool(said) and " ".join(words_of(phrase)) in " ".join(words_of(said))


def _listened(engine: MicroWakeWord, _stop: Stop, pcm: Pcm, gap: bool) -> list[Detection]:
    if gap:
        engine.reset()
    return engine.accept(pcm)
