"""One utterance, from the sample where it may begin to its words: end-pointing and recognition side by side.

The recognizer decodes on trial at the first silence; when the silence lasts, its words are already there, and when
speech goes on they are thrown away. Knows no microphone and no wake word: it reads the pre-roll.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import numpy as np

from perslm_daemon.chime_echo import ChimeEcho
from perslm_daemon.endpoint import STEP_S, Cue, End, Endpointer, Patience
from perslm_daemon.preroll import Preroll, Samples, level_db
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.completeness import Ending, ending_of
from perslm_runtime.denoise import Denoiser
from perslm_runtime.errors import Cancelled
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.stt import SpeechToText, Transcript, Utterance
from perslm_runtime.vad import FRAME_SAMPLES, Silero

_LEAD_S = 0.3  # kept from before the first word: its first consonant is softer than the detector's threshold
_WARM_S = 0.32  # the detector listens to this much from before, as it would have in a running stream
_PARTIAL_EVERY_S = 1.0
_PARTIAL_SHARE = 5  # a partial result may take a fifth of the time: the last look waits for it


@dataclass(frozen=True, slots=True)
class Heard:
    """What somebody said. `text` is "" when it was nothing.

    `ended_at` is `time.monotonic()` of the last voiced sample; from there `endpoint_s` until the end was sure and
    `stt_s` more until the words were there. `level_db` is how loud it was, `start` and `stop` its samples.
    """

    text: str
    why: End
    confidence: float | None
    level_db: float
    start: int
    stop: int
    ended_at: float
    endpoint_s: float
    stt_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """Where to listen from, the speaker's loudness where it is known, and whether a wake phrase ends there."""

    sample: int
    reference_db: float | None = None
    after_wake: bool = False


@dataclass(slots=True)
class _Judge:
    """What the detector's thread keeps between two calls for one utterance."""

    denoiser: Denoiser
    fresh: bool = True
    rest: Samples = field(default_factory=lambda: np.zeros(0, np.int16))


