"""Takes our own chime out of what the microphone heard, so that words spoken during it are recognized alone.

The chime is known to the sample, the way through loudspeaker and room is not: it is found by correlation and
fitted by least squares, and what it makes of the chime is subtracted. Where no chime comes back nothing
is changed. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perslm_daemon.preroll import Preroll, Samples
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample

_LATEST_S = 0.4  # from the order to play until it is heard: device buffers, and a sound server's
_TAIL_S = 0.1  # of the room
_TAPS = 400  # 25 ms of reflections; a chime of a few tones needs no more
_RIDGE = 1e-3
_LEAST_LIKE = 0.4  # correlation below which the chime is not in the sound


@dataclass(slots=True)
class _Played:
    samples: NDArray[np.float64]
    start: int
    end: int
    echo: NDArray[np.float64] | None = None


class ChimeEcho:
    """Knows the chime that was played last, and what became of it in the microphone."""

    def __init__(self, sound: Preroll) -> None:
        self._sound = sound
        self._played: _Played | None = None

    def played(self, chime: Pcm) -> None:
        """The chime is being played from now on."""
        samples = resample(chime, SPEECH_RATE_HZ).samples.astype(np.float64)
        start = self._sound.end
        self._played = _Played(
            samples, start, start + len(samples) + round((_LATEST_S + _TAIL_S) * SPEECH_RATE_HZ)
        )

    def known_after(self, first: int, last: int) -> int:
        """The sample that has to be there before sound from `first` to `last` can be cleaned."""
        played = self._played
        if played is None or last <= played.start or first >= played.end:
            return last
        return played.end

    def removed(self, samples: Samples, first: int) -> Samples:
        """`samples`, which begin at sample `first`, without the chime. Costs 10 ms once: call it in a lane."""
        played = self._played
        last = first + len(samples)
        if played is None or last <= played.start or first >= played.end:
            return samples
        if played.echo is None:
            heard = self._sound.read(played.start, played.end).astype(np.float64)
            played.echo = echo_of(played.samples, np.pad(heard, (0, played.end - played.start - len(heard))))
        begin, end = max(first, played.start), min(last, played.end)
        clean = samples.astype(np.float64)
        clean[begin - first : end - first] -= played.echo[begin - played.start : end - played.start]
        return np.clip(np.rint(clean), -32768, 32767).astype(np.int16)


def echo_of(chime: NDArray[np.float64], heard: NDArray[np.float64]) -> NDArray[np.float64]:
    """What `chime` [m] contributes to `heard` [n], n > m: its echo [n], zeros where it is not in it."""
    size = 1 << (len(heard) + len(chime)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(chime, size))
    likeness = np.fft.irfft(spectrum, size)[: max(1, len(heard) - len(chime))]
    summed = np.concatenate([[0.0], np.cumsum(np.pad(heard**2, (0, len(chime))))])
    energy = summed[len(chime) : len(chime) + len(likeness)] - summed[: len(likeness)]
    alike = np.abs(likeness) / np.sqrt(np.maximum(energy * float(np.sum(chime**2)), 1.0))
    best = int(np.argmax(np.abs(likeness)))
    if alike[best] < _LEAST_LIKE:
        return np.zeros(len(heard))
    delay = max(0, best - _TAPS // 8)
    return _fitted(chime, heard, delay)


def _fitted(chime: NDArray[np.float64], heard: NDArray[np.float64], delay: int) -> NDArray[np.float64]:
    """Least squares over `_TAPS` taps from `delay` on, by the normal equations."""
    target = heard[delay:]
    source = np.pad(chime, (0, max(0, len(target) - len(chime))))[: len(target)]
    size = 1 << (2 * len(target)).bit_length()
    spectrum = np.fft.rfft(source, size)
    own = np.fft.irfft(spectrum * np.conj(spectrum), size)[:_TAPS]
    cross = np.fft.irfft(np.fft.rfft(target, size) * np.conj(spectrum), size)[:_TAPS]
    lag = np.abs(np.subtract.outer(np.arange(_TAPS), np.arange(_TAPS)))
    taps = np.linalg.solve(own[lag] + _RIDGE * own[0] * np.eye(_TAPS), cross)
    echo = np.zeros(len(heard))
    echo[delay:] = np.convolve(source, taps)[: len(target)]
    return echo
