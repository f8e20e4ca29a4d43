"""What waits to be played: filled in the event loop, emptied by the device's callback, with no lock between them.

Every counter has one writer, and the queue is a deque, whose ends are safe to use from two threads: the callback
never waits for the loop. Knows no device.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

_FADE_S = 0.004  # a cut within a wave is heard as a click; 4 ms down is not


class Ring:
    """16-bit mono at `rate_hz` on its way to the loudspeaker.

    `put` and `clear` belong to the loop, `take` to the callback. `gain` (0 to 1 and above) is reached within one
    `take`, in a ramp. `heard` counts samples that were put and taken; a cleared one never counts.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.gain = 1.0
        self.heard = 0
        self.gaps = 0
        """How often the callback wanted more in the midst of a sound that was not finished."""
        self.flowing = False
        """Set by the loop while a sound is being put whose end has not come: running dry then is a gap."""
        self.began_at = 0.0
        """When the callback last took sound after silence (`time.monotonic()`)."""
        self.sounded_at = 0.0
        """When it last took sound at all."""
        self._chunks: deque[tuple[int, NDArray[np.int16]]] = deque()
        self._era = 0
        self._put = self._gone = 0
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)
        self._rest_era = 0
        self._gain = 1.0
        self._dry = True
        self._fade = np.linspace(1.0, 0.0, max(1, round(_FADE_S * rate_hz)), dtype=np.float32)

    @property
    def queued(self) -> int:
        """Samples that were put and are neither taken nor cleared."""
        return max(0, self._put - self.heard - self._gone)

    @property
    def queued_s(self) -> float:
        """The same in seconds."""
        return self.queued / self.rate_hz

    def put(self, samples: NDArray[np.int16]) -> None:
        """Add sound at the end."""
        if len(samples):
            self._put += len(samples)
            self._chunks.append((self._era, samples))

    def clear(self) -> None:
        """Drop what waits: the next `take` fades out within 4 ms and is silent after."""
        self._era += 1

    def anew(self) -> None:
        """Another stream takes from now on: what was cleared went with the one before, with no end to fade out.

        Called where no `take` runs.
        """
        self._dry = True
        while (len(self._rest) or self._refill()) and self._rest_era != self._era:
            self._gone += len(self._rest)
            self._rest = self._rest[:0]

    def take(self, count: int) -> NDArray[np.int16]:
        """The next `count` samples; silence where there are none."""
        out = np.zeros(count, np.int16)
        filled = 0
        faded = False
        while filled < count:
            if len(self._rest) == 0 and not self._refill():
                break
            if self._rest_era != self._era:
                if not faded and not self._dry:
                    filled += self._fade_out(out[filled:])
                    faded = True
                self._gone += len(self._rest)
                self._rest = self._rest[:0]
                continue
            some = self._rest[: count - filled]
            out[filled : filled + len(some)] = some
            self._rest = self._rest[len(some) :]
            if self._dry:
                self._dry = False
                self.began_at = time.monotonic()
            self.heard += len(some)
            filled += len(some)
        if filled:
            self.sounded_at = time.monotonic()
        if filled < count:
            self.gaps += self.flowing and not self._dry and not faded
            self._dry = True
        return self._turned(out)

    def _refill(self) -> bool:
        try:
            self._rest_era, self._rest = self._chunks.popleft()
        except IndexError:
            return False
        return True

    def _fade_out(self, room: NDArray[np.int16]) -> int:
        """Play the first milliseconds of what was cleared, going down; returns how many samples."""
        length = min(len(room), len(self._rest), len(self._fade))
        room[:length] = self._rest[:length] * self._fade[:length]
        self._rest = self._rest[length:]
        self.heard += length
        return length

    def _turned(self, out: NDArray[np.int16]) -> NDArray[np.int16]:
        """Apply the gain, in a ramp where it changed: a step would click."""
        wanted, before = self.gain, self._gain
        if wanted == before == 1.0:
            return out
        self._gain = wanted
        steps = np.linspace(before, wanted, len(out), dtype=np.float32)
        return np.asarray(np.clip(out * steps, -32768, 32767), np.int16)