class Hearing:
    """Hears one utterance; `run` once. Cancelling it leaves both engines free."""

    def __init__(
        self,
        sound: Preroll,
        vad: Lane[Silero],
        stt: Lane[SpeechToText],
        patience: Patience,
        start: Start,
        *,
        vocabulary: Sequence[str] = (),
        denoiser: Denoiser | None = None,
        judges_words: bool = True,
        knows: Callable[[str], Awaitable[Ending | None]] | None = None,
        chime: ChimeEcho | None = None,
        on_partial: Callable[[str], None] | None = None,
        on_trial: Callable[[str], None] | None = None,
    ) -> None:
        self._on_trial = on_trial or (lambda _text: None)
        self._sound, self._vad, self._stt = sound, vad, stt
        self._start = start
        self._vocabulary = vocabulary
        self._judge = _Judge(denoiser or Denoiser())
        self._judges_words, self._knows = judges_words, knows
        self._chime = chime or ChimeEcho(sound)
        self._on_partial = on_partial or (lambda _text: None)
        self._ends = Endpointer(
            patience,
            reference_db=start.reference_db,
            floor_db=sound.floor_db(start.sample - 3 * SPEECH_RATE_HZ, start.sample),
            goes_on=start.after_wake,
        )
        self._clean: list[Samples] = []  # one array of 512 per step, from `start.sample` on
        self._accepted = 0  # steps that the recognizer has
        self._wanted = 0  # steps that it should have
        self._look_wanted = False
        self._work = anyio.Event()
        self._over = anyio.Event()
        self._looking: anyio.CancelScope | None = None
        self._partial_due_s = _PARTIAL_EVERY_S
        self._looked: Transcript | None = None
        self._looked_at = -1

    async def run(self) -> Heard:
        """Listen until the end, and return the words."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow)
            heard = await self._recognize()
            tasks.cancel_scope.cancel()
        return heard

    # What the detector says

    async def _follow(self) -> None:
        warm = self._start.sample - round(_WARM_S / STEP_S) * FRAME_SAMPLES
        at = max(warm, self._sound.begins)
        at += (self._start.sample - at) % FRAME_SAMPLES  # so that a step begins exactly at the start
        while self._ends.why is None:
            await self._sound.beyond(self._chime.known_after(at, at + FRAME_SAMPLES))
            count = (self._sound.end - at) // FRAME_SAMPLES
            block = self._sound.read(at, at + count * FRAME_SAMPLES)
            if len(block) < count * FRAME_SAMPLES:  # a gap or a mute took it away
                block = np.pad(block, (count * FRAME_SAMPLES - len(block), 0))
            clean, likely = await self._vad.call(_judged, self._judge, self._chime, block, at)
            for number, probability in enumerate(likely):
                if at + number * FRAME_SAMPLES >= self._start.sample:
                    self._step(clean[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES], probability)
            at += count * FRAME_SAMPLES
        self._over.set()
        self._work.set()

    def _step(self, samples: Samples, probability: float) -> None:
        if self._ends.why is not None:
            return
        self._clean.append(samples)
        match self._ends.step(probability, level_db(samples)):
            case Cue.LOOK:
                self._wanted = len(self._clean)
                self._look_wanted = True
                self._work.set()
            case Cue.RESUMED | Cue.DROPPED:
                self._look_wanted = False
                if self._looking is not None:
                    self._looking.cancel()
                self._on_trial("")
            case Cue.NONE | Cue.BEGAN if self._speaking():
                self._wanted = len(self._clean)
                self._work.set()
            case _:
                pass

    def _speaking(self) -> bool:
        return self._ends.began is not None and self._ends.last_voiced == self._ends.steps - 1

    # What the recognizer says

    async def _recognize(self) -> Heard:
        utterance: Utterance | None = None
        while not self._over.is_set():
            await self._work.wait()
            self._work = anyio.Event()
            began = self._ends.began
            if began is None:
                utterance = None
                continue
            if utterance is None:
                self._accepted = max(0, began - round(_LEAD_S / STEP_S))
                utterance = await self._stt.call(_begun, self._vocabulary)
            await self._feed(utterance)
            if self._accepted < self._wanted:
                self._work.set()  # more came meanwhile, which a look has to see
                continue
            if self._look_wanted:
                self._look_wanted = False
                await self._look(utterance, last=True)
            elif not self._over.is_set() and self._ends.began is not None:
                await self._perhaps_partial(utterance)
            if self._over.is_set():
                self._work.set()
        return await self._end(utterance)

    async def _feed(self, utterance: Utterance) -> None:
        if self._accepted >= self._wanted:
            return
        sound = np.concatenate(self._clean[self._accepted : self._wanted])
        self._accepted = self._wanted
        self._looked = None
        text = await self._stt.call(_accepted, utterance, Pcm(sound, SPEECH_RATE_HZ))
        if text:
            self._on_partial(text)

    async def _look(self, utterance: Utterance, *, last: bool) -> None:
        """Decode on trial; a resumed speaker cancels it."""
        at = self._accepted
        with anyio.CancelScope() as self._looking:
            try:
                found = await self._stt.call(_looked, utterance)
            except Cancelled:
                return
            self._looked, self._looked_at = found, at
            if found.text:
                self._on_partial(found.text)
            if last:
                if found.text:
                    self._on_trial(found.text)
                await self._take_words(found.text)
        self._looking = None

    async def _take_words(self, text: str) -> None:
        if not any(letter.isalnum() for letter in text):
            self._ends.no_words()
            return
        known = None if self._knows is None else await self._knows(text)
        if self._ends.words(known or (ending_of(text) if self._judges_words else Ending.UNSURE)):
            self._over.set()

    async def _perhaps_partial(self, utterance: Utterance) -> None:
        spoken_s = self._accepted * STEP_S
        if self._looked is not None or spoken_s < self._partial_due_s:
            return
        began = time.perf_counter()
        await self._look(utterance, last=False)
        took_s = time.perf_counter() - began
        self._partial_due_s = spoken_s + max(_PARTIAL_EVERY_S, _PARTIAL_SHARE * took_s)

    async def _end(self, utterance: Utterance | None) -> Heard:
        sure_at = time.monotonic()
        ends = self._ends
        text, confidence = "", None
        if utterance is not None and ends.began is not None:
            if ends.why is End.LONGEST:
                self._wanted = len(self._clean)
            await self._feed(utterance)
            found = await self._stt.call(_finished, utterance)
            text, confidence = found.text, found.confidence
        first = 0 if ends.began is None else max(0, ends.began - round(_LEAD_S / STEP_S))
        start = self._start.sample + first * FRAME_SAMPLES
        voiced_to = self._start.sample + (ends.last_voiced + 1) * FRAME_SAMPLES
        ended_at = self._sound.time_of(voiced_to)
        return Heard(
            text,
            ends.why or End.SPOKEN,
            confidence,
            self._sound.loudness_db(start, voiced_to),
            start,
            voiced_to,
            ended_at,
            max(0.0, sure_at - ended_at),
            time.monotonic() - sure_at,
        )


def _judged(
    vad: Silero, _stop: Stop, judge: _Judge, chime: ChimeEcho, block: Samples, at: int
) -> tuple[Samples, list[float]]:
    """The block [n * 512] from sample `at`, cleaned, and how likely each 512 samples of it are speech."""
    block = chime.removed(block, at)
    if judge.fresh:
        vad.reset()
        judge.fresh = False
    if judge.denoiser.works:
        waiting = np.concatenate([judge.rest, judge.denoiser.clean(block)])
        # Ten milliseconds do not divide 32: what is missing comes from silence before, once.
        missing = len(block) - len(waiting)
        block = np.pad(waiting, (missing, 0)) if missing > 0 else waiting[: len(block)]
        judge.rest = waiting[len(block) :] if missing <= 0 else np.zeros(0, np.int16)
    frames = block.reshape(-1, FRAME_SAMPLES)
    return block, [vad.probability(Pcm(frame, SPEECH_RATE_HZ)) for frame in frames]


def _begun(stt: SpeechToText, _stop: Stop, vocabulary: Sequence[str]) -> Utterance:
    return stt.listen(vocabulary)


def _accepted(_stt: SpeechToText, stop: Stop, utterance: Utterance, sound: Pcm) -> str:
    return utterance.accept(sound, stop)


def _looked(_stt: SpeechToText, stop: Stop, utterance: Utterance) -> Transcript:
    return utterance.look(stop)


def _finished(_stt: SpeechToText, stop: Stop, utterance: Utterance) -> Transcript:
    return utterance.finish(stop)
