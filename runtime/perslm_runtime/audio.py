"""PCM as the rest of PersLM sees it, and WAV files in and out. Pure: no engine, no device.

One form inside: mono, 16-bit signed, at a rate that is named in hertz. `read_wav` accepts any PCM or float
WAV and makes that form of it; everything that is wrong with a file is an `InputError` saying what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPEECH_RATE_HZ = 16_000
"""What the recognizers, the wake word and the voice activity detector listen at."""


@dataclass(frozen=True, slots=True, eq=False)
class Pcm:
    """Mono 16-bit sound. `samples` has shape [n] and dtype int16; `rate_hz` is samples per second."""

    samples: NDArray[np.int16]
    rate_hz: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz
