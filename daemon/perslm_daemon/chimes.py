"""The short sounds: it listens, it has understood, it failed, a timer rings, it thinks. Made of sine waves, once.

Pure. All are between 250 and 1600 Hz, where the small loudspeakers of boards are good, begin and end softly, and
are no speech to any recognizer; even so their samples are handed out, so that they can be kept out of what is
recognized.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

import numpy as np

from perslm_runtime.audio import Pcm, to_int16

RATE_HZ = 22_050
_PEAK = 0.5  # of full scale: as loud as the voice's stressed syllables
_ATTACK_S = 0.008


class Chime(StrEnum):
    """What a chime says."""

    WAKE = "wake"
    END = "end"
    ERROR = "error"
    TIMER = "timer"


# (begins at s, Hz, length s, loudness): two notes up, two down, a low falling third, a broken chord three times.
_NOTES: dict[Chime, tuple[tuple[float, float, float, float], ...]] = {
    Chime.WAKE: ((0.0, 784.0, 0.14, 0.8), (0.08, 1046.5, 0.18, 1.0)),
    Chime.END: ((0.0, 1046.5, 0.12, 0.6), (0.07, 784.0, 0.16, 0.6)),
    Chime.ERROR: ((0.0, 329.6, 0.2, 1.0), (0.16, 261.6, 0.3, 1.0)),
    Chime.TIMER: tuple(
        (again * 0.55 + step * 0.11, hz, 0.3, 1.0)
        for again in range(3)
        for step, hz in enumerate((1046.5, 1318.5, 1568.0))
    ),
}
_THINKING = ((0.0, 392.0, 0.25, 0.16), (0.22, 440.0, 0.3, 0.16))
_THINKING_S = 1.6


@cache
def chime(kind: Chime) -> Pcm:
    """The sound of `kind`."""
    return _played(_NOTES[kind], 0.0)


@cache
def thinking() -> Pcm:
    """Two soft notes and a pause; to be repeated."""
    return _played(_THINKING, _THINKING_S)


def _played(notes: tuple[tuple[float, float, float, float], ...], least_s: float) -> Pcm:
    length = max(least_s, *(begins + seconds for begins, _, seconds, _ in notes))
    sound = np.zeros(round(length * RATE_HZ), np.float32)
    for begins, hz, seconds, loudness in notes:
        at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        # A little of the octave makes it a bell; it dies away, and its last fifth goes to zero.
        wave = np.sin(2 * np.pi * hz * at) + 0.25 * np.sin(4 * np.pi * hz * at)
        shape = np.minimum(at / _ATTACK_S, 1.0) * np.exp(-3.5 * at / seconds)
        shape *= np.minimum((seconds - at) / (seconds / 5), 1.0)
        first = round(begins * RATE_HZ)
        sound[first : first + len(at)] += (loudness * wave * shape).astype(np.float32)
    loudest = max(loudness for *_, loudness in notes)
    return Pcm(to_int16(sound * (_PEAK * loudest / float(np.abs(sound).max()))), RATE_HZ)
