"""The shape of sound on its way through the daemon: frames from a microphone, pieces to a speaker.

Pure. The sound card has these two sides; tests put WAV files in its place. Knows no device and no engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from anyio.abc import ObjectReceiveStream
from numpy import int16
from numpy.typing import NDArray

from perslm_runtime.audio import Pcm

FRAME_SAMPLES = 320
"""Samples of a frame: 20 ms at 16 kHz, two of the 10 ms blocks that noise suppression and wake words take."""


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of the microphone: int16 [320], 16 kHz mono. `at` is `time.monotonic()` of its last sample.

    While the microphone is patient a frame may be several such: int16 [n * 320].
    """

    samples: NDArray[int16]
    at: float


class Microphone(Protocol):
    """Where frames come from. While `patient`, several may come as one."""

    patient: bool

    def listen(self) -> AbstractAsyncContextManager[ObjectReceiveStream[Frame]]:
        """Every frame from now on; who is slow loses the oldest. While there is no device, none come."""


class Speaker(Protocol):
    """Where sound goes. `gain` multiplies all of it, at once; `latency_s` is a sample's way to the air."""

    gain: float

    @property
    def latency_s(self) -> float:
        """Seconds."""

    async def play(self, pieces: AsyncIterable[Pcm]) -> float:
        """Play pieces without gaps and return the seconds that were heard.

        Cancelling it is silence within what the device holds. Raises `DeviceError` where there is no device.
        """
