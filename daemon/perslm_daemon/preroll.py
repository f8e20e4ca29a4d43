"""The last half minute of the microphone, by sample number: who listens reads on from wherever they are.

A ring: nobody waits for a slow reader, who finds its oldest sound gone and is told how much. So no first word is
lost, whatever has to be decided before somebody listens. Knows no engine and no device.
"""

from __future__ import annotations

import math
import time

import anyio
import numpy as np
from numpy.typing import NDArray

from perslm_daemon.sound import Frame
from perslm_runtime.audio import SPEECH_RATE_HZ

Samples = NDArray[np.int16]

SILENCE_DB = -96.0
"""Level of digital silence, in decibels below full scale."""

_KEPT_S = 30.0
_GAP_S = 0.5  # a microphone that was away longer than this went on somewhere else


def level_db(samples: Samples) -> float:
    """Root mean square of `samples` [n] in decibels below full scale (0 is the loudest there is)."""
    if not len(samples):
        return SILENCE_DB
    rms = math.sqrt(float(np.mean(np.square(samples, dtype=np.float32))))
    return max(SILENCE_DB, 20 * math.log10(max(rms, 1e-9) / 32768.0))


class Preroll:
    """A ring of 16 kHz sound. `end` is the number of the next sample, counted from the start of the process."""

    def __init__(self, kept_s: float = _KEPT_S) -> None:
        self._ring = np.zeros(round(kept_s * SPEECH_RATE_HZ), np.int16)
        self._waiting: list[tuple[int, anyio.Event]] = []
        self._at = 0.0
        self.end = 0
        self.begins = 0
        """The oldest sample that may be read: sound from before a gap or a mute is gone."""
        self.gaps = 0

    def take(self, frame: Frame) -> None:
        """Add a frame; after a gap in time what was before it is forgotten."""
        samples = frame.samples
        if self._at and frame.at - self._at - len(samples) / SPEECH_RATE_HZ > _GAP_S:
            self.forget()
            self.gaps += 1
        self._at = frame.at
        size = len(self._ring)
        first = self.end % size
        head = min(len(samples), size - first)
        self._ring[first : first + head] = samples[:head]
        self._ring[: len(samples) - head] = samples[head:]
        self.end += len(samples)
        self.begins = max(self.begins, self.end - size)
        if self._waiting:
            for sample, come in self._waiting:
                if sample <= self.end:
                    come.set()
            self._waiting = [one for one in self._waiting if one[0] > self.end]

    def forget(self) -> None:
        """Make what was heard so far unreadable."""
        self._ring[:] = 0
        self.begins = self.end

    def read(self, start: int, stop: int | None = None) -> Samples:
        """A copy of the sound from sample `start` (or the oldest there is) to `stop` (or the end)."""
        last = self.end if stop is None else min(stop, self.end)
        first = max(start, self.begins)
        if first >= last:
            return np.zeros(0, np.int16)
        at, count = first % len(self._ring), last - first
        head = self._ring[at : at + count]
        return np.concatenate([head, self._ring[: count - len(head)]])

    async def beyond(self, sample: int) -> None:
        """Wait until there is sound up to `sample`; who waits is woken once, not at each frame."""
        if self.end >= sample:
            return
        one = (sample, anyio.Event())
        self._waiting.append(one)
        try:
            await one[1].wait()
        finally:
            if one in self._waiting:
                self._waiting.remove(one)

    def time_of(self, sample: int) -> float:
        """`time.monotonic()` at which `sample` was heard."""
        return (self._at or time.monotonic()) - (self.end - sample) / SPEECH_RATE_HZ

    def sample_at(self, when: float) -> int:
        """The sample that was heard at `time.monotonic()` `when`; it may not have come yet."""
        return self.end + round((when - (self._at or time.monotonic())) * SPEECH_RATE_HZ)

    def loudness_db(self, start: int, stop: int) -> float:
        """How loud the loud parts of a stretch are: the 80th percentile of its 20 ms levels."""
        sound = self.read(start, stop)
        levels = [level_db(sound[at : at + 320]) for at in range(0, len(sound) - 319, 320)]
        return float(np.percentile(levels, 80)) if levels else SILENCE_DB

    def floor_db(self, start: int, stop: int) -> float:
        """How loud the room is without the voice: the 10th percentile of a stretch's 20 ms levels."""
        sound = self.read(start, stop)
        levels = [level_db(sound[at : at + 320]) for at in range(0, len(sound) - 319, 320)]
        return float(np.percentile(levels, 10)) if levels else SILENCE_DB
