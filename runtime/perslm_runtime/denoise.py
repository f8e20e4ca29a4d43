"""Noise suppression and automatic gain, by WebRTC. Only importer of webrtc_noise_gain.

Works on blocks of 10 ms and keeps its picture of the noise from block to block. Cleaning makes sound nicer to
people and mostly worse to recognizers: both are off unless they are asked for (DECISIONS.md has the word errors).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from webrtc_noise_gain import AudioProcessor

from perslm_runtime.audio import SPEECH_RATE_HZ

BLOCK_SAMPLES = SPEECH_RATE_HZ // 100
MOST_SUPPRESSION = 4
MOST_GAIN_DB = 31


class Denoiser:
    """Cleans a stream of 16 kHz sound. `suppression` is 0 (none) to 4, `gain_db` how far soft speech is raised.

    Costs under 2 ms of one x86 core per second of sound. Used in one thread; one per stream.
    """

    def __init__(self, suppression: int = 0, gain_db: int = 0) -> None:
        self._processor = AudioProcessor(gain_db, suppression) if suppression or gain_db else None
        self._rest = np.zeros(0, np.int16)

    @property
    def works(self) -> bool:
        """Whether it changes anything."""
        return self._processor is not None

    def clean(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the next sound [n], cleaned; less than a block that is left over comes with the next call."""
        if self._processor is None:
            return samples
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // BLOCK_SAMPLES * BLOCK_SAMPLES
        self._rest = waiting[whole:]
        blocks = waiting[:whole].astype("<i2").reshape(-1, BLOCK_SAMPLES)
        cleaned = b"".join(self._processor.Process10ms(block.tobytes()).audio for block in blocks)
        return np.frombuffer(cleaned, "<i2").astype(np.int16)
