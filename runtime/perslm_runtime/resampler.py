"""Changing the rate of sound that never ends, piece by piece and without a click where two pieces meet.

The same filter as `audio.resample`: whatever the pieces, they add up to what the whole would have become, later by
the filter's reach (3 ms at 16 kHz). Pure; knows no device.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from perslm_runtime.audio import sinc_taps, to_int16


class Resampler:
    """Takes int16 sound at `from_hz` and gives it back at `to_hz`; one per stream, one thread at a time."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz = from_hz, to_hz
        ratio = Fraction(to_hz, from_hz).limit_denominator(1000)  # as audio.resample does
        self._up, self._down = ratio.numerator, ratio.denominator
        lowest = min(1.0, self._up / self._down)
        self._reach = int(np.ceil(48 / lowest)) + 1
        self._taps = np.stack(
            [sinc_taps(self._reach, phase / self._up, lowest) for phase in range(self._up)]
        )  # float32 [up, 2 * reach]
        self.reset()

    def reset(self) -> None:
        """Forget what was fed: what comes next begins a new sound."""
        # Silence before the first sample, so that output 0 sits on input 0 with a whole window around it.
        self._held = np.zeros(self._reach - 1, np.float32)
        self._next = 0  # input position, in 1/up of a sample, of the next output, counted from the window's middle

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """The sound that is complete now; int16 [m], of a length that differs from call to call by one at most."""
        if self._up == self._down:
            return samples
        held = np.concatenate((self._held, samples.astype(np.float32)))
        whole = len(held) - 2 * self._reach + 1  # windows that fit
        at = np.arange(self._next, max(self._next, whole * self._up), self._down)
        self._next = self._next + len(at) * self._down - max(0, whole) * self._up
        self._held = held[max(0, whole) :]
        if len(at) == 0:
            return np.zeros(0, np.int16)
        first, phase = np.divmod(at, self._up)
        windows = sliding_window_view(held, 2 * self._reach)
        out = np.einsum("ij,ij->i", windows[first], self._taps[phase])
        return to_int16(out / 32768.0)

    def flush(self) -> NDArray[np.int16]:
        """What the filter still holds, as if silence followed; then begin anew."""
        if self._up == self._down:
            return np.zeros(0, np.int16)
        rest = self.feed(np.zeros(self._reach, np.int16))
        self.reset()
        return rest
